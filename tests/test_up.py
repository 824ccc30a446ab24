"""`manage.py up` goes on whatever becomes of its log."""

from __future__ import annotations

import contextlib
import errno
import io
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rootmail.management.commands import up
from rootmail.supervisor import Supervisor
from tests.effort import LONG
from tests.installation import ROOT, Installation, migrated, wait_until


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


def test_it_tells_of_a_lost_key_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.EMBEDDED_BROKER = False
    monkeypatch.setattr(up, "call_command", lambda *_, **__: None)
    monkeypatch.setattr(up.lost_keys, "warning", lambda: "No key opens 1 of 1")
    told: list[str] = []
    supervisor = SimpleNamespace(start=lambda *_, **__: told.append(caplog.text), wait_until=lambda *_, **__: None)
    with socket.socket() as site:
        up.Command()._start(cast(Supervisor, supervisor), site=site, workers=1)
    assert len(told) == 3
    assert all("No key opens 1 of 1" in text for text in told)


@LONG
@pytest.mark.processes
def test_its_first_word_is_of_a_key_that_was_made_in_place_of_a_lost_one(tmp_path: Path) -> None:
    """In silence, whatever was entered next was encrypted with another key than the rest."""
    shutil.copy(migrated(), tmp_path / "rootmail.sqlite3")
    here = Installation(tmp_path, workers=1)
    here.manage("integration", "connect", "sendgrid", "--api-key-stdin", "--no-check", stdin="SG.key")
    (tmp_path / "fernet_key").unlink()
    with here:
        told = here.output
    assert told.index("ERROR") < told.index(
        f"No key opens 1 of 1 encrypted rows in the database. {tmp_path}/fernet_key"
    )
    assert told.index("No key opens") < told.index("rootmail runs at")
    assert "ready." not in told[: told.index("No key opens")], "no worker runs yet"
