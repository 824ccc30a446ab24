"""Beat goes on when the machine's clock is set back, and ends when it is told to."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery import beat as celery_beat
from celery.signals import beat_init

from integrations import clock
from rootmail import beat

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SCHEDULE = {"sweep": {"task": "sweep", "schedule": 5.0}, "hourly": {"task": "hourly", "schedule": 3600.0}}


class Beat:
    """A beat whose clocks stand still but where it sleeps: `wrong` is what the wall clock is off by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed, self.wrong, self.sent = 0.0, timedelta(), list[str]()
        monkeypatch.setattr(clock, "steady", lambda: self.passed)
        app = Celery(set_as_current=False)
        app.conf.update(beat_schedule=SCHEDULE, result_expires=None)
        monkeypatch.setattr(app, "now", lambda: NOON + self.wrong + timedelta(seconds=self.passed))
        self.scheduler = beat.Scheduler(app)
        vars(self.scheduler)["producer"] = None  # which would look for a broker
        monkeypatch.setattr(self.scheduler, "apply_async", self.send)

    def send(self, entry: Any, **_: Any) -> Any:
        self.sent.append(entry.name)
        return SimpleNamespace(id="1")

    def run(self, seconds: float) -> dict[str, int]:
        """Return how often each was sent in that time."""
        self.sent, end = [], self.passed + seconds
        while self.passed < end:
            self.passed += max(self.scheduler.tick(), 0.001)
        return {name: self.sent.count(name) for name in SCHEDULE}


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Beat:
    made = Beat(monkeypatch)
    assert made.run(59) == {"sweep": 11, "hourly": 0}
    return made


@pytest.mark.parametrize("by", [timedelta(seconds=30), timedelta(hours=2), timedelta(days=365)])
def test_it_goes_on_at_once_when_the_clock_is_set_back(
    running: Beat, by: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    running.wrong -= by
    assert 11 <= running.run(60)["sweep"] <= 13
    assert caplog.messages == [f"the clock was set back by {by.total_seconds():.0f} seconds"]


def test_a_clock_that_is_set_back_again_and_again_keeps_nothing_from_its_turn(running: Beat) -> None:
    hourly = 0
    for _ in range(130):
        running.wrong -= timedelta(minutes=10)
        hourly += running.run(60)["hourly"]
    assert hourly == 2


def test_a_clock_that_is_set_ahead_and_right_again_ends_nothing(running: Beat) -> None:
    running.wrong += timedelta(days=1)
    assert running.run(60)["hourly"] == 1
    running.wrong -= timedelta(days=1)
    assert 11 <= running.run(60)["sweep"] <= 13


def test_a_clock_that_is_kept_right_moves_nothing(running: Beat, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        running.wrong -= timedelta(seconds=1)
        running.run(5)
    assert caplog.messages == []


def test_a_broker_that_is_away_costs_a_line_and_not_a_hundred(
    running: Beat, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(entry: Any, **_: Any) -> None:
        raise celery_beat.SchedulingError(f"Couldn't apply scheduled task {entry.name}: connection refused")

    monkeypatch.setattr(running.scheduler, "apply_async", refuse)
    running.run(4)
    [line] = caplog.records
    said = "The broker does not answer, or takes nothing: Couldn't apply scheduled task sweep: connection refused"
    assert (line.getMessage(), bool(line.exc_info)) == (said, False)
    monkeypatch.setattr(running.scheduler, "apply_async", running.send)
    assert running.run(10)["sweep"] == 2


def test_the_settings_name_it(settings: Any) -> None:
    assert f"{beat.__name__}:{beat.Scheduler.__name__}" == settings.CELERY_BEAT_SCHEDULER


def test_a_worker_whose_clock_is_somewhat_ahead_throws_nothing_away(settings: Any) -> None:
    expire = {entry["options"]["expires"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert min(expire) >= timedelta(hours=1).total_seconds()


@pytest.fixture
def handled() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to_although_what_sends_swallows_it(
    running: Beat, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """As redis does, whose parser raises another error while SystemExit passes it."""

    def send(entry: Any, **_: Any) -> Any:
        with suppress(SystemExit):
            signal.raise_signal(number)
        return SimpleNamespace(id="1")

    service = celery_beat.Service(running.scheduler.app)
    service.scheduler = running.scheduler
    beat_init.send(sender=service)
    monkeypatch.setattr(running.scheduler, "apply_async", send)
    with pytest.raises(SystemExit):
        running.run(60)
