"""The embedded broker: only the doorbell, so nothing that it keeps may stand in its own way."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootmail import broker
from tests.effort import LONG
from tests.installation import Installation

MANIFEST = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"


@LONG
@pytest.mark.processes
def test_it_starts_whatever_a_power_cut_has_left(tmp_path: Path) -> None:
    """Zeros at the end of its file of commands kept the whole installation from starting."""
    (kept := tmp_path / "broker" / "appendonlydir").mkdir(parents=True)
    (kept / "appendonly.aof.manifest").write_text(MANIFEST)
    for name in ("appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"):
        (kept / name).write_bytes(bytes(4096))
    with Installation(tmp_path) as running:
        assert "The embedded broker begins anew, without what it kept" in running.output
    assert (tmp_path / "broker" / "appendonlydir.unread" / "appendonly.aof.1.incr.aof").exists()


def test_there_may_be_nothing_to_set_aside(tmp_path: Path) -> None:
    assert broker.set_aside_what_it_kept(tmp_path) is False
