"""What becomes of each sender's payload: a table for each, and what is hostile."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflows.events import make_event
from workflows.webhooks import SENDERS, Foreign, Reading, Unreadable
from workflows.webhooks.datadog import TEMPLATE
from workflows.webhooks.parts import LONGEST, digest
from workflows.webhooks.signatures import SCHEMES

PAYLOADS = Path(__file__).parent / "payloads"
EACH = {"grouping": "alert"}


def a_payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def read(
    kind: str, payload: Any, *, options: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Reading:
    return SENDERS[kind].read(headers or {}, payload, options or {})


def the_event(kind: str, payload: Any, **how: Any) -> Foreign:
    reading = read(kind, payload, **how)
    assert (len(reading.events), reading.ignored) == (1, "")
    return reading.events[0]


def an_alert(status: str, *, start: str = "2026-03-02T09:14:05.512Z") -> dict[str, Any]:
    one: dict[str, Any] = a_payload("alertmanager")["alerts"][0]
    return one | {"status": status, "startsAt": start}


def a_group(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    frame: dict[str, Any] = a_payload("alertmanager")
    return frame | {"alerts": list(alerts)} | more


# --- Alertmanager and Grafana


CHECKOUT = "9f1c2ab37de04c55-2026-03-02T09:14:05.512Z"
GROUP = digest('{}/{team="shop"}:{alertname="CheckoutSlow"}')


def test_a_group_of_one_alert_is_an_event() -> None:
    payload = a_payload("alertmanager")
    alert = {
        "id": GROUP,
        "title": "CheckoutSlow",
        "status": "open",
        "severity": "critical",
        "labels": {"alertname": "CheckoutSlow", "severity": "critical", "team": "shop"},
        "started_at": "2026-03-02T09:14:05.512Z",
        "ended_at": None,
        "source": "alertmanager",
        "summary": "Checkout p99 above 2 s",
        "description": "",
        "annotations": {"summary": "Checkout p99 above 2 s", "runbook_url": "https://wiki.example.org/checkout"},
        "runbook_url": "https://wiki.example.org/checkout",
        "url": "http://prom.example.org/graph?g0.expr=x",
        "external_id": '{}/{team="shop"}:{alertname="CheckoutSlow"}',
        "data": payload,
    }
    assert the_event("alertmanager", payload) == Foreign(
        "alert_status_updated",
        digest(GROUP, [f"{CHECKOUT} open"], 0),
        {"alert": alert},
        first="alert_created",
        subject=GROUP,
        state=f"open {digest([CHECKOUT], 0)}",
    )


def test_a_group_of_several_alerts_is_one_event() -> None:
    payload = a_payload("alertmanager_group")
    event = the_event("alertmanager", payload)
    assert event.data["alert"] == {
        "id": digest('{}:{team="shop"}'),
        "title": "DiskFull, QueueLong, CheckoutSlow",
        "status": "open",
        "severity": "warning",
        "labels": {"team": "shop"},
        "started_at": "2026-03-02T08:00:00Z",
        "ended_at": None,
        "source": "alertmanager",
        "summary": "2 firing, 1 resolved, ... and 7 more",
        "description": (
            "- QueueLong\n- CheckoutSlow: Checkout p99 above 2 s\n- DiskFull: Disk over 90 % on db-2 (resolved)\n"
            "- ... and 7 more"
        ),
        "annotations": {},
        "runbook_url": None,
        "url": "http://am.example.org:9093",
        "external_id": '{}:{team="shop"}',
        "data": payload,
    }
    firing = ["2b2b2b2b2b2b2b2b-2026-03-02T08:10:00Z", "3c3c3c3c3c3c3c3c-2026-03-02T08:11:00Z"]
    assert (event.first, event.state, event.last) == ("alert_created", f"open {digest(firing, 7)}", False)


def test_a_group_has_its_severest_word_where_a_table_ranks_them() -> None:
    table = "critical = sev0\nWARNING = sev2"
    event = the_event("alertmanager", a_payload("alertmanager_group"), options={"severities": table})
    assert event.data["alert"]["severity"] == "sev0"


def test_a_group_that_is_over_ends_its_subject() -> None:
    over = an_alert("resolved") | {"endsAt": "2026-03-02T10:00:00Z"}
    event = the_event("alertmanager", a_group(over))
    told = (event.name, event.first, event.state, event.last, event.data["alert"]["ended_at"])
    assert told == ("alert_status_updated", "", "resolved", True, "2026-03-02T10:00:00Z")


def test_a_group_counts_what_it_does_not_list() -> None:
    alerts = [an_alert("firing") | {"fingerprint": f"f{index}"} for index in range(300)]
    alert = the_event("alertmanager", a_group(*alerts)).data["alert"]
    assert alert["description"].splitlines()[-1] == "- ... and 250 more"
    assert len(alert["description"].splitlines()) == 51
    assert alert["summary"] == "Checkout p99 above 2 s"


def test_a_group_keeps_its_state_while_the_same_alerts_fire() -> None:
    one, other = an_alert("firing"), an_alert("firing", start="2026-03-02T10:00:00Z") | {"fingerprint": "b"}
    both = the_event("alertmanager", a_group(one, other))
    swapped = the_event("alertmanager", a_group(other, one, notification_reason="repeat interval elapsed"))
    less = the_event("alertmanager", a_group(one, other | {"status": "resolved"}))
    repeated = the_event("alertmanager", a_group(one))
    assert (swapped.key, swapped.state) == (both.key, both.state)
    assert less.state != both.state
    assert (repeated.state, repeated.key == less.key) == (less.state, False)
    assert {one.subject for one in (both, swapped, less, repeated)} == {GROUP}


def test_each_alert_is_an_event_where_people_want_that() -> None:
    payload = a_group(an_alert("firing"), an_alert("firing"), an_alert("resolved", start="2026-03-01T00:00:00Z"))
    firing, resolved = read("alertmanager", payload, options=EACH).events
    alert = {
        "id": CHECKOUT,
        "title": "CheckoutSlow",
        "status": "open",
        "severity": "critical",
        "labels": {"alertname": "CheckoutSlow", "severity": "critical", "team": "shop", "pod": "checkout-7"},
        "started_at": "2026-03-02T09:14:05.512Z",
        "ended_at": None,
        "source": "alertmanager",
        "summary": "Checkout p99 above 2 s",
        "description": "",
        "annotations": {"summary": "Checkout p99 above 2 s", "runbook_url": "https://wiki.example.org/checkout"},
        "runbook_url": "https://wiki.example.org/checkout",
        "url": "http://prom.example.org/graph?g0.expr=x",
        "external_id": "9f1c2ab37de04c55",
        "data": payload | {"alerts": [an_alert("firing")]},
    }
    assert firing == Foreign(
        "alert_status_updated",
        f"{CHECKOUT} open",
        {"alert": alert},
        first="alert_created",
        subject=CHECKOUT,
        state="open",
    )
    earlier = "9f1c2ab37de04c55-2026-03-01T00:00:00Z"
    assert (resolved.name, resolved.first, resolved.key) == ("alert_status_updated", "", f"{earlier} resolved")
    assert (resolved.subject, resolved.state, resolved.data["alert"]["ended_at"]) == (earlier, "resolved", None)


def test_grafana_tells_values_and_its_own_links() -> None:
    payload = a_payload("grafana")
    event = the_event("grafana", payload, options=EACH | {"severities": "warning = sev2"})
    alert = {
        "id": "1e0d7c6b5a493827-2026-03-02T08:00:00Z",
        "title": "DiskFull",
        "status": "resolved",
        "severity": "sev2",
        "labels": {"alertname": "DiskFull", "severity": "warning", "host": "db-2"},
        "started_at": "2026-03-02T08:00:00Z",
        "ended_at": "2026-03-02T08:25:00Z",
        "source": "grafana",
        "summary": "Disk over 90 %",
        "description": "",
        "annotations": {"summary": "Disk over 90 %"},
        "runbook_url": None,
        "url": "https://g.example.org/alerting/grafana/abc/view",
        "values": {"B": 71.4},
        "external_id": "1e0d7c6b5a493827",
        "data": payload,
    }
    key, subject = "1e0d7c6b5a493827-2026-03-02T08:00:00Z resolved", "1e0d7c6b5a493827-2026-03-02T08:00:00Z"
    assert event == Foreign("alert_status_updated", key, {"alert": alert}, subject=subject, state="resolved")


@pytest.mark.parametrize(
    ("links", "url"),
    [
        ({"panelURL": "https://p", "dashboardURL": "https://d"}, "https://p"),
        ({"dashboardURL": "https://d"}, "https://d"),
        ({"generatorURL": ""}, None),
    ],
)
def test_grafana_links_to_the_nearest(links: dict[str, str], url: str | None) -> None:
    payload = a_payload("grafana")
    payload["alerts"][0] |= links
    assert the_event("grafana", payload, options=EACH).data["alert"]["url"] == url


@pytest.mark.parametrize("options", [{}, EACH])
def test_grafanas_test_triggers_nothing(options: dict[str, Any]) -> None:
    ignored = Reading(ignored="A test from Grafana: received, it triggers nothing.")
    assert read("grafana", a_payload("grafana_test"), options=options) == ignored


# --- PagerDuty


PAGERDUTY = {
    "id": "Q2ABC",
    "sequential_id": 318,
    "title": "Checkout slow",
    "name": "Checkout slow",
    "status": "acknowledged",
    "severity": "P1",
    "source": "pagerduty",
    "url": "https://x.pagerduty.com/incidents/Q2ABC",
    "started_at": "2026-03-02T09:15:00Z",
    "raw_services": [{"id": "PS1", "name": "Checkout"}],
    "raw_groups": [{"id": "PT1", "name": "Shop"}],
    "raw_severity": {"id": "PP1", "name": "P1"},
    "resolution_message": None,
    "data": a_payload("pagerduty")["event"]["data"],
}


def a_pagerduty(event_type: str, **data: Any) -> dict[str, Any]:
    payload: dict[str, Any] = a_payload("pagerduty")
    payload["event"] |= {"event_type": event_type}
    payload["event"]["data"] |= data
    return payload


@pytest.mark.parametrize(
    ("event_type", "name", "more"),
    [
        ("incident.triggered", "incident_created", {}),
        ("incident.acknowledged", "status_updated", {"acknowledged_at": "2026-03-02T09:20:11.040Z"}),
        ("incident.unacknowledged", "status_updated", {}),
        ("incident.resolved", "status_updated", {"resolved_at": "2026-03-02T09:20:11.040Z"}),
        ("incident.reopened", "status_updated", {}),
        ("incident.priority_updated", "severity_updated", {}),
        ("incident.service_updated", "services_updated", {}),
        ("incident.incident_type.changed", "incident_types_updated", {}),
        ("incident.role.assigned", "role_assignments_updated", {}),
        ("incident.delegated", "incident_updated", {}),
        ("incident.escalated", "incident_updated", {}),
        ("incident.reassigned", "incident_updated", {}),
        ("incident.responder.added", "incident_updated", {}),
        ("incident.responder.replied", "incident_updated", {}),
        ("incident.conference_bridge.updated", "incident_updated", {}),
    ],
)
def test_pagerdutys_incident_is_an_event(event_type: str, name: str, more: dict[str, str]) -> None:
    event = the_event("pagerduty", a_pagerduty(event_type))
    assert event == Foreign(name, "01J9ZK3T5W8M", {"incident": PAGERDUTY | more}, subject="Q2ABC")


def test_pagerdutys_urgency_stands_for_a_priority() -> None:
    event = the_event("pagerduty", a_pagerduty("incident.triggered", priority=None, urgency="low", service=None))
    told = event.data["incident"]
    assert (told["severity"], told["raw_severity"], told["raw_services"]) == ("low", None, [])


def test_pagerdutys_note_is_thin() -> None:
    entry = {"id": "PN1", "event": "Rolling back", "occurred_at": "2026-03-02T09:31:00.000Z"}
    told = {"id": "Q2ABC", "url": "https://x.pagerduty.com/incidents/Q2ABC", "source": "pagerduty", "events": [entry]}
    assert the_event("pagerduty", a_payload("pagerduty_note")) == Foreign(
        "timeline_updated", "01J9ZK8888", {"incident": told}, subject="Q2ABC", thin=True
    )


def test_pagerdutys_status_update_is_thin() -> None:
    payload = a_payload("pagerduty_note")
    payload["event"] |= {"event_type": "incident.status_update_published"}
    payload["event"]["data"] |= {"type": "incident_status_update", "message": "Half done", "content": None}
    event = the_event("pagerduty", payload)
    assert (event.name, event.thin) == ("timeline_updated", True)
    assert event.data["incident"]["events"][0]["event"] == "Half done"


@pytest.mark.parametrize(
    ("event_type", "name"),
    [
        ("incident.task.created", "action_item_created"),
        ("incident.task.updated", "action_item_updated"),
        ("incident.task.completed", "action_item_updated"),
    ],
)
def test_pagerdutys_task_is_an_action_item(event_type: str, name: str) -> None:
    payload = a_payload("pagerduty_note")
    about = {"id": "T1", "type": "incident_task", "title": "Tell finance", "status": "open"}
    about |= {"incident": {"id": "Q2ABC", "summary": "Checkout slow"}}
    payload["event"] |= {"event_type": event_type, "data": about}
    item = {"id": "T1", "summary": "Tell finance", "description": "", "status": "open", "source": "pagerduty"}
    incident = {"id": "Q2ABC", "title": "Checkout slow", "name": "Checkout slow", "source": "pagerduty"}
    data = {"incident": incident, "action_item": item | {"data": about}}
    assert the_event("pagerduty", payload) == Foreign(name, "01J9ZK8888", data, subject="Q2ABC", thin=True)


def test_pagerdutys_fields_are_an_event_each() -> None:
    incident = {
        "id": "Q2ABC",
        "title": "Checkout slow",
        "name": "Checkout slow",
        "url": "https://x.pagerduty.com/incidents/Q2ABC",
        "source": "pagerduty",
        "custom_fields": [
            {
                "custom_field": {"id": "PF1", "label": "Affected region", "slug": "affected_region"},
                "value": "Europe",
            },
            {"custom_field": {"id": "PF2", "label": "Orders at risk", "slug": "orders_at_risk"}, "value": 1240},
        ],
    }
    assert read("pagerduty", a_payload("pagerduty_fields")).events == tuple(
        Foreign(
            f"custom_fields.{slug}.updated",
            f"01J9ZK9999 {slug}",
            {"incident": incident},
            subject="Q2ABC",
            thin=True,
        )
        for slug in ("affected_region", "orders_at_risk")
    )


@pytest.mark.parametrize(
    ("event_type", "ignored"),
    [
        ("pagey.ping", "A test from PagerDuty: received, it triggers nothing."),
        ("incident.workflow.started", "PagerDuty's 'incident.workflow.started' triggers nothing."),
        ("incident.action_invocation.created", "PagerDuty's 'incident.action_invocation.created' triggers nothing."),
        ("service.updated", "PagerDuty's 'service.updated' triggers nothing."),
        ("incident.invented", "PagerDuty's 'incident.invented' triggers nothing."),
    ],
)
def test_what_else_pagerduty_tells_is_no_error(event_type: str, ignored: str) -> None:
    assert read("pagerduty", {"event": {"id": "1", "event_type": event_type}}) == Reading(ignored=ignored)


def test_pagerdutys_header_stands_for_a_missing_id() -> None:
    payload = a_pagerduty("incident.triggered")
    del payload["event"]["id"]
    assert the_event("pagerduty", payload, headers={"x-webhook-id": "w-1"}).key == "w-1"


# --- Rootly


ROOTLY = a_payload("rootly")["data"] | {"name": "Checkout slow", "source": "rootly"}
ROOTLY_KEY = "5a3e0a52-6f1c-4b0e-9d5f-0d8f2f7f1c11"


def a_rootly(kind: str, data: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = a_payload("rootly")
    payload["event"]["type"] = kind
    payload["data"] = (payload["data"] if data is None else data) | changes
    return payload


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("incident.created", "incident_created"),
        ("incident.in_triage", "incident_in_triage"),
        ("incident.updated", "incident_updated"),
        ("incident.mitigated", "status_updated"),
        ("incident.resolved", "status_updated"),
        ("incident.cancelled", "status_updated"),
        ("incident.scheduled.created", "incident_created"),
        ("incident.scheduled.updated", "incident_updated"),
        ("incident.scheduled.in_progress", "status_updated"),
        ("incident.scheduled.completed", "status_updated"),
    ],
)
def test_rootlys_incident_is_an_event(kind: str, name: str) -> None:
    event = the_event("rootly", a_rootly(kind))
    assert event == Foreign(name, ROOTLY_KEY, {"incident": ROOTLY}, subject=ROOTLY["id"])


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        (None, {"severity": None}),
        ({"name": "SEV1", "slug": "sev1"}, {"severity": "SEV1", "raw_severity": {"name": "SEV1", "slug": "sev1"}}),
        ({"slug": "sev1"}, {"severity": "sev1", "raw_severity": {"slug": "sev1"}}),
    ],
)
def test_rootlys_severity_may_be_an_object(severity: Any, told: dict[str, Any]) -> None:
    event = the_event("rootly", a_rootly("incident.created", severity=severity))
    assert event.data["incident"] == ROOTLY | told


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("incident_post_mortem.created", "post_mortem_created"),
        ("incident_post_mortem.updated", "post_mortem_updated"),
        ("incident_post_mortem.published", "status_updated"),
    ],
)
def test_rootlys_post_mortem_is_an_event(kind: str, name: str) -> None:
    event = the_event("rootly", a_rootly(kind, {"id": "p1", "title": "Why"}))
    assert event == Foreign(name, ROOTLY_KEY, {"post_mortem": {"id": "p1", "title": "Why", "source": "rootly"}})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("incident_event.created", "timeline_updated"),
        ("incident_event.updated", "timeline_updated"),
        ("incident_status_page_event.created", "status_page_timeline_updated"),
    ],
)
@pytest.mark.parametrize("whose", [{"incident_id": "i1"}, {"incident": {"id": "i1"}}])
def test_rootlys_timeline_is_thin(kind: str, name: str, whose: dict[str, Any]) -> None:
    entry = {"id": "e1", "event": "Rolling back"} | whose
    incident = {"id": "i1", "source": "rootly", "events": [entry]}
    event = the_event("rootly", a_rootly(kind, entry))
    assert event == Foreign(name, ROOTLY_KEY, {"incident": incident}, subject="i1", thin=True)


ROOTLY_ALERT = a_payload("rootly_alert")["data"] | {
    "title": "Disk full on db-2",
    "labels": {"team": "db", "host": "db-2"},
    "url": "https://app.example.org/m/5",
}


@pytest.mark.parametrize(
    ("kind", "changes", "name", "status"),
    [
        ("alert.created", {}, "alert_created", "open"),
        ("alert.acknowledged", {}, "alert_status_updated", "acknowledged"),
        ("alert.resolved", {}, "alert_status_updated", "resolved"),
        ("alert.updated", {"status": "triggered"}, "alert_status_updated", "triggered"),
        ("alert.invented", {"ended_at": "2026-03-02T10:00:00Z"}, "alert_status_updated", "resolved"),
    ],
)
def test_rootlys_alert_is_an_event(kind: str, changes: dict[str, Any], name: str, status: str) -> None:
    event = the_event("rootly", a_rootly(kind, a_payload("rootly_alert")["data"], **changes))
    assert event == Foreign(name, ROOTLY_KEY, {"alert": ROOTLY_ALERT | changes | {"status": status}})


def test_rootlys_pulse_is_an_event() -> None:
    event = the_event("rootly", a_rootly("pulse.created", {"id": "u1", "summary": "Deployed", "source": "ci"}))
    pulse = {"id": "u1", "summary": "Deployed", "source": "ci"}
    assert event == Foreign("pulse_created", ROOTLY_KEY, {"pulse": pulse})


@pytest.mark.parametrize(
    "kind",
    ["incident.deleted", "alert.deleted", "incident_event.deleted", "genius_workflow_run.completed", "never.heard"],
)
def test_what_else_rootly_tells_is_no_error(kind: str) -> None:
    assert read("rootly", a_rootly(kind)) == Reading(ignored=f"Rootly's '{kind}' triggers nothing.")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("incident.created", {"id": "i1", "title": "x", "private": True}),
        ("incident_event.created", {"id": "e1", "incident": {"id": "i1", "private": True}}),
        ("incident_post_mortem.created", {"id": "p1", "incident": {"id": "i1", "private": True}}),
    ],
)
def test_rootlys_private_incidents_are_taken_only_where_people_want_that(kind: str, data: dict[str, Any]) -> None:
    ignored = Reading(ignored="It is about a private incident; this endpoint does not take those.")
    assert read("rootly", a_rootly(kind, data)) == ignored
    assert len(read("rootly", a_rootly(kind, data), options={"private": True}).events) == 1


# --- Opsgenie, Datadog, FireHydrant, incident.io


OPSGENIE = {
    "id": "a-77",
    "title": "Disk full on db-2",
    "summary": "Disk full on db-2",
    "description": "",
    "status": "open",
    "severity": "P2",
    "source": "opsgenie",
    "labels": ["db"],
    "external_id": "db-2/disk",
    "started_at": "2026-03-02T09:00:00.123000+00:00",
}


@pytest.mark.parametrize(
    ("action", "status", "key", "first"),
    [
        ("Create", "open", "a-77 Create", "alert_created"),
        ("Acknowledge", "acknowledged", "a-77 Acknowledge 1772442000456000000", ""),
        ("UnAcknowledge", "open", "a-77 UnAcknowledge 1772442000456000000", ""),
        ("Close", "resolved", "a-77 Close 1772442000456000000", ""),
    ],
)
def test_opsgenies_alert_is_an_event(action: str, status: str, key: str, first: str) -> None:
    payload = a_payload("opsgenie") | {"action": action}
    data = {"alert": OPSGENIE | {"status": status, "data": payload}}
    event = Foreign("alert_status_updated", key, data, first=first, subject="a-77", state=status)
    assert the_event("opsgenie", payload) == event


@pytest.mark.parametrize("action", ["AddNote", "AssignOwnership", "Add Team", "Delete", "Restart the pump"])
def test_what_else_opsgenie_tells_is_no_error(action: str) -> None:
    ignored = Reading(ignored=f"Opsgenie's '{action}' triggers nothing.")
    assert read("opsgenie", a_payload("opsgenie") | {"action": action}) == ignored


DATADOG = {
    "id": "90412",
    "title": "[P2] Disk full",
    "summary": "[P2] Disk full",
    "description": "over 90 %",
    "status": "open",
    "severity": "P2",
    "source": "datadog",
    "labels": {"host": "db-2", "team": "db", "monitor": ""},
    "url": "https://app.example.org/m/5",
    "external_id": "771",
}


@pytest.mark.parametrize(
    ("transition", "state"),
    [
        ("Triggered", "triggered"),
        ("Re-Triggered", "triggered"),
        ("Warn", "warning"),
        ("Re-Warn", "warning"),
        ("No Data", "no data"),
        ("Re-No Data", "no data"),
    ],
)
def test_datadogs_alert_is_an_event(transition: str, state: str) -> None:
    payload = a_payload("datadog") | {"transition": transition}
    alert = DATADOG | {"started_at": "2026-03-02T09:00:00+00:00", "data": payload}
    key, first = f"771 {transition}", "alert_created"
    event = Foreign("alert_status_updated", key, {"alert": alert}, first=first, subject="90412", state=state)
    assert the_event("datadog", payload) == event


def test_datadogs_recovery_is_never_a_beginning() -> None:
    payload = a_payload("datadog") | {"transition": "Recovered", "priority": "", "at": "soon"}
    alert = DATADOG | {"status": "resolved", "severity": "error", "ended_at": None, "data": payload}
    event = Foreign("alert_status_updated", "771 Recovered", {"alert": alert}, subject="90412", state="resolved")
    assert the_event("datadog", payload) == event


@pytest.mark.parametrize("transition", ["Renotify", "Invented"])
def test_what_else_datadog_tells_is_no_error(transition: str) -> None:
    ignored = Reading(ignored=f"Datadog's '{transition}' triggers nothing.")
    assert read("datadog", a_payload("datadog") | {"transition": transition}) == ignored


def test_datadogs_template_names_what_is_read() -> None:
    assert set(json.loads(TEMPLATE)) == set(a_payload("datadog"))


def test_firehydrants_incident_is_an_event() -> None:
    payload = a_payload("firehydrant")
    incident = {
        "id": "7b0e",
        "sequential_id": 12,
        "title": "Checkout slow",
        "name": "Checkout slow",
        "summary": "",
        "description": "",
        "status": "mitigated",
        "severity": "SEV1",
        "priority": None,
        "source": "firehydrant",
        "url": None,
        "labels": {},
        "started_at": "2026-03-02 09:15:00 UTC",
        "raw_severity": {"slug": "SEV1"},
        "data": payload["data"]["incident"],
    }
    assert the_event("firehydrant", payload) == Foreign(
        "status_updated",
        digest(payload),
        {"incident": incident},
        first="incident_created",
        subject="7b0e",
        state="mitigated",
    )


def test_what_else_firehydrant_tells_is_no_error() -> None:
    ignored = Reading(ignored="It is not about an incident: nothing is told.")
    assert read("firehydrant", {"data": {"alert": {"id": "1"}}}) == ignored


INCIDENT_IO = {
    "id": "01JX",
    "slug": "INC-7",
    "title": "Checkout slow",
    "name": "Checkout slow",
    "summary": "",
    "status": "Fixing",
    "status_category": "live",
    "severity": "Major",
    "source": "incident.io",
    "url": "https://app.incident.io/x/7",
    "started_at": "2026-03-02T09:15:00Z",
    "raw_severity": {"name": "Major"},
    "data": a_payload("incident_io")["public_incident.incident_status_updated_v2"]["incident"],
}


def an_incident_io(kind: str, about: dict[str, Any]) -> dict[str, Any]:
    return {"event_type": kind, kind: about}


@pytest.mark.parametrize(("headers", "key"), [({"webhook-id": "m1"}, "m1"), ({"svix-id": "m2"}, "m2")])
def test_incident_ios_change_of_status_is_an_event(headers: dict[str, str], key: str) -> None:
    incident = INCIDENT_IO | {"previous_status": "Investigating", "message": "Rolling back"}
    event = the_event("incident_io", a_payload("incident_io"), headers=headers)
    assert event == Foreign("status_updated", key, {"incident": incident}, subject="01JX")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("public_incident.incident_created_v2", "incident_created"),
        ("public_incident.incident_updated_v2", "incident_updated"),
        ("public_incident.incident_updated_v17", "incident_updated"),
    ],
)
def test_incident_ios_incident_is_an_event(kind: str, name: str) -> None:
    payload = an_incident_io(kind, INCIDENT_IO["data"])
    assert the_event("incident_io", payload) == Foreign(
        name, digest(payload), {"incident": INCIDENT_IO}, subject="01JX"
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("public_incident.action_created_v1", "action_item_created"),
        ("public_incident.action_updated_v1", "action_item_updated"),
        ("public_incident.follow_up_created_v2", "action_item_created"),
        ("public_incident.follow_up_updated_v2", "action_item_updated"),
    ],
)
def test_incident_ios_task_is_an_action_item(kind: str, name: str) -> None:
    task = {"id": "f1", "title": "Add a canary", "status": "outstanding", "incident_id": "01JX"}
    payload = an_incident_io(kind, task)
    item = {"id": "f1", "summary": "Add a canary", "description": "", "status": "outstanding", "source": "incident.io"}
    data = {"action_item": item | {"data": task}, "incident": {"id": "01JX"}}
    assert the_event("incident_io", payload) == Foreign(name, digest(payload), data, subject="01JX", thin=True)


def test_incident_ios_alert_is_an_event() -> None:
    about = {"id": "a1", "title": "Disk full", "description": "db-2", "status": "firing", "created_at": "2026-03-02"}
    about |= {"deduplication_key": "d1", "source_url": "https://m.example.org/1", "resolved_at": None}
    payload = an_incident_io("public_alert.alert_created_v1", about)
    alert = {
        "id": "a1",
        "title": "Disk full",
        "summary": "Disk full",
        "description": "db-2",
        "status": "open",
        "source": "incident.io",
        "url": "https://m.example.org/1",
        "external_id": "d1",
        "started_at": "2026-03-02",
        "ended_at": None,
        "data": about,
    }
    assert the_event("incident_io", payload) == Foreign("alert_created", digest(payload), {"alert": alert})


@pytest.mark.parametrize("kind", ["private_incident.incident_created_v2", "public_incident.invented_v1"])
def test_what_else_incident_io_tells_is_no_error(kind: str) -> None:
    ignored = Reading(ignored=f"incident.io's '{kind}' triggers nothing.")
    assert read("incident_io", an_incident_io(kind, {"id": "1"})) == ignored


# --- CloudEvents


DEPLOY = a_payload("cloudevents")["data"]
BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "8c1",
    "ce-source": "/ci/deploys",
    "ce-type": "org.example.incident_created",
    "content-type": "application/json",
}
STRUCTURED = {"content-type": "Application/CloudEvents+JSON; charset=utf-8"}
DEPLOYED = Foreign("incident_created", "/ci/deploys 8c1", {"incident": {"source": "/ci/deploys"} | DEPLOY["incident"]})


def a_cloudevent(**changes: Any) -> dict[str, Any]:
    envelope: dict[str, Any] = a_payload("cloudevents") | changes
    return {name: value for name, value in envelope.items() if value is not None}


def test_a_structured_event() -> None:
    assert the_event("cloudevents", a_cloudevent(), headers=STRUCTURED) == DEPLOYED


def test_a_structured_event_with_data_in_base64() -> None:
    envelope = a_cloudevent(data=None, data_base64=b64encode(json.dumps(DEPLOY).encode()).decode())
    assert the_event("cloudevents", envelope, headers=STRUCTURED) == DEPLOYED


def test_a_binary_event() -> None:
    assert the_event("cloudevents", DEPLOY, headers=BINARY) == DEPLOYED


@pytest.mark.parametrize(
    ("sent", "source"),
    [("/caf%C3%A9", "/café"), ('"/a \\"b\\" %25"', '/a "b" %'), ("/100%2525", "/100%25"), ("/plain", "/plain")],
)
def test_headers_of_a_binary_event_are_decoded_once(sent: str, source: str) -> None:
    event = the_event("cloudevents", {"incident": {}}, headers=BINARY | {"ce-source": sent})
    assert event.data == {"incident": {"source": source}}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("alert_created", "alert_created"),
        ("org.example.custom_fields.region.updated", "custom_fields.region.updated"),
        ("deploy.finished", "deploy.finished"),
    ],
)
def test_a_type_that_is_a_name_of_ours_needs_no_mapping(kind: str, name: str) -> None:
    event = the_event("cloudevents", {"deploy": {"id": 19}}, headers=BINARY | {"ce-type": kind})
    assert event == Foreign(name, "/ci/deploys 8c1", {"deploy": {"id": 19}})


MAPPING = "event = $.type\nevent.Deploy.Finished = deploy.finished\nwho = $.source\nwhat = $.data.deploy.id"


def test_any_other_type_goes_through_the_mapping() -> None:
    headers = BINARY | {"ce-type": "Deploy.Finished"}
    envelope = {name: headers[f"ce-{name}"] for name in ("specversion", "id", "source", "type")}
    envelope |= {"data": {"deploy": {"id": 19}}}
    event = the_event("cloudevents", {"deploy": {"id": 19}}, headers=headers, options={"mapping": MAPPING})
    assert event == Foreign("deploy.finished", "/ci/deploys 8c1", envelope | {"who": "/ci/deploys", "what": 19})
    assert the_event("cloudevents", DEPLOY, headers=BINARY, options={"mapping": MAPPING}) == DEPLOYED


def test_a_type_that_nobody_knows_is_no_error() -> None:
    ignored = "'Deploy' is none of our events, and the endpoint has no mapping that makes it one."
    assert read("cloudevents", {}, headers=BINARY | {"ce-type": "Deploy"}) == Reading(ignored=ignored)


@pytest.mark.parametrize(
    ("headers", "body", "status", "complaint"),
    [
        ({"content-type": "application/cloudevents-batch+json"}, [], 415, "Batches of CloudEvents are not taken"),
        ({"content-type": "application/cloudevents+avro"}, {}, 415, "Of the structured formats only"),
        ({}, DEPLOY, 400, "'specversion' is missing"),
        (BINARY | {"ce-specversion": "0.3"}, DEPLOY, 400, "Only CloudEvents of the specversion 1.0 are taken."),
        (BINARY | {"ce-id": ""}, DEPLOY, 400, "'id' is missing"),
        (BINARY | {"ce-source": "%ff"}, DEPLOY, 400, "A header of the event is not UTF-8"),
        (BINARY, [1], 400, "'data' must be an object"),
        (STRUCTURED, a_cloudevent(type=5), 400, "'type' must be a text."),
        (STRUCTURED, a_cloudevent(data_base64="e30="), 400, "An event has 'data' or 'data_base64', not both."),
        (STRUCTURED, a_cloudevent(data=None, data_base64="?"), 400, "'data_base64' must hold a JSON object in base64."),
        (STRUCTURED, a_cloudevent(data=None, data_base64="W10="), 400, "'data_base64' must hold a JSON object"),
    ],
)
def test_what_is_no_cloudevent_is_refused(headers: dict[str, str], body: Any, status: int, complaint: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read("cloudevents", body, headers=headers)
    assert raised.value.status == status
    assert str(raised.value).startswith(complaint)


# --- Any JSON


ANY = {"mapping": "event = alert_created\nalert.severity = $.level", "severities": "2 = low\nhigh = sev1"}


@pytest.mark.parametrize(
    ("headers", "key"),
    [({}, digest({"level": "High"})), ({"webhook-id": "m1"}, "m1"), ({"svix-id": "m2"}, "m2")],
)
def test_any_json_goes_through_the_mapping(headers: dict[str, str], key: str) -> None:
    event = the_event("json", {"level": "High"}, options=ANY, headers=headers)
    assert event == Foreign("alert_created", key, {"alert": {"severity": "sev1", "data": {"level": "High"}}})


# --- Whatever comes


@pytest.mark.parametrize(
    ("kind", "payload", "options", "complaint"),
    [
        ("alertmanager", [], {}, "'the payload' must be an object"),
        ("alertmanager", {"text": "my template"}, {}, "There is no list 'alerts', so alertmanager's own form"),
        ("alertmanager", {"alerts": {}}, {}, "'alerts' must be a list."),
        ("alertmanager", a_group({"status": "firing"}), {}, "'fingerprint' is missing"),
        ("alertmanager", a_group(an_alert("paused")), {}, "The status of an alert is 'firing' or 'resolved', not"),
        ("alertmanager", a_group(an_alert("firing"), truncatedAlerts="7"), {}, "'truncatedAlerts' must be a whole"),
        ("pagerduty", {}, {}, "'event_type' is missing"),
        ("pagerduty", {"event": []}, {}, "'event' must be an object"),
        ("pagerduty", {"event": {"event_type": "incident.triggered"}}, {}, "'id' is missing"),
        ("rootly", {"data": {}}, {}, "'type' is missing"),
        ("rootly", a_rootly("incident_event.created", {"id": "e1"}), {}, "The entry of a timeline does not say of"),
        ("json", {}, {}, "The mapping of this endpoint cannot be read. There is no line for the event."),
        ("json", [], ANY, "'the payload' must be an object"),
        ("json", {"level": "x"}, ANY | {"severities": "high"}, "The severities of this endpoint cannot be read. Line"),
    ],
)  # fmt: skip
def test_what_a_sender_never_posts_is_refused(kind: str, payload: Any, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Unreadable) as raised:
        read(kind, payload, options=options)
    assert str(raised.value).startswith(complaint)


def test_a_group_without_alerts_is_no_error() -> None:
    assert read("alertmanager", a_group()) == Reading(ignored="It holds no alerts: nothing is told.")


OPTIONS = [{}, EACH, {"private": True, "severities": "high = sev1"}, {"mapping": MAPPING}, ANY]
SAMPLES = [(path, json.loads(path.read_text())) for path in sorted(PAYLOADS.glob("*.json"))]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key or index) within a JSON value."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def is_sound(kind: str, payload: Any, *, options: dict[str, Any], headers: dict[str, str]) -> None:
    """Check that it is read or refused: no other exception, nothing that cannot be taken, nothing changed."""
    before, reading = copy.deepcopy(payload), None
    with suppress(Unreadable):
        reading = SENDERS[kind].read(headers, payload, options)
    if reading is None:
        return
    assert bool(reading.events) != bool(reading.ignored)
    for event in reading.events:
        assert 0 < len(event.key) <= LONGEST
        assert len(event.subject) <= LONGEST
        assert len(event.state) <= LONGEST
        make_event(event.first or event.name, {}, key=event.key)
    assert repr(payload) == repr(before)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(SENDERS)), JSON, st.sampled_from(OPTIONS), st.sampled_from([{}, BINARY, STRUCTURED]))
def test_any_json_is_read_or_refused(kind: str, payload: Any, options: dict[str, Any], headers: dict[str, str]) -> None:
    is_sound(kind, payload, options=options, headers=headers)


@settings(max_examples=1500, deadline=None)
@given(st.data(), st.sampled_from(SAMPLES), st.sampled_from(OPTIONS))
def test_a_payload_with_one_value_of_another_type_is_read_or_refused(
    data: st.DataObject, sample: tuple[Path, Any], options: dict[str, Any]
) -> None:
    path, payload = sample[0], copy.deepcopy(sample[1])
    container, key = data.draw(st.sampled_from(places(payload)))
    container[key] = data.draw(JSON)
    kind = next(kind for kind in SENDERS if path.stem.startswith(kind))
    is_sound(kind, payload, options=options, headers=STRUCTURED)


def test_each_sender_says_how_it_is_proved_and_set_up() -> None:
    assert list(SENDERS) == [
        *("alertmanager", "grafana", "pagerduty", "rootly", "opsgenie", "datadog", "incident_io", "firehydrant"),
        *("cloudevents", "json"),
    ]
    for kind, sender in SENDERS.items():
        assert sender.kind == kind
        assert sender.scheme in SCHEMES
        assert sender.help.endswith(".")
