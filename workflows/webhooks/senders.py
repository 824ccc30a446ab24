"""The kinds of senders, in the order in which people choose among them."""

from __future__ import annotations

from . import (
    alertmanager,
    cloudevents,
    datadog,
    firehydrant,
    generic,
    grafana,
    incident_io,
    opsgenie,
    pagerduty,
    rootly,
)
from .base import Sender
from .severities import translated

SENDERS: dict[str, Sender] = {
    one.kind: one
    for one in (
        Sender(
            "alertmanager",
            "Prometheus Alertmanager",
            translated(alertmanager.read),
            ("grouping", "severities"),
            "bearer",
            "Add a receiver with webhook_configs: its url is that of this endpoint, the secret goes into "
            "http_config.authorization.credentials. Leave send_resolved on.",
        ),
        Sender(
            "grafana",
            "Grafana alerting",
            translated(grafana.read),
            ("grouping", "severities"),
            "bearer",
            "Alerting, Contact points, integration Webhook: enter the URL, and the secret as Authorization Header "
            "Credentials. Versions with an HMAC signature can sign instead. The Test button triggers nothing here.",
        ),
        Sender(
            "pagerduty",
            "PagerDuty (Webhooks v3)",
            translated(pagerduty.read),
            ("severities",),
            "pagerduty",
            "Integrations, Generic Webhooks (v3), New Webhook: enter the URL. PagerDuty shows the secret once, right "
            "after that: paste it here.",
        ),
        Sender(
            "rootly",
            "Rootly",
            translated(rootly.read),
            ("private", "severities"),
            "rootly",
            "Configuration, Webhooks, Create: enter the URL, choose the events. Rootly shows the secret once: paste it "
            "here.",
        ),
        Sender(
            "opsgenie",
            "Opsgenie, Jira Service Management alerts",
            translated(opsgenie.read),
            ("severities",),
            "header",
            "Add an integration of the kind Webhook: enter the URL, and a custom header with the secret. It needs the "
            "actions Create, Acknowledge, UnAcknowledge and Close.",
        ),
        Sender(
            "datadog",
            "Datadog",
            translated(datadog.read),
            ("severities",),
            "header",
            "Integrations, Webhooks, New: enter the URL, the secret as a custom header, leave 'Encode as form' off. "
            f"Payload: {datadog.TEMPLATE}. Then name the webhook in the monitors.",
        ),
        Sender(
            "incident_io",
            "incident.io",
            translated(incident_io.read),
            ("severities",),
            "standard",
            "Settings, Webhooks, Add endpoint: enter the URL, choose the public events. Its signing secret begins with "
            "whsec_: paste it here.",
        ),
        Sender(
            "firehydrant",
            "FireHydrant",
            translated(firehydrant.read),
            ("severities",),
            "hmac_sha256_hex",
            "Settings, Webhooks, New: enter the URL and the secret, choose the incident events. The signature comes in "
            "fh-signature.",
        ),
        Sender(
            "cloudevents",
            "CloudEvents 1.0",
            translated(cloudevents.read),
            ("mapping", "severities"),
            "bearer",
            "Post one event a request, in binary or structured mode, with the secret as Authorization: Bearer. A type "
            "that is or ends in one of our names, such as org.example.incident_created, needs no mapping.",
            bodiless=True,
        ),
        Sender(
            "json",
            "Any JSON, by a mapping",
            translated(generic.read),
            ("mapping", "severities"),
            "standard",
            "Say by lines which value of the payload goes where, for example: alert.title = $.message. As proof of "
            "origin choose what the sender can do.",
        ),
    )
}
