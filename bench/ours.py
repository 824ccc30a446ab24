"""rootmail as a contender: a whole installation, started as `manage.py up` starts it, triggered inside a process."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import ClassVar

from tests.installation import Installation, fresh_postgres

from . import mails
from .caller import Caller
from .sink import PASSWORD, USER
from .stage import POSTGRESQL, Contender, Stage


class Rootmail(Contender):
    ways: ClassVar[dict[str, int]] = {"single": 1, "hundreds": 100}

    def __init__(self, stage: Stage, database: str, *, workers: int = 2) -> None:
        super().__init__(stage)
        self.database, self.key, self.label = database, f"rootmail-{database.lower()}", "rootmail"
        self.processes = workers
        self._stack = ExitStack()
        url = self._stack.enter_context(fresh_postgres()) if database == POSTGRESQL else ""
        folder = stage.folder / f"{self.key}-{workers}"
        folder.mkdir()
        environment = {"LOG_LEVEL": "INFO", "SWEEP_SECONDS": "5"}
        environment |= {"SSL_CERT_FILE": str(stage.authority)} if stage.authority else {}
        self.installation = Installation(
            folder, database_url=url, broker_url=stage.broker_url, environment=environment, workers=workers
        )
        self._connected = False

    def start(self) -> None:
        self.installation.start()
        if not self._connected:
            self._load_and_connect()
        self._connected = True
        self.caller = self.call("bench.trigger")

    def call(self, module: str, *arguments: str, **environment: str) -> Caller:
        """Start a process that triggers."""
        return Caller(
            [sys.executable, "-m", module, *arguments],
            environment=self.installation.environment | environment, log=self.installation.folder / "caller.log",
        )  # fmt: skip

    def _load_and_connect(self) -> None:
        self.installation.manage("workflow", "load", "-", stdin=json.dumps(mails.WORKFLOW))
        options = ["--address", "127.0.0.1", "--port", str(self.stage.port), "--no-ssl", "--default-from", mails.SENDER]
        secure = ["--enable-starttls", "--openssl-verify-mode", "peer", "--ca-file", str(self.stage.authority)]
        secure += ["--username", USER, "--password-stdin"]
        options += secure if self.stage.authority else ["--no-enable-starttls-auto"]
        self.installation.manage("integration", "connect", "smtp", *options, stdin=PASSWORD)

    def stop(self) -> None:
        super().stop()
        self.installation.stop()

    def close(self) -> None:
        self._stack.close()

    def worker_pids(self) -> list[int]:
        return [self.installation.process.pid]


class OverHttp(Rootmail):
    """The same, triggered through its API."""

    def start(self) -> None:
        super().start()
        Contender.stop(self)
        self.caller = self.call("bench.posting", self.installation.bind, BENCH_TOKEN=self.installation.token())
