"""`manage.py up` goes on whatever becomes of its log."""

from __future__ import annotations

import contextlib
import errno
import io
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rootmail.management.commands import up
from tests.effort import LONG
from tests.installation import ROOT, Installation, wait_until


class Full(io.StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_takes_nothing_is_no_reason_to_end() -> None:
    """What dies is started again, and `up` says so: where the disk of its log was full, it ended itself."""
    up.Command(stdout=Full())._say("worker ended (exit code 1), starting it again in 1 s")


@LONG
@pytest.mark.processes
def test_workers_start_although_the_log_takes_nothing(tmp_path: Path) -> None:
    """Celery's pool flushes standard error before it forks: a line that was still in hand ended the worker."""
    here = Installation(tmp_path)
    here.manage("migrate", "-v0")
    command = [sys.executable, "manage.py", "up", "--bind", here.bind, "--workers", "1"]
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen(command, cwd=ROOT, env=here.environment, stdout=full, stderr=full) as running,
    ):
        try:
            wait_until(lambda: signs_of_life(here), seconds=60, what="a sign of life of a worker")
        finally:
            running.terminate()


def signs_of_life(here: Installation) -> int:
    with contextlib.closing(sqlite3.connect(here.folder / "rootmail.sqlite3", timeout=20)) as database:
        [(found,)] = database.execute("SELECT count(*) FROM workflows_heartbeat")
        return int(found)
