"""Alerts that fire again or are told out of order: what their endpoint makes of one POST after another."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from integrations import clock
from workflows import endpoints, intake, starters
from workflows.models import Event, Run, Workflow
from workflows.webhook_models import WebhookEndpoint

from .foreign import EACH, a_group, a_payload, an_alert

pytestmark = pytest.mark.django_db

FIRING, CREATED, UPDATED = "firing", "alert_created", "alert_status_updated"
START, FIRST_END, SECOND_END = (f"2026-03-02T04:{minute}:00Z" for minute in ("00", "10", "50"))


@pytest.fixture
def endpoint(db: None) -> WebhookEndpoint:
    row = WebhookEndpoint(name="a sender", kind="alertmanager", scheme="bearer", secret="theirs")
    endpoints.create(row, actor="ada")
    return row


def become(endpoint: WebhookEndpoint, *payloads: Any) -> list[str]:
    """Return the names of the events that these POSTs make, one after another; '' where one makes none."""
    return [_becomes(endpoint, payload) for payload in payloads]


def _becomes(endpoint: WebhookEndpoint, payload: Any) -> str:
    endpoint.save()
    posted = intake.Posted({"authorization": "Bearer theirs"}, json.dumps(payload).encode())
    answer = intake.receive(str(endpoint.pk), posted)
    return " ".join(one.name for one in answer.made if one.is_new)


def told(*ends: str) -> Iterable[dict[str, Any]]:
    """Yield what Alertmanager posts of one alert: it fires, or is over at a time; its start stays the same."""
    for end in ends:
        status, over = (FIRING, "0001-01-01T00:00:00Z") if end == FIRING else ("resolved", end)
        yield a_group(an_alert(status, start=START) | {"endsAt": over})


@pytest.mark.parametrize("options", [{}, EACH])
class TestWhatFiresAgainWithTheStartOfBefore:
    def test_is_created_again_and_ends_again(self, endpoint: WebhookEndpoint, options: dict[str, str]) -> None:
        endpoint.options = options
        posts = told(FIRING, FIRST_END, FIRING, SECOND_END, FIRING)
        assert become(endpoint, *posts) == [CREATED, UPDATED, CREATED, UPDATED, CREATED]
        assert len(set(Event.objects.values_list("key", flat=True))) == 5

    def test_what_is_sent_once_more_makes_nothing(self, endpoint: WebhookEndpoint, options: dict[str, str]) -> None:
        endpoint.options = options
        posts = told(FIRING, FIRING, FIRST_END, FIRST_END, FIRING, FIRING, FIRST_END, SECOND_END, SECOND_END)
        assert become(endpoint, *posts) == [CREATED, "", UPDATED, "", CREATED, "", "", UPDATED, ""]

    @pytest.mark.parametrize(("now", "event"), [("04:10:59", ""), ("04:11:01", CREATED)])
    def test_within_a_minute_of_its_end_it_is_a_late_repeat(
        self, endpoint: WebhookEndpoint, options: dict[str, str], monkeypatch: Any, now: str, event: str
    ) -> None:
        endpoint.options = options
        monkeypatch.setattr(clock, "now", lambda: datetime.fromisoformat(f"2026-03-02T{now}").replace(tzinfo=UTC))
        assert become(endpoint, *told(FIRING, FIRST_END, FIRING)) == [CREATED, UPDATED, event]

    @pytest.mark.parametrize("end", ["", "0001-01-01T00:00:00Z", "soon"])
    def test_without_an_end_nobody_can_tell_and_it_is_a_repeat(
        self, endpoint: WebhookEndpoint, options: dict[str, str], end: str
    ) -> None:
        endpoint.options = options
        assert become(endpoint, *told(FIRING, end, FIRING)) == [CREATED, UPDATED, ""]


def ids() -> list[str]:
    return [data["alert"]["id"] for data in Event.objects.order_by("pk").values_list("data", flat=True)]


class TestTheIdOfAnOutage:
    def test_stays_until_it_is_over_and_the_next_one_has_another(self, endpoint: WebhookEndpoint) -> None:
        one, other = an_alert(FIRING, start=START), an_alert(FIRING, start=FIRST_END) | {"fingerprint": "b"}
        over = {"status": "resolved", "endsAt": SECOND_END}
        later = an_alert(FIRING, start=SECOND_END)
        posts = [(one,), (one, other), (one | over, other), (other,), (other | over,), (other | over,)]
        posts += [(later,), (later | {"status": "resolved", "endsAt": "2026-03-02T05:00:00Z"},)]
        made = [CREATED, UPDATED, UPDATED, "", UPDATED, "", CREATED, UPDATED]
        assert become(endpoint, *(a_group(*alerts) for alerts in posts)) == made
        group = endpoint.subjects.get().subject
        assert ids() == [f"{group}-{START}"] * 4 + [f"{group}-{SECOND_END}"] * 2

    @pytest.mark.parametrize("options", [{}, EACH])
    def test_differs_though_it_fires_with_the_start_of_before(
        self, endpoint: WebhookEndpoint, options: dict[str, str]
    ) -> None:
        endpoint.options = options
        become(endpoint, *told(FIRING, FIRST_END, FIRING, SECOND_END, FIRING))
        first, first_end, second, second_end, third = ids()
        assert (first_end, second_end) == (first, second)
        assert len({first, second, third}) == 3
        assert {second.startswith(f"{first}-"), third.startswith(f"{first}-")} == {True}

    def test_makes_one_run_for_each_outage(self, endpoint: WebhookEndpoint) -> None:
        (starter,) = (one for one in starters.all_of_them() if one.key == "alert-on-call")
        starters.make(starter, actor="ada")
        Workflow.objects.update(enabled=True, conditions=[])
        become(endpoint, *told(FIRING, FIRST_END), a_group(an_alert(FIRING, start=SECOND_END)))
        assert list(Run.objects.values_list("workflow__slug", "status")) == [("alert-on-call", "queued")] * 2

    def test_of_an_older_version_is_kept_until_its_end(self, endpoint: WebhookEndpoint) -> None:
        become(endpoint, *told(FIRING))
        row = endpoint.subjects.get()
        row.data["alert"]["id"] = row.subject
        row.save()
        become(endpoint, *told(SECOND_END, FIRING))
        assert ids()[1:] == [row.subject, f"{row.subject}-{START}"]


def acted(*actions: str) -> Iterable[dict[str, Any]]:
    """Yield what Opsgenie posts: an action, and the second at which the alert was updated, `Close 5`."""
    payload = a_payload("opsgenie")
    for action, _, second in (one.partition(" ") for one in actions):
        updated = payload["alert"]["updatedAt"] + int(second) * 1_000_000_000
        yield payload | {"action": action, "alert": payload["alert"] | {"updatedAt": updated}}


class TestWhatComesInAnotherOrderThanItHappened:
    @pytest.fixture
    def endpoint(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        endpoint.kind = "opsgenie"
        return endpoint

    @pytest.mark.parametrize(
        ("actions", "made"),
        [
            (["Create 0", "Acknowledge 1", "Close 2"], [CREATED, UPDATED, UPDATED]),
            (["Close 2", "Create 0", "Acknowledge 1"], [UPDATED, "", ""]),
            (["Create 0", "Close 2", "Acknowledge 1"], [CREATED, UPDATED, ""]),
            (["Acknowledge 1", "Create 0", "Create 0", "Close 2"], [UPDATED, CREATED, "", UPDATED]),
            (["UnAcknowledge 2", "Create 0"], [UPDATED, CREATED]),
            (["Create 0", "UnAcknowledge 2", "Acknowledge 1"], [CREATED, "", ""]),
            (["Create 0", "Acknowledge 1", "Create 2", "Acknowledge 3"], [CREATED, UPDATED, "", ""]),
        ],
    )
    def test_older_news_overrides_nothing(self, endpoint: WebhookEndpoint, actions: list[str], made: list[str]) -> None:
        assert become(endpoint, *acted(*actions)) == made

    def test_a_late_creation_leaves_the_newer_state(self, endpoint: WebhookEndpoint) -> None:
        become(endpoint, *acted("Acknowledge 1", "Create 0"))
        row = endpoint.subjects.get()
        assert (row.state, row.data["alert"]["status"]) == ("acknowledged", "acknowledged")
        assert become(endpoint, *acted("Acknowledge 2", "UnAcknowledge 3")) == ["", UPDATED]


class TestAnAlertOfIncidentIo:
    @pytest.fixture
    def endpoint(self, endpoint: WebhookEndpoint) -> WebhookEndpoint:
        endpoint.kind = "incident_io"
        return endpoint

    @pytest.mark.parametrize(
        ("posts", "made"),
        [
            (["created", "resolved"], [CREATED, UPDATED]),
            (["created", "created", "resolved", "resolved"], [CREATED, "", UPDATED, ""]),
            (["resolved", "created"], [UPDATED, ""]),
        ],
    )
    def test_is_created_and_ends(self, endpoint: WebhookEndpoint, posts: list[str], made: list[str]) -> None:
        times = {"created": {}, "resolved": {"resolved_at": FIRST_END}}
        payloads = [_of_incident_io(name, {"created_at": START} | times[name]) for name in posts]
        assert become(endpoint, *payloads) == made
        assert endpoint.subjects.get().data["alert"]["status"] == "resolved"


def _of_incident_io(name: str, about: dict[str, str]) -> dict[str, Any]:
    kind = f"public_alert.alert_{name}_v1"
    status = "firing" if name == "created" else name
    return {"event_type": kind, kind: {"id": "a1", "title": "CPU", "status": status} | about}


def test_a_mapping_tells_begin_and_end_apart_that_have_one_id(endpoint: WebhookEndpoint) -> None:
    lines = ["event = $.state", "event.down = alert_created", "event.up = alert_status_updated", "id = $.check"]
    endpoint.kind, endpoint.options = "json", {"mapping": "\n".join(lines)}
    posts = [{"check": "shop-7", "state": state, "tries": tries} for state in ("down", "up") for tries in (1, 2)]
    assert become(endpoint, *posts) == [CREATED, "", UPDATED, ""]
