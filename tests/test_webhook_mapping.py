"""The mapping that people write by lines, and what it makes of a payload."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.webhooks import Foreign, Reading, Unreadable, parse_mapping, parse_severities
from workflows.webhooks.mapping import Rules, mapped
from workflows.webhooks.parts import digest

LINES = """
# What our own monitor posts
event = $.kind
event.fired = alert_created
event.check.over = alert_status_updated
id = $.uuid

alert.id = $.check.id
alert.title = $.message
alert.severity = $.level
alert.source = our monitor = the old one
"""


def test_reads_lines() -> None:
    assert parse_mapping(LINES) == Rules(
        event="$.kind",
        id="$.uuid",
        names={"fired": "alert_created", "check.over": "alert_status_updated"},
        data={
            "alert.id": "$.check.id",
            "alert.title": "$.message",
            "alert.severity": "$.level",
            "alert.source": "our monitor = the old one",
        },
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "There is no line for the event. Write for example: event = alert_created"),
        ("# event = alert_created", "There is no line for the event. Write for example: event = alert_created"),
        ("event = alert_created\n\nalert.title", "Line 3: write a name, '=' and a value, for example: alert.title ="),
        ("event =", "Line 1: write a name, '=' and a value"),
        ("= alert_created", "Line 1: write a name, '=' and a value"),
        ("event = alert_made", "Line 1: 'alert_made' is not an event. Write for example alert_created"),
        ("event = Deploy.finished", "Line 1: 'Deploy.finished' is not an event."),
        ("event = $kind", "Line 1: '$kind' is not a path. Write $ and names after dots, such as $.alert.title"),
        ("event = $.kind\nevent.up = nothing", "Line 2: 'nothing' is not an event."),
        ("event = alert_created\nevent.up = alert_created", "Lines 'event.… =' need the path of the sender's own word"),
        ("event = alert_created\nid = 5", "Line 2: 'id' needs the path of what differs for each event"),
        ("event = alert_created\nid = $", "Line 2: 'id' needs the path of what differs for each event"),
        ("event = alert_created\nalert.a b = $.x", "Line 2: 'alert.a b' cannot be a name."),
        ("event = alert_created\nalert..a = $.x", "Line 2: 'alert..a' cannot be a name."),
        ("event = alert_created\nalert.a = $..x", "Line 2: '$..x' is not a path."),
        ("event = alert_created\nalert.a = $.x y", "Line 2: '$.x y' is not a path."),
        ("event = alert_created\nalert.a = $.x[*].y", "Line 2: '$.x[*].y' is not a path."),
        ("event = alert_created\nalert.a = $.x[y]", "Line 2: '$.x[y]' is not a path."),
        ("event = $[kind]", "Line 1: '$[kind]' is not a path."),
        ("event = alert_created\nevent = alert_created", "Line 2: 'event' stands in line 1 already. Keep one of the"),
        ("event = alert_created\nalert.a = $.x\nalert.a.b = $.y", "Line 3: 'alert.a.b' and 'alert.a' cannot both be"),
        ("event = alert_created\nalert.a.b = $.x\nalert.a = $.y", "Line 3: 'alert.a' and 'alert.a.b' cannot both be"),
        (
            "event = alert_created\ntitle = $.x",
            "'title' belongs to no object. Begin with one of incident, post",
        ),
    ],
)
def test_says_what_is_wrong_with_a_line(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}"):
        parse_mapping(text)


PAYLOAD = {
    "kind": "fired",
    "uuid": "u-1",
    "check": {"id": "c-7", "hosts": [{"name": "db-1"}, {"name": "db-2"}]},
    "message": "Disk full",
    "level": 2,
}
BRACKETS = {
    "x.kind": "alert_created",
    "alerts": [{"id": "a-1", "title": "one"}, {"title": "two"}],
    "labels": {"k8s.io/pod": "p-1"},
}
ALERT = {
    "id": "c-7",
    "title": "Disk full",
    "severity": 2,
    "source": "our monitor = the old one",
    "data": PAYLOAD,
}


@pytest.mark.parametrize(
    ("lines", "payload", "event"),
    [
        (LINES, PAYLOAD, Foreign("alert_created", "alert_created u-1", {"alert": ALERT})),
        (
            LINES,
            PAYLOAD | {"kind": "check.over"},
            Foreign(
                "alert_status_updated",
                "alert_status_updated u-1",
                {"alert": ALERT | {"data": PAYLOAD | {"kind": "check.over"}}},
            ),
        ),
        (
            "event = incident_created\nid = $.level\nincident.hosts = $.check.hosts.name\nincident.missing = $.no.such",
            PAYLOAD,
            Foreign(
                "incident_created", "incident_created 2", {"incident": {"hosts": ["db-1", "db-2"], "data": PAYLOAD}}
            ),
        ),
        (
            "event = incident_created\nincident.labels.team = shop\nincident.all = $",
            {"a": 1},
            Foreign(
                "incident_created",
                digest({"a": 1}),
                {"incident": {"labels": {"team": "shop"}, "all": {"a": 1}, "data": {"a": 1}}},
            ),
        ),
        (
            "event = deploy.finished\nid = $.uuid\ncheck.owner = shop\ntitle = $.message",
            PAYLOAD,
            Foreign(
                "deploy.finished",
                "deploy.finished u-1",
                PAYLOAD | {"check": PAYLOAD["check"] | {"owner": "shop"}, "title": "Disk full"},  # type: ignore[operator]
            ),
        ),
        (
            'event = $["x.kind"]\nid = $.alerts[0].id\nalert.title = $.alerts[-1].title\nalert.all = $.alerts.title\n'
            "alert.pod = $.labels['k8s.io/pod']\nalert.none = $.alerts[9].title",
            BRACKETS,
            Foreign(
                "alert_created",
                "alert_created a-1",
                {"alert": {"title": "two", "all": ["one", "two"], "pod": "p-1", "data": BRACKETS}},
            ),
        ),
        ("event = deploy.finished", {"a": 1}, Foreign("deploy.finished", digest({"a": 1}), {"a": 1})),
        (
            "event = incident_created",
            {"incident": {"title": "x"}, "more": 1},
            Foreign(
                "incident_created",
                digest({"incident": {"title": "x"}, "more": 1}),
                {"incident": {"title": "x"}, "more": 1},
            ),
        ),
        (
            "event = alert_created",
            {"message": "x"},
            Foreign("alert_created", digest({"message": "x"}), {"message": "x", "alert": {"data": {"message": "x"}}}),
        ),
        (
            "event = status_updated\npost_mortem.status = $.s",
            {"s": "done"},
            Foreign(
                "status_updated", digest({"s": "done"}), {"post_mortem": {"status": "done", "data": {"s": "done"}}}
            ),
        ),
        (
            "event = alert_created\nid = $.id",
            {"id": "x" * 300},
            Foreign(
                "alert_created",
                digest("alert_created " + "x" * 300),
                {"id": "x" * 300, "alert": {"data": {"id": "x" * 300}}},
            ),
        ),
    ],
)
def test_makes_an_event(lines: str, payload: dict[str, Any], event: Foreign) -> None:
    before = repr(payload)
    assert mapped(payload, parse_mapping(lines)) == Reading((event,))
    assert repr(payload) == before


def test_makes_nothing_of_a_word_that_no_line_knows() -> None:
    ignored = "'ping' is none of our events, and no line of the mapping makes one of it."
    assert mapped(PAYLOAD | {"kind": "ping"}, parse_mapping(LINES)) == Reading(ignored=ignored)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"kind": None}, "The event cannot be told: there is no text at $.kind."),
        ({"kind": 5}, "The event cannot be told: there is no text at $.kind."),
        ({"uuid": None}, "There is no text or number at $.uuid, which tells repeats apart."),
        ({"uuid": ""}, "There is no text or number at $.uuid, which tells repeats apart."),
        ({"uuid": {}}, "There is no text or number at $.uuid, which tells repeats apart."),
        ({"uuid": True}, "There is no text or number at $.uuid, which tells repeats apart."),
    ],
)
def test_a_payload_without_what_the_mapping_needs_cannot_be_read(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Unreadable) as raised:
        mapped(PAYLOAD | change, parse_mapping(LINES))
    assert (str(raised.value), raised.value.status) == (complaint, 400)


@given(st.text(alphabet="even.t$ =_id\nalrcu#x[]\"'0"))
def test_any_lines_are_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert parse_mapping(text).event


def test_reads_a_table_of_severities_in_its_order() -> None:
    assert list(parse_severities("Critical = sev0\n# more\nwarning= SEV 2").items()) == [
        ("critical", "sev0"),
        ("warning", "SEV 2"),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("critical", "Line 1: write a name, '=' and a value, for example: critical = sev0"),
        ("a = 1\na = 2", "Line 2: 'a' stands in line 1 already. Keep one of the two."),
    ],
)
def test_says_what_is_wrong_with_the_table(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_severities(text)
