"""A whole installation for a test: `manage.py up` as real processes, with a state folder of its own."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import json
import os
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import kombu
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from rootmail import state
from rootmail.demo.browser import Browser

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "workflows" / "examples"
LOOKS_ON = pytest.mark.xdist_group("running")  # of the fixture `running`: one for all of them
INCIDENT = json.loads((EXAMPLES / "incident.json").read_text())


def wait_until(condition: Callable[[], Any], *, seconds: float = 30.0, what: str = "it") -> Any:
    """Return the first true answer of `condition`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)
    return answer


@dataclass
class Installation:
    """`database_url` and `broker_url` empty: SQLite and the embedded broker."""

    folder: Path
    database_url: str = ""
    broker_url: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    workers: int = 2

    def __post_init__(self) -> None:
        self.bind = f"127.0.0.1:{state.free_port()}"
        self.site = f"http://{self.bind}"
        self.log = self.folder / "up.log"
        self.outbox = self.folder / "outbox"
        own = {"ROOTMAIL_VAR": str(self.folder), "LOG_LEVEL": "DEBUG", "SWEEP_SECONDS": "1", "SITE_URL": self.site}
        own |= {"QUEUE": f"rootmail-test-{secrets.token_hex(4)}", "DEFAULT_SENDER": "workflows@rootmail.example"}
        own |= {"DATABASE_URL": self.database_url} if self.database_url else {}
        own |= {"BROKER_URL": self.broker_url} if self.broker_url else {}
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder)} | own | self.environment

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        database = self.folder / "rootmail.sqlite3"
        if not self.database_url and not database.exists():
            shutil.copy(migrated(), database)
        with self.log.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--bind", self.bind, "--workers", str(self.workers)],
                cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        ready = f"rootmail runs at {self.site}"
        said = lambda: self.log.read_bytes()[began:].decode(errors="replace")  # noqa: E731 (not of an earlier start)
        wait_until(lambda: self.process.poll() is not None or ready in said(), seconds=90, what="the start")
        assert self.process.poll() is None, self.output

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        if self.broker_url:
            with kombu.Connection(self.broker_url) as connection:
                connection.default_channel.queue_delete(self.environment["QUEUE"])

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def manage(self, *arguments: str, stdin: str = "", ok: bool = True) -> str:
        """Run a command as an operator would, and return its standard output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.environment, input=stdin, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        assert (done.returncode == 0) is ok, done.stderr + done.stdout
        return done.stdout

    def make_admin(self, name: str, password: str) -> None:
        """Make the first account as a person would: with the token that `up` printed."""
        printed = re.search(r"/first-admin/ with the token ([\w-]+)", self.output)
        assert printed, self.output
        new = {"username": name, "email": f"{name}@example.com", "password1": password, "password2": password}
        with Browser(self.site) as browser:
            browser.submit("/first-admin/", {"token": printed[1], **new})

    def token(self) -> str:
        name = f"test {secrets.token_hex(3)}"
        return self.manage("token", "create", name, "--scope", "trigger", "--scope", "read").strip()

    def post_event(self, token: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        """Trigger `incident_created` over HTTP and return the answer."""
        event = {"event": "incident_created", "data": INCIDENT if data is None else data}
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{self.site}/v1/events", json=event, headers=headers, trust_env=False, timeout=30)
        assert answer.status_code == 202, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def run_of(self, event: dict[str, Any], token: str) -> dict[str, Any]:
        """Ask the API what became of an event's run."""
        address = f"{self.site}/v1/runs/{event['runs'][0]['id']}"
        answer = httpx.get(address, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=30)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def deliveries(self, run: str = "") -> list[dict[str, Any]]:
        """Return those of a run, or all there are by one command, which takes a second or two to start."""
        found: list[dict[str, Any]] = json.loads(self.manage("deliveries", "--json", *(["--run", run] if run else [])))
        return found

    def mails_of(self, event: dict[str, Any], *, seconds: float = 30.0) -> list[dict[str, Any]]:
        """Return the mails of an event's run once all of them are accepted."""
        self.wait_for_mails_of(event, seconds=seconds)
        return self.deliveries(event["runs"][0]["id"])

    def wait_for_mails_of(self, event: dict[str, Any], *, seconds: float = 30.0) -> None:
        run = event["runs"][0]["id"]
        wait_until(lambda: self._states(run) == {"accepted"}, seconds=seconds, what="the acceptance of every mail")

    def _states(self, run: str) -> set[str]:
        """Read the states from the database itself: starting a command for every look would keep both cores busy."""
        query = "SELECT DISTINCT state FROM workflows_delivery WHERE run_id = "
        if self.database_url:
            with psycopg.connect(self.database_url) as connection:
                return {state for (state,) in connection.execute(f"{query} %s", [run])}
        with contextlib.closing(sqlite3.connect(self.folder / "rootmail.sqlite3", timeout=20)) as database:
            return {state for (state,) in database.execute(f"{query} ?", [run.replace("-", "")])}

    @contextlib.contextmanager
    def nobody_writes(self) -> Iterator[None]:
        """Stand first in the line of those who want to write to SQLite."""
        with (self.folder / "rootmail.sqlite3-line").open("a") as line:
            fcntl.flock(line, fcntl.LOCK_EX)
            yield

    def processes(self, *words: str) -> list[int]:
        """Return the pids of our processes whose command line holds all these words, the oldest first."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if self._is_ours(entry) and all(word in command for word in words):
                    found.append(int(entry.name))
        return sorted(found)

    def _is_ours(self, process: Path) -> bool:
        if (process / "cwd").readlink() == self.folder / "broker":  # a Valkey writes over its environment
            return True
        return f"ROOTMAIL_VAR={self.folder}\0".encode() in (process / "environ").read_bytes()


@functools.cache
def migrated() -> Path:
    """Return an SQLite database with all tables: to make them takes longer than many a test. Others make their own."""
    folder = Path(tempfile.mkdtemp(prefix="rootmail-migrated-"))
    atexit.register(shutil.rmtree, folder)
    Installation(folder).manage("migrate", "-v0")
    return folder / "rootmail.sqlite3"


def from_environment(name: str) -> str:
    """Return the address of an outer service, or skip the test."""
    address = os.environ.get(name, "")
    if not address:
        pytest.skip(f"{name} is not set")
    return address


@contextlib.contextmanager
def fresh_postgres() -> Iterator[str]:
    """Make a database of its own on the server that TEST_POSTGRES_URL names, and drop it afterwards."""
    server = from_environment("TEST_POSTGRES_URL")
    name = f"rootmail_test_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            yield server.rpartition("/")[0] + f"/{name}"
        finally:
            connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
