"""Which start of the machine a lease was made in."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from django.db import connection

from workflows import starts
from workflows.ids import mark_of, new_id


@pytest.fixture(autouse=True)
def forgotten() -> None:
    starts.this_one.cache_clear()


def test_a_lease_bears_the_mark_of_this_start_and_is_an_id_like_others() -> None:
    one, two = starts.new_lease(), starts.new_lease()
    assert mark_of(one) == mark_of(two) == starts.this_one()
    assert one < two < new_id()
    assert (one.version, one.variant) == (7, uuid.RFC_4122)


def test_a_start_is_told_by_the_number_that_the_kernel_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = starts.new_lease()
    assert not starts.ended_since(lease)
    boot_id = tmp_path / "boot_id"
    boot_id.write_text(f"{uuid.uuid4()}\n")
    monkeypatch.setattr(starts, "BOOT_ID", boot_id)
    starts.this_one.cache_clear()
    on_sqlite = connection.vendor == "sqlite"  # elsewhere the database may be on another machine
    assert starts.ended_since(lease) is on_sqlite
    assert starts.ended_since(starts.new_lease(of=lease)) is on_sqlite
    assert not starts.ended_since(starts.new_lease())


def test_a_system_that_does_not_tell_has_one_start_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starts, "BOOT_ID", tmp_path / "missing")
    assert starts.this_one() == 0
    assert not starts.ended_since(starts.new_lease())
