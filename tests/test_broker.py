"""The embedded broker: only the doorbell, so nothing of it lies on the disk and may stand in its own way."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import redis

from rootmail import broker, state
from tests.installation import ROOT, wait_until


def test_a_full_disk_does_not_keep_it_from_ringing(tmp_path: Path) -> None:
    """It answered MISCONF to everything, also to workers, which ended."""
    url = state.new_broker_url()
    command = broker.command(url, folder=tmp_path)
    no_room = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # noqa: E731 (no file may grow)
    with subprocess.Popen(command, preexec_fn=no_room, stdout=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: broker.answers(url), what="the broker")
            with redis.Redis.from_url(url) as client:
                assert client.lpush("queue", "rung") == 1
            assert [one.name for one in tmp_path.iterdir()] == ["valkey.conf"]
        finally:
            server.terminate()


def test_it_starts_whatever_a_power_cut_has_left_of_versions_that_kept_something(tmp_path: Path) -> None:
    (kept := tmp_path / "appendonlydir").mkdir()
    manifest = "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    (kept / "appendonly.aof.manifest").write_text(manifest)
    for name in ("appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"):
        (kept / name).write_bytes(bytes(4096))
    url = state.new_broker_url()
    with subprocess.Popen(broker.command(url, folder=tmp_path)) as server:
        try:
            wait_until(lambda: broker.answers(url), what="the broker")
        finally:
            server.terminate()


def test_a_web_process_that_has_started_can_ring(tmp_path: Path) -> None:
    """One that had too many open files at its first ring knew no task from then on, and rang no more."""
    asked = (
        "from rootmail.wsgi import app; print(app.finalized);"
        "from workflows.tasks import work; print(work.name in app.tasks)"
    )
    own = os.environ | {"ROOTMAIL_VAR": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", asked]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"], done.stderr
