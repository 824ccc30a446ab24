"""How an event is read."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from workflows import events
from workflows.events import EventError, Incoming

LONG = f"sha256:{sha256(b'incident:' + b'x' * 300).hexdigest()}"
LONG_OF_OWN = f"sha256:{sha256(b'custom.' + b'd' * 90 + b':' + b'x' * 103).hexdigest()}"


def read_event(body: bytes | str, *, key: str | None = None) -> Incoming:
    """Return the one event of a body."""
    [event], several = events.read_events(body, key=key)
    assert not several
    return event


def test_reads_an_event_with_its_key() -> None:
    body = b'{"event": "incident_created", "id": "k-1", "data": {"incident": {"title": "caf\xc3\xa9"}}}'
    assert read_event(body) == Incoming("incident_created", {"incident": {"title": "café"}}, key="k-1")


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_event(b'\xef\xbb\xbf{"event": "pulse_created"}') == Incoming("pulse_created", {})
    assert events.read_json('\ufeff{"a": 1}') == {"a": 1}


def test_data_may_be_missing() -> None:
    assert read_event('{"event": "pulse_created"}') == Incoming("pulse_created", {})


def test_drops_what_a_database_cannot_store() -> None:
    read = read_event('{"event": "alert_created", "data": {"a\\u0000b": ["x\\u0000", "\\ud800y", {"n": 1.5}]}}')
    assert read.data == {"ab": ["x", "y", {"n": 1.5}]}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "must be a JSON object"),
        (b'"incident_created"', "must be a JSON object"),
        (b'{"event": "incident_created", "data": {"x": NaN}}', "NaN is not JSON"),
        (b'{"event": "incident_created", "data": {"x": 1e999}}', "too large"),
        (
            b'{"event": "incident_created", "data": {"x": ' + b"9" * 5000 + b"}}",
            "^A number in the data has thousands of digits: send it as a text.$",
        ),
        (b'{"event": "incident_created", "data": ' + b'{"a":' * 60 + b"1" + b"}" * 60 + b"}", "deeper than 50"),
        (b"[" * 100_000, "^The data is nested deeper than 50 levels.$"),
        (b"payload=%7B%22event%22%3A1%7D", "it is a form. Choose application/json as the content type at the sender."),
        (b'{"event": "no_such_event"}', "Unknown event 'no_such_event'"),
        (b'{"event": 7}', "Unknown event (no name)"),
        (b"{}", "Unknown event (no name)"),
        (b'{"event": "incident_created", "data": []}', "'data' must be an object"),
        (b'{"event": "incident_created", "data": null}', "'data' must be an object"),
        (b'{"event": "incident_created", "id": 5}', "'id' must be a text"),
        (b'{"event": "incident_created", "id": "k\\u0000"}', "'id' must not hold"),
        (b'{"event": "custom_fields.x.updated\\n"}', "Unknown event"),
        (b'{"event": "incident_created", "id": ""}', "'id' must be a text"),
        (b'{"event": "incident_created", "id": "' + b"x" * 201 + b'"}', "'id' must be a text"),
        (b'{"event": "incident_created", "payload": {}}', "Unknown key 'payload'"),
    ],
)
def test_refuses_what_is_no_event(body: bytes, complaint: str) -> None:
    with pytest.raises(EventError, match=complaint.replace("(", r"\(").replace(")", r"\)")):
        read_event(body)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("incident.created", "incident_created"),
        ("status_page.timeline.updated", "status_page_timeline_updated"),
        ("action-item.created", "action_item_created"),
        ("custom_fields.region.update", "custom_fields.region.updated"),
    ],
)
def test_a_name_of_the_catalogue_with_other_dots_is_a_slip(name: str, meant: str) -> None:
    with pytest.raises(EventError, match=f"^Unknown event '{name}': did you mean {meant}[?]$"):
        read_event(f'{{"event": "{name}"}}')


@pytest.mark.parametrize(
    "name", ["deploy.finished", "incident.closed", "custom_fields.region.updated", "title_updated"]
)
def test_a_name_of_ones_own_is_no_slip(name: str) -> None:
    assert read_event(f'{{"event": "{name}"}}').name == name


def test_reads_several_events() -> None:
    body = '{"events": [{"event": "pulse_created", "id": "a"}, {"event": "deploy.finished", "data": {"id": 3}}]}'
    several = [Incoming("pulse_created", {}, key="a"), Incoming("deploy.finished", {"id": 3})]
    assert events.read_events(body) == (several, True)


@pytest.mark.parametrize(
    ("body", "key", "complaint"),
    [
        ('{"events": []}', None, "'events' must be a list of 1 to 100 events."),
        ('{"events": {}}', None, "'events' must be a list of 1 to 100 events."),
        ('{"events": [' + ",".join(['{"event": "pulse_created"}'] * 101) + "]}", None, "1 to 100"),
        ('{"events": [{"event": "pulse_created"}, {"event": "lunch"}]}', None, "^Event 2: Unknown event 'lunch'"),
        ('{"events": [{"event": "pulse_created"}, 7]}', None, "^Event 2: The body must be a JSON object."),
        ('{"events": [{"event": "pulse_created"}], "id": "x"}', None, "Unknown key 'id' beside 'events'"),
        ('{"events": [{"event": "pulse_created"}]}', "k", "give each event of 'events' its own 'id'"),
        ('{"event": "pulse_created", "id": "a"}', "b", "The Idempotency-Key header and 'id' differ"),
        ('{"event": "pulse_created"}', "x" * 201, "^The header Idempotency-Key must be a text of 1 to 200"),
        ('{"event": "pulse_created"}', "", "^The header Idempotency-Key must be a text of 1 to 200"),
        ('{"event": "pulse_created", "id": "x"}', "", "^The header Idempotency-Key must be a text of 1 to 200"),
    ],
)
def test_refuses_several_events_for_one_that_is_wrong(body: str, key: str | None, complaint: str) -> None:
    with pytest.raises(EventError, match=complaint):
        events.read_events(body, key=key)


def test_the_key_may_come_as_a_header() -> None:
    assert read_event('{"event": "pulse_created"}', key="k") == Incoming("pulse_created", {}, key="k")
    assert read_event('{"event": "pulse_created", "id": "k"}', key="k").key == "k"


@pytest.mark.parametrize(
    ("name", "data", "resource"),
    [
        ("incident_created", {"incident": {"id": 7}}, "incident:7"),
        ("incident_created", {"incident": {"id": "a-7"}, "alert": {"id": 1}}, "incident:a-7"),
        ("status_updated", {"post_mortem": {"id": 7}}, "post_mortem:7"),
        ("status_updated", {}, ""),
        ("incident_created", {"incident": {"id": ""}}, ""),
        ("incident_created", {"incident": {"id": True}}, ""),
        ("incident_created", {"incident": {"id": [1]}}, ""),
        ("incident_created", {"incident": "7"}, ""),
        ("incident_created", {"incident": {"id": "x" * 191}}, "incident:" + "x" * 191),
        ("incident_created", {"incident": {"id": "x" * 300}}, f"incident:{LONG}"),
        ("deploy.finished", {"id": "d-19"}, "custom.deploy:d-19"),
        ("deploy.of-web.finished", {"id": 19}, "custom.deploy:19"),
        ("incident.noticed", {"id": 7}, "custom.incident:7"),
        (f"{'d' * 90}.finished", {"id": "x" * 102}, f"custom.{'d' * 90}:{'x' * 102}"),
        (f"{'d' * 90}.finished", {"id": "x" * 103}, f"custom.{'d' * 90}:{LONG_OF_OWN}"),
        ("deploy.finished", {"deploy": {"id": 1}}, ""),
    ],
)
def test_tells_what_an_event_is_about(name: str, data: dict[str, Any], resource: str) -> None:
    assert events.resource(Incoming(name, data)) == resource


def test_long_ids_that_differ_at_their_end_alone_are_two_resources() -> None:
    about = [Incoming("alert_created", {"alert": {"id": "ü" * 300 + end}}) for end in "abb"]
    one, other, again = map(events.resource, about)
    assert (one != other, other == again, len(one) <= 200) == (True, True, True)


@pytest.mark.parametrize(
    ("name", "trigger_type", "known"),
    [
        ("incident_created", "incident", True),
        ("services_added", "incident", True),
        ("custom_fields.affected-region.updated", "incident", True),
        ("custom_fields.affected-region.updated", "alert", False),
        ("custom_fields.Affected Region.updated", "incident", False),
        ("deploy.finished", "custom", True),
        ("deploy.finished", "incident", False),
        ("org.example.deploy-finished", "custom", True),
        ("deploy_finished", "custom", False),
        ("Deploy.finished", "custom", False),
        ("deploy.", "custom", False),
        ("incident_created", "custom", False),
        ("alert_created", "incident", False),
        ("alert_created", "alert", True),
        ("incident_created", "no_such_type", False),
    ],
)
def test_knows_the_events_of_each_type(name: str, trigger_type: str, known: bool) -> None:
    assert events.is_trigger(name, trigger_type=trigger_type) is known


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("incident_created", {"incident": {}}, "incident"),
        ("status_updated", {"incident": {}}, "incident"),
        ("status_updated", {"action_item": {}, "incident": {}}, None),
        ("status_updated", {"post_mortem": {}}, "post_mortem"),
        ("action_item_created", {"action_item": {}, "incident": {}}, "action_item"),
        ("incident_created", {}, None),
    ],
)
def test_tells_whose_event_it_is(name: str, data: dict[str, object], kind: str | None) -> None:
    assert events.object_type(Incoming(name, data)) == kind


@pytest.mark.parametrize(
    ("triggers", "name", "heard"),
    [
        (["incident_created"], "incident_created", True),
        (["incident_created"], "incident_updated", False),
        (["incident_updated"], "title_updated", True),
        (["incident_updated"], "services_removed", True),
        (["incident_updated"], "custom_fields.region.updated", True),
        (["incident_updated"], "incident_created", False),
        (["incident_updated"], "alert_status_updated", False),
        (["title_updated"], "incident_updated", False),
    ],
)
def test_a_catch_all_hears_every_change(triggers: list[str], name: str, heard: bool) -> None:
    assert events.hears(triggers, name, kind="incident") is heard
