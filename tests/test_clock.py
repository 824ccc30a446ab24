"""The one clock: the database's, whatever the machine believes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from integrations import clock

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Database:
    """What it says of the time, and how often it was asked; `away`: it does not answer."""

    def __init__(self) -> None:
        self.at, self.asked, self.away = NOON, 0, False

    def look(self, monotonic: Any) -> tuple[datetime, float]:
        self.asked += 1
        if self.away:
            raise OperationalError("server closed the connection unexpectedly")
        return self.at, monotonic()


@pytest.fixture
def passed() -> SimpleNamespace:
    return SimpleNamespace(seconds=1000.0)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, passed: SimpleNamespace) -> Database:
    """A PostgreSQL whose clock is the test's, and a monotonic clock that the test moves."""
    made = Database()
    monkeypatch.setattr(clock, "connection", SimpleNamespace(vendor="postgresql"))
    monkeypatch.setattr(clock, "steady", lambda: passed.seconds)
    monkeypatch.setattr(clock, "_look", lambda: made.look(lambda: passed.seconds))
    monkeypatch.setattr(clock, "_read", None)
    monkeypatch.setattr(clock, "GOOD_FOR", 10.0)
    return made


def test_the_machine_s_own_clock_counts_for_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOON + timedelta(days=400))
    assert clock.now() == NOON


def test_a_reading_is_carried_on_for_ten_seconds(database: Database, passed: SimpleNamespace) -> None:
    clock.now()
    passed.seconds += 9.5
    assert clock.now() == NOON + 9.5 * SECOND
    assert database.asked == 1
    database.at += 11 * SECOND
    passed.seconds += 1.5
    assert clock.now() == NOON + 11 * SECOND
    assert database.asked == 2


def test_a_database_that_is_away_is_believed_for_longer(database: Database, passed: SimpleNamespace) -> None:
    clock.now()
    database.away = True
    passed.seconds += 3600
    assert clock.now() == NOON + 3600 * SECOND


def test_one_that_was_never_read_raises(database: Database) -> None:
    database.away = True
    with pytest.raises(OperationalError):
        clock.now()


@pytest.mark.django_db
def test_the_real_one_says_what_time_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """In CI, this runs on PostgreSQL, too, where the server and the tests share a machine."""
    monkeypatch.setattr(clock, "_read", None)
    before = datetime.now(UTC)
    assert before - SECOND < clock.now() < datetime.now(UTC) + SECOND
    assert (clock._read is None) == (connection.vendor == "sqlite")
