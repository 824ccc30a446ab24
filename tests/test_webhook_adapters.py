"""What all adapters have in common: the mapping of any JSON, and what is hostile."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import examples
from workflows.events import make_event
from workflows.webhooks import SENDERS, Foreign, Reading, Unreadable
from workflows.webhooks.parts import LONGEST, digest
from workflows.webhooks.signatures import SCHEMES

from .foreign import BINARY, EACH, PAYLOADS, STRUCTURED, a_group, a_rootly, an_alert, read, the_event

ANY = {"mapping": "event = alert_created\nalert.severity = $.level", "severities": "2 = low\nhigh = sev1"}


@pytest.mark.parametrize(
    ("headers", "key"),
    [({}, digest({"level": "High"})), ({"webhook-id": "m1"}, "m1"), ({"svix-id": "m2"}, "m2")],
)
def test_any_json_goes_through_the_mapping(headers: dict[str, str], key: str) -> None:
    event = the_event("json", {"level": "High"}, options=ANY, headers=headers)
    assert event == Foreign("alert_created", key, {"alert": {"severity": "sev1", "data": {"level": "High"}}})


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


MAPPING = "event = $.type\nid = $.id\nwho = $.source\nwhat.id = $.data.incident.id"
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


@settings(max_examples=examples(400), deadline=None)
@given(st.sampled_from(sorted(SENDERS)), JSON, st.sampled_from(OPTIONS), st.sampled_from([{}, BINARY, STRUCTURED]))
def test_any_json_is_read_or_refused(kind: str, payload: Any, options: dict[str, Any], headers: dict[str, str]) -> None:
    is_sound(kind, payload, options=options, headers=headers)


@settings(max_examples=examples(1500), deadline=None)
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
