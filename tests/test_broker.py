"""The embedded broker: only the doorbell, so nothing that it keeps may stand in its own way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rootmail import broker, state
from tests.installation import wait_until
from tests.lab_programs import Program

MANIFEST = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"


@pytest.mark.processes
def test_it_starts_whatever_a_power_cut_has_left(tmp_path: Path) -> None:
    """Earlier versions kept a file of commands: zeros at its end, and nothing started any more."""
    (kept := tmp_path / "broker" / "appendonlydir").mkdir(parents=True)
    (kept / "appendonly.aof.manifest").write_text(MANIFEST)
    for name in ("appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"):
        (kept / name).write_bytes(bytes(4096))
    url = state.new_broker_url()
    command = broker.command(url, folder=tmp_path / "broker")
    running = Program("broker", command, environment=dict(os.environ), log=tmp_path / "broker.log")
    try:
        wait_until(lambda: broker.answers(url), what="the broker")
    finally:
        running.stop()
