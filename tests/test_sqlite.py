"""SQLite's writers stand in a line."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, transaction

from rootmail.sqlite.base import DatabaseWrapper


@pytest.fixture
def connection(tmp_path: Path, django_db_blocker: Any) -> Iterator[DatabaseWrapper]:
    """A connection to a file, not to the tests' own database."""
    from django.db import connections

    settings = connections["default"].settings_dict | {"ENGINE": "rootmail.sqlite", "NAME": str(tmp_path / "a.sqlite3")}
    settings["OPTIONS"] = {"transaction_mode": "IMMEDIATE", "timeout": 0.3}
    with django_db_blocker.unblock():
        made = DatabaseWrapper(settings, "of its own")
        connections["of its own"] = made
        with made.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("CREATE TABLE t (n)")
        yield made
        made.close()
        del connections["of its own"]


def is_taken(connection: DatabaseWrapper) -> bool:
    with Path(f"{connection.settings_dict['NAME']}-line").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def write(connection: DatabaseWrapper) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")


def test_a_transaction_holds_the_turn_until_its_end(connection: DatabaseWrapper) -> None:
    with transaction.atomic(using="of its own"):
        write(connection)
        assert is_taken(connection)
    assert not is_taken(connection)
    with pytest.raises(OperationalError, match="no such table"), transaction.atomic(using="of its own"):
        connection.cursor().execute("INSERT INTO missing VALUES (1)")
    assert not is_taken(connection)


def test_a_connection_that_is_closed_gives_its_turn_up(connection: DatabaseWrapper) -> None:
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    assert is_taken(connection)
    connection.close()
    assert not is_taken(connection)


def test_who_waits_too_long_goes_on_and_the_database_itself_says_whether_it_is_locked(
    connection: DatabaseWrapper,
) -> None:
    with Path(f"{connection.settings_dict['NAME']}-line").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        with transaction.atomic(using="of its own"):
            write(connection)
        assert 0.3 <= time.monotonic() - began < 5


def test_a_database_that_is_locked_by_somebody_outside_the_line_is_told_and_the_turn_given_up(
    connection: DatabaseWrapper,
) -> None:
    other = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"), transaction.atomic(using="of its own"):
        write(connection)
    other.close()
    assert not is_taken(connection)


def test_where_the_line_cannot_be_opened_the_database_is_used_all_the_same(connection: DatabaseWrapper) -> None:
    line = Path(f"{connection.settings_dict['NAME']}-line")
    line.unlink(missing_ok=True)
    line.mkdir()
    with transaction.atomic(using="of its own"):
        write(connection)
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_after_a_fork_the_child_stands_in_the_line_by_itself(connection: DatabaseWrapper) -> None:
    write_in_turn(connection)
    before = connection._line
    connection._opened_by += 1  # as a child sees what its parent has opened
    with transaction.atomic(using="of its own"):
        write(connection)
        assert connection._line is not before
        assert is_taken(connection)
    assert not is_taken(connection)


def test_a_file_system_without_locks_has_no_line(connection: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write_in_turn(connection)
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM t").fetchone() == (1,)


def write_in_turn(connection: DatabaseWrapper) -> None:
    with transaction.atomic(using="of its own"):
        write(connection)
