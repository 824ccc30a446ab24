"""Which start of the machine a lease was made in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from workflows import starts
from workflows.ids import mark_of, new_id


@pytest.fixture(autouse=True)
def forgotten(db: None) -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    """Let the next one who asks look anew."""
    starts._of_machine.cache_clear()
    if connection.vendor == "postgresql":
        connection.while_connected.clear()  # type: ignore[attr-defined]


def begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the machine, or the server, as if it had crashed."""
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    monkeypatch.setattr(starts, "BOOT_ID", boot_id)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE workflows_databasestart")
    forget()


def test_a_lease_bears_the_mark_of_this_start_and_is_an_id_like_others() -> None:
    one, two = starts.new_lease(), starts.new_lease()
    assert mark_of(one) == mark_of(two) == starts.this_one()
    assert one < two < new_id()
    assert (one.version, one.variant) == (7, uuid.RFC_4122)


def test_a_lease_tells_whether_the_database_has_crashed_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = starts.new_lease()
    assert not starts.ended_since(lease)
    begin_anew(tmp_path, monkeypatch)
    assert starts.ended_since(lease)
    assert starts.ended_since(starts.new_lease(of=lease))
    assert not starts.ended_since(starts.new_lease())


if connection.vendor == "sqlite":

    def test_a_machine_that_does_not_tell_has_one_start_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(starts, "BOOT_ID", tmp_path / "missing")
        lease = starts.new_lease()
        assert not starts.ended_since(lease)
        assert not starts.is_noticed(lease)

else:

    def mark(number: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE workflows_databasestart SET mark = %s", [number])

    @pytest.mark.django_db(transaction=True)  # within a transaction, nothing is remembered
    def test_a_connection_asks_once_but_behind_a_pooler_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
        first = starts.this_one()
        mark(7)
        assert starts.this_one() == first
        monkeypatch.setattr(connection, "is_direct", False)
        forget()
        assert starts.this_one() == 7
        mark(8)
        assert starts.this_one() == 8

    def test_a_crash_that_emptied_the_table_begins_another_one() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'workflows_databasestart'")
            assert cursor.fetchone() == ("u",)  # unlogged
            cursor.execute("TRUNCATE workflows_databasestart")
        forget()
        begun = starts.this_one()
        forget()
        assert starts.this_one() == begun > 0
