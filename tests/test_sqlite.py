"""SQLite's writers stand in a line, and wait for the disk outside of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, transaction

from rootmail.sqlite import base
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


@pytest.fixture
def synced(connection: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how long the log is each time that the disk is waited for, and whether somebody else may write meanwhile."""
    sizes: list[int] = []

    def fdatasync(file: int) -> None:
        assert not is_taken(connection)
        sizes.append(os.fstat(file).st_size)

    monkeypatch.setattr(base, "_sync", fdatasync)
    return sizes


def after_a_power_cut(connection: DatabaseWrapper, on_disk: int, folder: Path) -> list[int]:
    """Return what is left where the log was on the disk to this length, and whatever came later was not."""
    name, copy = str(connection.settings_dict["NAME"]), folder / "copy.sqlite3"
    shutil.copy(name, copy)
    Path(f"{copy}-wal").write_bytes(Path(f"{name}-wal").read_bytes()[:on_disk])
    other = sqlite3.connect(copy)
    rows = [n for (n,) in other.execute("SELECT n FROM t ORDER BY n")]
    other.close()
    return rows


def insert_alone(connection: DatabaseWrapper, number: int, *, wait: bool) -> int:
    return connection.write_alone("INSERT INTO t VALUES (%(n)s)", {"n": number}, wait=wait)


def test_what_was_committed_outlives_a_power_cut(
    connection: DatabaseWrapper, synced: list[int], tmp_path: Path
) -> None:
    write_in_turn(connection)
    [first] = synced
    assert after_a_power_cut(connection, first, tmp_path) == [1]
    assert insert_alone(connection, 2, wait=True) == 1
    assert after_a_power_cut(connection, synced[-1], tmp_path) == [1, 2]


def test_what_is_written_without_waiting_is_on_the_disk_with_the_next_that_waits(
    connection: DatabaseWrapper, synced: list[int], tmp_path: Path
) -> None:
    write_in_turn(connection)
    assert insert_alone(connection, 2, wait=False) == 1
    assert len(synced) == 1
    assert after_a_power_cut(connection, synced[-1], tmp_path) == [1]
    with transaction.atomic(using="of its own"), connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (3)")
    assert after_a_power_cut(connection, synced[-1], tmp_path) == [1, 2, 3]


def test_workers_are_rung_for_before_the_disk_has_answered(connection: DatabaseWrapper, synced: list[int]) -> None:
    heard: list[int] = []
    with transaction.atomic(using="of its own"):
        write(connection)
        transaction.on_commit(lambda: heard.append(len(synced)), using="of its own")
    assert (heard, len(synced)) == ([0], 1)


def test_a_bell_that_cannot_be_rung_does_not_spare_the_wait(connection: DatabaseWrapper, synced: list[int]) -> None:
    def broken() -> None:
        with transaction.atomic(using="of its own"):
            write(connection)
            transaction.on_commit(lambda: 1 / 0, using="of its own")

    with pytest.raises(ZeroDivisionError):
        broken()
    assert len(synced) == 1


def test_a_disk_that_takes_nothing_is_told(connection: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(base, "_sync", refuse)
    with pytest.raises(OperationalError, match=r"disk .* Input/output error"):
        write_in_turn(connection)
    with pytest.raises(OperationalError, match=r"disk .* Input/output error"):
        insert_alone(connection, 2, wait=True)


def test_it_says_why_it_takes_nothing(connection: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection.why_it_takes_nothing() == ""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=base.LEAST_ROOM - 1))
    assert connection.why_it_takes_nothing() == "its disk is full"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).is_dir())
    assert connection.why_it_takes_nothing() == "it can only be read"


def test_what_the_disk_did_not_take_is_written_to_another_place(
    connection: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of pages that it could not write once, and then takes them for written."""
    write_in_turn(connection)
    log = Path(f"{connection.settings_dict['NAME']}-wal")
    assert log.stat().st_size > 0

    def refuse(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(base, "_sync", refuse)
    with pytest.raises(OperationalError, match="disk"):
        write_in_turn(connection)
    assert log.stat().st_size == 0
    assert synchronous(connection) == 2


def test_a_transaction_that_was_left_open_is_told_and_keeps_no_turn(connection: DatabaseWrapper) -> None:
    write_in_turn(connection)
    connection.connection.execute("BEGIN")
    with pytest.raises(OperationalError, match="transaction"):
        write_in_turn(connection)
    assert not is_taken(connection)
    with pytest.raises(OperationalError, match="transaction"):
        insert_alone(connection, 2, wait=True)
    assert not is_taken(connection)


def test_a_connection_that_is_closed_by_a_bell_has_waited(connection: DatabaseWrapper, synced: list[int]) -> None:
    with transaction.atomic(using="of its own"):
        write(connection)
        transaction.on_commit(connection.close, using="of its own")
    assert len(synced) == 1


def test_a_bell_that_writes_leaves_its_own_transaction_to_be_waited_for(
    connection: DatabaseWrapper, synced: list[int]
) -> None:
    with transaction.atomic(using="of its own"):
        write(connection)
        transaction.on_commit(connection.commit, using="of its own")
    assert len(synced) == 1


def test_a_log_that_was_removed_meanwhile_is_opened_anew(connection: DatabaseWrapper, synced: list[int]) -> None:
    """Of a database that was empty, SQLite may not have opened it yet when its last other user closed it."""
    write_in_turn(connection)
    log = Path(f"{connection.settings_dict['NAME']}-wal")
    connection._log = removed = log.with_suffix(".removed").open("wb")
    Path(removed.name).unlink()
    write_in_turn(connection)
    assert synced[-1] == log.stat().st_size > 0
    assert removed.closed


def test_the_log_of_a_database_behind_a_link_is_where_the_database_is(
    connection: DatabaseWrapper, synced: list[int], tmp_path: Path
) -> None:
    name = Path(connection.settings_dict["NAME"])
    link = tmp_path / "link.sqlite3"
    link.symlink_to(name)
    Path(f"{link}-wal").write_bytes(b"of another time")
    write_in_turn(connection)
    connection.close()
    connection.settings_dict["NAME"] = str(link)
    connection.ensure_connection()
    write(connection)
    write_in_turn(connection)
    assert synced[-1] == Path(f"{name}-wal").stat().st_size


def synchronous(connection: DatabaseWrapper) -> int:
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA synchronous").fetchone()[0])


def test_what_is_no_transaction_of_ours_waits_as_sqlite_does(connection: DatabaseWrapper, synced: list[int]) -> None:
    full = 2
    write_in_turn(connection)
    insert_alone(connection, 2, wait=False)
    assert synchronous(connection) == full
    with transaction.atomic(using="of its own"):
        write(connection)
        transaction.set_rollback(True, using="of its own")
    assert synchronous(connection) == full
    assert len(synced) == 1


def test_without_a_log_sqlite_itself_waits(connection: DatabaseWrapper, synced: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=DELETE")
    write_in_turn(connection)
    assert insert_alone(connection, 2, wait=True) == 1
    assert synced == []


def test_within_a_transaction_a_statement_is_a_part_of_it(connection: DatabaseWrapper, synced: list[int]) -> None:
    with transaction.atomic(using="of its own"):
        insert_alone(connection, 2, wait=True)
        assert is_taken(connection)
        transaction.set_rollback(True, using="of its own")
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert synced == []


def test_a_statement_that_fails_gives_the_turn_up(connection: DatabaseWrapper) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        connection.write_alone("INSERT INTO missing VALUES (1)", {}, wait=True)
    assert not is_taken(connection)


def test_what_a_broken_connection_left_behind_is_forgotten(connection: DatabaseWrapper, synced: list[int]) -> None:
    connection.ensure_connection()
    connection.connection.close()
    with pytest.raises(ProgrammingError, match="closed database"):
        write_in_turn(connection)
    assert not is_taken(connection)
    connection.close()
    write_in_turn(connection)  # which makes the log that the next one finds
    write_in_turn(connection)
    assert len(synced) == 1


def insert_in_passing(connection: DatabaseWrapper, number: int) -> int:
    return connection.write_in_passing("INSERT INTO t VALUES (%(n)s)", {"n": number})


def test_what_is_written_in_passing_waits_neither_for_others_nor_for_the_disk(
    connection: DatabaseWrapper, synced: list[int]
) -> None:
    connection.settings_dict["OPTIONS"]["timeout"] = 60
    other = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with Path(f"{connection.settings_dict['NAME']}-line").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OperationalError, match="locked"):
            insert_in_passing(connection, 1)
    other.close()
    assert insert_in_passing(connection, 2) == 1
    assert synced == []
    assert not is_taken(connection)


def test_what_comes_behind_it_waits_again(connection: DatabaseWrapper) -> None:
    insert_in_passing(connection, 1)
    with pytest.raises(OperationalError, match="no such table"):
        connection.write_in_passing("INSERT INTO missing VALUES (1)", {})
    assert synchronous(connection) == 2
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA busy_timeout").fetchone() == (300,)
    with Path(f"{connection.settings_dict['NAME']}-line").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        began = time.monotonic()
        write_in_turn(connection)
        assert time.monotonic() - began >= 0.3


def test_within_a_transaction_it_is_a_part_of_it(connection: DatabaseWrapper, synced: list[int]) -> None:
    with transaction.atomic(using="of its own"):
        insert_in_passing(connection, 2)
        assert is_taken(connection)
        transaction.set_rollback(True, using="of its own")
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert synced == []
