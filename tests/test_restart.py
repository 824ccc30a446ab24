"""A restart without a pause: old and new processes side by side; every mail leaves once, no request fails."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import kombu
import pytest

from tests.effort import LONG
from tests.fake_relay import FakeRelay
from tests.installation import EXAMPLES, INCIDENT, Installation, fresh_postgres, from_environment, wait_until
from tests.lab_programs import Program

PREPARE = f"""
from django.core.management import call_command
from integrations.models import SmtpIntegration
call_command("migrate", verbosity=0)
call_command("workflow", "load", {str(EXAMPLES / "workflows.json")!r})
call_command("token", "create", "test", "--scope", "trigger")
SmtpIntegration.objects.create(
    connected=True, address="127.0.0.1", port=%d, ssl=False, enable_starttls_auto=False, default_from="desk@example.com"
)
"""
TRIGGER = f"""
import json, time
from workflows import services
from workflows.events import Incoming
data = json.load(open({str(EXAMPLES / "incident.json")!r}))
for _ in range(%d):
    services.trigger(Incoming("incident_created", data))
    time.sleep(0.05)
"""
BELIEVED = "django_migrations"  # what the database believes to have
SLOW = 0.05  # seconds that the relay takes for a mail: so a worker always has some in hand

pytestmark = [pytest.mark.processes, LONG]


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Installation]:
    """An installation whose workers we start ourselves."""
    url = from_environment("TEST_REDIS_URL")
    with fresh_postgres() as database:
        here = Installation(tmp_path, database_url=database, broker_url=url)
        yield here
        with kombu.Connection(url) as connection:
            connection.default_channel.queue_delete(here.environment["QUEUE"])


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay(slow={".": SLOW}) as server:
        yield server


def prepare(installation: Installation, relay: FakeRelay) -> str:
    """Make the tables, workflows and SMTP in one process, and return a token."""
    return installation.manage("shell", "--verbosity", "0", "-c", PREPARE % relay.port).split()[-1]


def program(installation: Installation, name: str, *arguments: str) -> Program:
    command = [sys.executable, "-m", "celery", "-A", "rootmail", *arguments]
    return Program(name, command, environment=installation.environment, log=installation.folder / f"{name}.log")


@contextmanager
def worker(installation: Installation, name: str) -> Iterator[Program]:
    started = program(installation, name, "worker", "-n", f"{name}@%h", "--concurrency=1", "--loglevel=INFO")
    try:
        wait_until(lambda: f"{name}@" in started.output and " ready." in started.output, what=f"worker {name}")
        yield started
    finally:
        started.stop()


def test_workers_are_replaced_side_by_side(places: Installation, relay: FakeRelay) -> None:
    """A sends under load, B starts, A is told to end: each mail is accepted once."""
    prepare(places, relay)
    events = 100  # the second worker takes seconds to start
    with worker(places, "a") as old:
        load = program_of_load(places, events)
        wait_until(lambda: len(relay.ledger) > 10, what="the first mails")
        with worker(places, "b") as new:
            old.process.send_signal(signal.SIGTERM)
            assert old.process.wait(timeout=30) == 0
            at_the_end = len(relay.ledger)
            wait_until(lambda: len(relay.ledger) >= 2 * events, seconds=90, what="every mail")
            assert load.process.wait(timeout=30) == 0
            assert new.alive
    assert at_the_end < 2 * events, "the old one ended in the middle"
    assert copies(relay) == {1}
    assert len(relay.ledger) == 2 * events


def program_of_load(installation: Installation, events: int) -> Program:
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", TRIGGER % events]
    return Program("load", command, environment=installation.environment, log=installation.folder / "load.log")


def copies(relay: FakeRelay) -> set[int]:
    """Return how often the mails were accepted: told apart by their Message-ID."""
    seen: dict[bytes, int] = {}
    for mail in relay.ledger:
        name = next(line for line in mail.content.splitlines() if line.lower().startswith(b"message-id:"))
        seen[name] = seen.get(name, 0) + 1
    return set(seen.values())


def test_a_hangup_replaces_everything_that_up_runs_and_fails_no_request(tmp_path: Path, relay: FakeRelay) -> None:
    with ExitStack() as stack:
        here = Installation(tmp_path)
        token = prepare(here, relay)
        stack.enter_context(here)
        before = {name: set(here.processes(*words)) for name, words in PROGRAMS.items()}
        broker_before = here.processes("valkey-server")
        with load_over_http(here, token) as statuses:
            wait_until(lambda: len(statuses) > 5, what="the first events")
            here.process.send_signal(signal.SIGHUP)
            for name, words in PROGRAMS.items():
                wait_until(partial(side_by_side, here, words, before[name]), what=f"a new {name} beside the old one")
            for name in PROGRAMS:
                wait_until(partial(gone, before[name]), seconds=60, what=f"the end of the old {name}")
            at_the_end = len(statuses)
            wait_until(lambda: len(statuses) > at_the_end + 5, what="events for the new processes")
        assert set(statuses) == {202}
        wait_until(lambda: len(relay.ledger) >= 2 * len(statuses), what="every mail")
        assert here.processes("valkey-server") == broker_before
        assert here.output.count("the new one is ready, the old one is told to end") == len(PROGRAMS)
        assert all(here.processes(*words) for words in PROGRAMS.values())
    assert len(relay.ledger) == 2 * len(statuses)
    assert copies(relay) == {1}
    assert here.processes() == []


def test_where_migrate_was_forgotten_the_old_ones_go_on(tmp_path: Path, relay: FakeRelay) -> None:
    here = Installation(tmp_path)
    token = prepare(here, relay)
    with here:
        wait_until(partial(is_whole, here), seconds=90, what="the start of the worker")
        before = {name: set(here.processes(*words)) for name, words in PROGRAMS.items() if name != "beat"}
        newest = alter_migrations(here, f"DELETE FROM {BELIEVED} WHERE id = (SELECT max(id) FROM {BELIEVED})")
        with load_over_http(here, token) as statuses:
            here.process.send_signal(signal.SIGHUP)
            for said in ("The site does not start: 1 migrations", "No worker starts: 1 migrations"):
                wait_until(lambda said=said: here.output.count(said) > 1, seconds=60, what=f"twice: {said}")  # type: ignore[misc]
            assert not any(map(gone, before.values()))
            alter_migrations(here, f"INSERT INTO {BELIEVED} VALUES (?, ?, ?, ?)", *newest)
            for name, pids in before.items():
                wait_until(partial(gone, pids), seconds=90, what=f"the end of the old {name}")
        assert set(statuses) == {202}
        wait_until(lambda: len(relay.ledger) >= 2 * len(statuses), what="every mail")
    assert copies(relay) == {1}


def alter_migrations(installation: Installation, statement: str, *values: Any) -> Any:
    """Alter the list of migrations that were made; return the newest of before."""
    with contextlib.closing(sqlite3.connect(installation.folder / "rootmail.sqlite3", timeout=20)) as database:
        newest = database.execute(f"SELECT * FROM {BELIEVED} ORDER BY id DESC LIMIT 1").fetchone()
        with database:
            database.execute(statement, values)
    return newest


PROGRAMS = {"worker": ("celery", " worker "), "beat": ("celery", " beat "), "web": ("gunicorn",)}


def is_whole(installation: Installation) -> bool:
    """Tell whether the worker has its pool, which it forks when it has compared the tables with its code.

    `up` waits for the first answer of the site alone, and on a busy machine the worker takes longer.
    """
    return len(installation.processes(*PROGRAMS["worker"])) > 2


def side_by_side(installation: Installation, words: tuple[str, ...], before: set[int]) -> bool:
    running = set(installation.processes(*words))
    return bool(running & before) and bool(running - before)


def gone(pids: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@contextmanager
def load_over_http(installation: Installation, token: str) -> Iterator[list[int]]:
    """Post five events a second, each by a connection of its own; collect the answers, 0 for none."""
    statuses: list[int] = []
    over = threading.Event()

    def post() -> None:
        while not over.wait(0.2):
            statuses.append(status_of(installation, token))

    (thread := threading.Thread(target=post)).start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def status_of(installation: Installation, token: str) -> int:
    event: dict[str, Any] = {"event": "incident_created", "data": INCIDENT}
    headers = {"Authorization": f"Bearer {token}"}
    try:
        address = f"{installation.site}/v1/events"
        return httpx.post(address, json=event, headers=headers, trust_env=False, timeout=30).status_code
    except httpx.HTTPError:
        return 0
