"""Site, workers, database and broker on machines of their own, whose network loses connections, and one machine."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from rootmail.broker import server_program
from tests.effort import LONG
from tests.installation import EXAMPLES, INCIDENT, Installation, wait_until
from tests.lab_programs import Program
from tests.machines import NETWORK, Machines
from tests.own_postgres import Postgres

pytestmark = [pytest.mark.processes, LONG]
WORKERS = ("one", "two")
MAILS = 2  # of each event


class Company:
    """An installation on five machines; whoever works there hands mail over to one folder."""

    def __init__(self, machines: Machines, folder: Path, *, stack: ExitStack) -> None:
        self.machines, self.folder, self._stack = machines, folder, stack
        with machines.on("database"):
            database = stack.enter_context(Postgres(host=machines.address["database"], network=NETWORK))
        broker = self._start_broker()
        self.outbox = folder / "outbox"
        (folder / "state").mkdir()
        own = {"DEFAULT_SENDER_URL": self.outbox.as_uri(), "SECRET_KEY": "k" * 50, "ALLOWED_HOSTS": "*"}
        self.inside = Installation(
            folder / "state", database_url=database.url, broker_url=broker, environment=own | {"SWEEP_SECONDS": "5"}
        )
        with machines.on("web"):
            self.inside.manage("migrate", "-v0")
            self.inside.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
            self.token = self.inside.token()
        self._start_all()

    def _start_broker(self) -> str:
        address = self.machines.address["broker"]
        words = ["--bind", address, "--protected-mode", "no", "--save", "", "--dir", str(self.folder)]
        self._start("broker", "broker", [server_program(), *words])
        with self.machines.on("web"), redis.Redis(address) as client:
            wait_until(lambda: _answers(client), what="the broker")
        return f"redis://{address}:6379/0"

    def _start_all(self) -> None:
        own = self.inside.environment
        web = ["gunicorn", "rootmail.wsgi", f"--bind={self.machines.address['web']}:8000", "--workers=2", "--threads=4"]
        self._start("web", "site", [sys.executable, "-m", *web, "--no-control-socket"], **own)
        celery = [sys.executable, "-m", "celery", "-A", "rootmail", "--quiet"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        for name in WORKERS:
            worker = ["worker", f"--hostname=worker@{name}", "--concurrency=1", "--loglevel=INFO", *quiet]
            self._start(name, f"worker-{name}", celery + worker, **own)
            self._start(name, f"beat-{name}", [*celery, "beat", "--loglevel=INFO", "--pidfile="], **own)
        wait_until(lambda: self._post("first") == 202, seconds=60, what="the site")

    def _start(self, machine: str, name: str, words: list[str], **environment: str) -> None:
        with self.machines.on(machine):
            program = Program(name, words, environment=environment, log=self.folder / f"{name}.log")
        self._stack.callback(program.kill)

    def _post(self, key: str) -> int:
        """Return the site's answer; 0 for none."""
        incident = INCIDENT["incident"] | {"name": key, "slug": key}  # which stand in the subjects
        event: dict[str, Any] = {"event": "incident_created", "data": INCIDENT | {"incident": incident}, "id": key}
        with self.machines.on("web"):
            try:
                return httpx.post(
                    f"http://{self.machines.address['web']}:8000/v1/events",
                    json=event, headers={"Authorization": f"Bearer {self.token}"}, trust_env=False, timeout=5,
                ).status_code  # fmt: skip
            except httpx.HTTPError:
                return 0

    def tell(self, key: str) -> None:
        """Tell of an event until it is taken, as a service would."""
        wait_until(lambda: self._post(key) in (200, 202), seconds=60, what=f"the answer to {key}")

    def mails(self) -> Counter[str]:
        """Count the mails by their subjects."""
        found = [message_from_bytes(file.read_bytes()) for file in self.outbox.glob("*.eml")]
        return Counter(str(mail["Subject"]) for mail in found)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with ExitStack() as stack:
        machines = stack.enter_context(Machines(["database", "broker", "web", *WORKERS]))
        yield Company(machines, tmp_path, stack=stack)


def test_lost_connections_and_a_lost_machine_lose_no_mail(company: Company) -> None:
    told = ["first"]

    def stream(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            told.append(f"incident {len(told)}")
            company.tell(told[-1])
            time.sleep(0.2)

    def all_have_left() -> bool:
        return sum(company.mails().values()) >= MAILS * len(told)

    stream(2)
    wait_until(all_have_left, what="the mails of a calm day")
    for name in ("web", *WORKERS):
        assert company.machines.forget(name, "database") > 0
        assert company.machines.forget(name, "broker") > 0
    stream(3)
    wait_until(all_have_left, seconds=60, what="the mails after all connections were lost")
    company.machines.lose("one")
    stream(3)
    wait_until(all_have_left, seconds=60, what="the mails without a machine")
    assert set(company.mails().values()) == {1}, company.mails()
