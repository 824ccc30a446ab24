"""Counts that only grow, whatever becomes of the rows. PostgreSQL's order of commits: tests/test_million.py."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings

from integrations import clock
from tests.test_runs import queued, with_tasks
from workflows import counting, runs, tasks
from workflows.counting import Key
from workflows.counting_models import Count, CountMark
from workflows.models import Attempt, Delivery, Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def mail() -> Delivery:
    queued(with_tasks({}))
    runs.execute_due()
    return Delivery.objects.get()


@pytest.fixture
def begun(mail: Delivery) -> Delivery:
    """A mail, and a mark that was made before its attempts."""
    counting.count_new()
    return mail


def attempt(mail: Delivery, **values: Any) -> Attempt:
    usual = {"provider": "smtp", "stage": "data", "outcome": "accepted", "code": 250, "milliseconds": 40}
    return Attempt.objects.create(delivery=mail, **({"at": clock.now(), "enhanced_code": "2.0.0"} | usual | values))


def fold() -> None:
    """What is noted the first time is counted the second time."""
    counting.count_new()
    counting.count_new()


def attempts(found: dict[Key, float]) -> dict[tuple[str, ...], float]:
    return {key[1:4]: value for key, value in found.items() if key.series == "attempts"}


def buckets(found: dict[Key, float], series: str) -> dict[str, float]:
    return {key.bound: value for key, value in found.items() if key.series == series}


def test_what_a_new_installation_holds_is_counted(mail: Delivery) -> None:
    """Beat asks for the first count only ten seconds after its start."""
    attempt(mail)
    assert attempts(counting.counts()) == {("smtp", "accepted", "2.0.0"): 1}
    Run.objects.update(status="completed", finished_at=clock.now() - timedelta(minutes=1))
    fold()
    assert attempts(counting.counts()) == {("smtp", "accepted", "2.0.0"): 1}
    assert counting.counts()[Key("runs", outcome="completed")] == 1


def test_what_an_old_installation_holds_is_left_out(mail: Delivery) -> None:
    attempt(mail, pk=counting.STEP + 1)
    assert counting.counts() == {}
    fold()
    assert counting.counts() == {}


def test_attempts_are_counted_by_provider_outcome_and_code(begun: Delivery) -> None:
    attempt(begun)
    attempt(begun)
    attempt(begun, outcome="deferred", code=451, enhanced_code="4.7.1")
    attempt(begun, outcome="failed", code=550, enhanced_code="")
    attempt(begun, outcome="unknown", code=None, enhanced_code="", provider="")
    expected = {
        ("smtp", "accepted", "2.0.0"): 2,
        ("smtp", "deferred", "4.7.1"): 1,
        ("smtp", "failed", "550"): 1,
        ("", "unknown", ""): 1,
    }
    assert attempts(counting.counts()) == expected, "at once, before anything was counted"
    assert Count.objects.count() == 0
    fold()
    assert attempts(counting.counts()) == expected
    assert Count.objects.filter(series="attempts").count() == 4
    fold()
    assert attempts(counting.counts()) == expected, "once"


def test_the_time_at_the_relay_lies_in_buckets(begun: Delivery) -> None:
    for milliseconds in (50, 51, 3000, 170_000):
        attempt(begun, milliseconds=milliseconds)
    now = counting.counts()
    fold()
    assert counting.counts() == now
    assert buckets(now, "relay") == {"0.05": 1, "0.1": 1, "5": 1, "+Inf": 1}
    assert now[Key("relay_sum", "smtp")] == pytest.approx(173.101)


def test_the_time_to_the_acceptance_counts_from_the_trigger(begun: Delivery) -> None:
    attempt(begun, at=begun.triggered_at + timedelta(seconds=2), outcome="deferred", code=451)
    attempt(begun, at=begun.triggered_at + timedelta(seconds=45))
    attempt(begun, at=begun.triggered_at + timedelta(days=2))
    now = counting.counts()
    fold()
    assert counting.counts() == now
    assert buckets(now, "acceptance") == {"60": 1, "+Inf": 1}
    assert now[Key("acceptance_sum", "smtp")] == pytest.approx(45 + 2 * 86400)


def test_the_counts_outlive_the_rows(begun: Delivery) -> None:
    attempt(begun)
    fold()
    before = counting.counts()
    Attempt.objects.all().delete()
    fold()
    assert counting.counts() == before
    attempt(begun)
    assert attempts(counting.counts()) == {("smtp", "accepted", "2.0.0"): 2}
    fold()
    assert attempts(counting.counts()) == {("smtp", "accepted", "2.0.0"): 2}


def end(status: str) -> None:
    Run.objects.update(status=status, finished_at=clock.now())


def test_runs_are_counted_when_they_have_ended(begun: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    end("failed")
    fold()
    assert counting.counts() == {}, "a moment later it may still be written"
    monkeypatch.setattr(counting, "MARGIN", timedelta())
    fold()
    assert counting.counts() == {Key("runs", outcome="failed"): 1}
    Run.objects.update(finished_at=None)
    fold()
    assert counting.counts() == {Key("runs", outcome="failed"): 1}, "somebody sends again: it counts when it ends anew"
    end("completed")
    fold()
    assert counting.counts() == {Key("runs", outcome="failed"): 1, Key("runs", outcome="completed"): 1}


def test_ever_new_codes_end_in_one_series(begun: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "CODES", 3)
    for number in range(6):
        attempt(begun, outcome="failed", code=550, enhanced_code=f"5.7.{number}")
    attempt(begun, provider="sendgrid", code=202, enhanced_code="")
    for _ in range(2):
        found = attempts(counting.counts())
        assert sum(found.values()) == 7
        assert len(found) <= 3 + 1 + 1
        assert found["smtp", "failed", "other"] >= 3
        assert found["sendgrid", "accepted", "202"] == 1
        fold()


def test_a_backlog_is_counted_in_steps(begun: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "STEP", 2)
    for _ in range(5):
        attempt(begun)
    assert attempts(counting.counts()) == {("smtp", "accepted", "2.0.0"): 2}
    seen = []
    for _ in range(5):
        more = counting.count_new()
        seen.append((more, attempts(counting.counts())["smtp", "accepted", "2.0.0"]))
    assert seen == [(True, 2), (True, 4), (True, 5), (False, 5), (False, 5)]


def test_a_clock_that_was_ahead_for_a_moment_does_not_stop_the_counting(
    begun: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MARGIN", timedelta())
    year = clock.now() + timedelta(days=365)
    CountMark.objects.update(runs=year, next_runs=year)
    counting.count_new()
    end("failed")
    fold()
    assert counting.counts() == {Key("runs", outcome="failed"): 1}


def test_what_ended_under_a_clock_that_was_ahead_is_counted_once(
    begun: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MARGIN", timedelta())
    ahead = clock.now() + timedelta(hours=1)
    end("failed")
    Run.objects.update(finished_at=ahead - timedelta(minutes=1))
    CountMark.objects.update(runs=ahead, next_runs=ahead)  # as far as was counted
    counting.count_new()
    with time_machine.travel(ahead + timedelta(minutes=1), tick=False):
        fold()
    assert counting.counts() == {}, "it was counted before"


def test_numbers_that_are_left_out_cost_no_step(begun: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "STEP", 2)
    attempt(begun, pk=10_000_000)
    assert attempts(counting.counts()) == {("smtp", "accepted", "2.0.0"): 1}
    counting.count_new()
    counting.count_new()
    assert attempts(counting._counted()) == {("smtp", "accepted", "2.0.0"): 1}


def test_the_task_counts_all_of_it(begun: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "STEP", 2)
    for _ in range(5):
        attempt(begun)
    tasks.count_new()
    assert sum(attempts(counting._counted()).values()) == 5
    assert settings.CELERY_BEAT_SCHEDULE["count new"]["task"] == tasks.count_new.name


def test_a_count_that_goes_on_meanwhile_is_not_added_twice(begun: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(begun)
    counting.count_new()
    real, waiting = counting._counted, [counting.count_new]

    def counted() -> dict[Key, float]:
        found = real()
        if waiting:
            waiting.pop()()  # between our reading of what was counted and of what is new
        return found

    monkeypatch.setattr(counting, "_counted", counted)
    assert attempts(counting.counts()) == {("smtp", "accepted", "2.0.0"): 1}


def test_two_that_count_at_once_count_once(begun: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(begun)
    counting.count_new()
    real, waiting = counting._of_attempts, [counting.count_new]

    def of_attempts(new: list[counting.Tried]) -> dict[Key, float]:
        found = real(new)
        if waiting:
            waiting.pop()()  # the other one is quicker
        return found

    monkeypatch.setattr(counting, "_of_attempts", of_attempts)
    assert counting.count_new() is False
    assert attempts(counting._counted()) == {("smtp", "accepted", "2.0.0"): 1}


def test_the_mark_is_one_row(begun: Delivery) -> None:
    fold()
    assert CountMark.objects.count() == 1
