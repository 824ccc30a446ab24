"""What a user would pick instead, as contenders: each in the environment of its own that `bench/peers` describes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass

from tests.installation import ROOT, fresh_postgres
from tests.lab_programs import Program

from .caller import Caller
from .sink import PASSWORD, USER
from .stage import POSTGRESQL, Contender, Stage

REQUIREMENTS = ROOT / "bench" / "peers" / "requirements.txt"
ENVIRONMENT = ROOT / "var" / "bench" / "peers"


@dataclass(frozen=True)
class Peer:
    key: str
    label: str
    stores: bool  # keeps its queue in the database
    worker: bool  # sends in a Celery worker


PEERS = (
    Peer("plain", "plain Celery task with `send_mail`", stores=False, worker=True),
    Peer("celery-email", "django-celery-email", stores=False, worker=True),
    Peer("mailer", "django-mailer", stores=True, worker=False),
    Peer("post-office", "django-post_office", stores=True, worker=False),
)


def python() -> str:
    """Return the Python of the peers; makes their environment first where it is missing or too old."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    made, program = ENVIRONMENT / "made-for", str(ENVIRONMENT / "bin" / "python")
    if not made.exists() or made.read_text() != wanted:
        sys.stderr.write(f"Installing the peers into {ENVIRONMENT.relative_to(ROOT)} (about half a minute, once)\n")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        subprocess.run([program, "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)], check=True)
        made.write_text(wanted)
    return program


class Other(Contender):
    def __init__(self, stage: Stage, peer: Peer, database: str = "") -> None:
        super().__init__(stage)
        self.peer, self.database = peer, database
        self.key = "-".join(part for part in (peer.key, database.lower()) if part)
        self.label = peer.label
        self.processes = 1 if peer.key == "mailer" and database != POSTGRESQL else 2  # its lock
        self._python, self._stack = python(), ExitStack()
        self._worker: Program | None = None
        self._folder = stage.folder / self.key
        self._folder.mkdir()
        own = self._stack.enter_context(fresh_postgres()) if database == POSTGRESQL else ""
        self._environment = self._settings(own or f"sqlite:///{self._folder}/db.sqlite3")
        if peer.stores:
            self._run("-m", "django", "migrate", "--verbosity=0")

    def _settings(self, database_url: str) -> dict[str, str]:
        secure = self.stage.authority
        return {
            "PATH": os.environ["PATH"], "HOME": str(self._folder), "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "bench.peers.settings", "PEER": self.peer.key, "PEER_FOLDER": str(self._folder),
            "PEER_DATABASE_URL": database_url, "PEER_BROKER_URL": self.stage.broker_url, "PEER_QUEUE": self.key,
            "PEER_PORT": str(self.stage.port), "PEER_USER": USER if secure else "",
            "PEER_PASSWORD": PASSWORD if secure else "", **({"SSL_CERT_FILE": str(secure)} if secure else {}),
        }  # fmt: skip

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._python, *arguments], cwd=ROOT, env=self._environment, check=True)

    def start(self) -> None:
        if self.peer.worker:
            command = [self._python, "-m", "celery", "-A", "bench.peers.app", "worker", "--concurrency=2"]
            quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]  # as rootmail starts its own
            log = self._folder / "worker.log"
            self._worker = Program("worker", [*command, *quiet], environment=self._environment, log=log)
        self.caller = Caller(
            [self._python, "-m", "bench.peers.caller"], environment=self._environment, log=self._folder / "caller.log"
        )

    def stop(self) -> None:
        super().stop()
        if self._worker:
            self._worker.stop()
        self._worker = None

    def close(self) -> None:
        self._stack.close()

    def worker_pids(self) -> list[int]:
        return [self._worker.process.pid] if self._worker else []


class Floor(Contender):
    """No queue and no database at all."""

    def __init__(self, stage: Stage, key: str, label: str) -> None:
        super().__init__(stage)
        self.key, self.label, self.unique = key, label, key == "smtplib"
        self.processes = 1

    def start(self) -> None:
        authority = [str(self.stage.authority)] if self.stage.authority else []
        self.caller = Caller(
            [sys.executable, "-m", "bench.floor", self.key, str(self.stage.port), *authority],
            environment=dict(os.environ), log=self.stage.folder / f"{self.key}.log",
        )  # fmt: skip

    def close(self) -> None:
        """It leaves nothing."""
