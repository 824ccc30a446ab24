"""CloudEvents over HTTP, in both modes."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from django.test import Client

from workflows import endpoints
from workflows.models import Event
from workflows.webhook_models import WebhookEndpoint
from workflows.webhooks import Foreign, Reading, Unreadable

from .foreign import BINARY, STRUCTURED, a_payload, read, the_event

DEPLOY = a_payload("cloudevents")["data"]
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


BARE = {name: BINARY[f"ce-{name}"] for name in ("specversion", "id", "source")}
BARE |= {"type": "deploy.finished", "subject": "deploys/19", "time": "2026-03-02T09:14:05Z"}
IN_HEADERS = {f"ce-{name}": value for name, value in BARE.items()}


@pytest.mark.parametrize(
    ("headers", "body"), [(STRUCTURED, BARE), (STRUCTURED, BARE | {"data": None}), (IN_HEADERS, None)]
)
def test_an_event_without_data_is_its_attributes(headers: dict[str, str], body: Any) -> None:
    assert the_event("cloudevents", body, headers=headers) == Foreign("deploy.finished", "/ci/deploys 8c1", BARE)
    options = {"mapping": "event = $.type\nwho = $.subject\nwhat = $.data.deploy.id"}
    mapped = the_event("cloudevents", body, headers=headers, options=options)
    assert mapped.data == BARE | {"who": "deploys/19"}


def test_an_event_of_the_catalogue_may_have_no_data() -> None:
    told = BARE | {"type": "org.example.incident_created"}
    assert the_event("cloudevents", told, headers=STRUCTURED).name == "incident_created"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "headers", "status"),
    [("cloudevents", IN_HEADERS, 202), ("cloudevents", {}, 400), ("json", IN_HEADERS, 400)],
)
def test_headers_without_a_body_are_an_event(client: Client, kind: str, headers: dict[str, str], status: int) -> None:
    row = WebhookEndpoint(name="ce", kind=kind, scheme="bearer", options={"mapping": "event = $.type"})
    proof = {"Authorization": f"Bearer {endpoints.create(row, actor='ada').secret}"}
    answer = client.post(f"/hooks/{row.pk}/", b"", "", headers=headers | proof | {"Content-Length": "0"})
    assert answer.status_code == status
    assert [event.data for event in Event.objects.all()] == ([BARE] if status == 202 else [])


def test_u_0000_in_a_header_is_dropped() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/x%00y", "ce-type": "a%00b"}
    assert read("cloudevents", {}, headers=headers).ignored.startswith("'ab' is none of our events")


def in_base64(data: str) -> dict[str, Any]:
    return a_cloudevent(type="Deploy", data=None, data_base64=b64encode(data.encode()).decode())


def test_data_in_base64_loses_what_a_database_cannot_keep() -> None:
    told = in_base64('{"deploy": {"id": "\\ud800a\\u0000b"}}')
    options = {"mapping": "event = deploy.finished\nwhat = $.data.deploy.id"}
    event = the_event("cloudevents", told, headers=STRUCTURED, options=options)
    assert (event.data["what"], event.data["data"]) == ("ab", {"deploy": {"id": "ab"}})


def test_data_in_base64_may_not_be_nested_deeper_than_other_data() -> None:
    with pytest.raises(Unreadable, match="nested deeper than 50 levels"):
        read("cloudevents", in_base64('{"x": ' + "[" * 60 + "]" * 60 + "}"), headers=STRUCTURED)


@pytest.mark.django_db
@pytest.mark.parametrize("unstorable", ["\\ud800", "\\u0000"])
def test_half_a_pair_in_base64_is_no_error_of_ours(client: Client, as_admin: Client, unstorable: str) -> None:
    row = WebhookEndpoint(name="ce", kind="cloudevents", scheme="bearer", options={"mapping": "event = $.data.kind"})
    told = json.dumps(in_base64(f'{{"kind": "lunch{unstorable}"}}'))
    headers = {"Authorization": f"Bearer {endpoints.create(row, actor='ada').secret}"}
    answer = client.post(f"/hooks/{row.pk}/", told, STRUCTURED["content-type"], headers=headers)
    assert (answer.status_code, answer.json()["reason"].startswith("'lunch' is none of our events")) == (200, True)
    assert as_admin.post(f"/configuration/webhooks/{row.pk}/test/", {"body": told}).status_code == 200


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
