"""A PostgreSQL of the test's own, which may crash. `TEST_POSTGRES_PROGRAMS` names the folder of its programs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from rootmail import state
from tests.installation import from_environment, wait_until

# It refuses to be root; nobody has its files but Debian's own user.
ANOTHER: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
# What did not wait for the disk is surely lost then: nobody else writes the log in between.
FORGETFUL = ("-c", "wal_writer_delay=10s", "-c", "wal_writer_flush_after=1GB", "-c", "autovacuum=off")


class Postgres:
    """with Postgres() as server: server.url, server.crash(), server.start()

    `network`: who else may come in.
    """

    def __init__(self, *, host: str = "127.0.0.1", network: str = "") -> None:
        self._programs = Path(from_environment("TEST_POSTGRES_PROGRAMS"))
        self._host, self._network, self._port = host, network, state.free_port()
        self.url = f"postgres://tester@{host}:{self._port}/postgres"

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="rootmail-postgres-"))
        if ANOTHER:
            shutil.chown(self._folder, **ANOTHER)
        try:
            self._run("initdb", "--no-sync", "--auth=trust", "--username=tester", "--encoding=UTF8", "--locale=C")
            if self._network:
                with (self._folder / "data" / "pg_hba.conf").open("a") as access:
                    access.write(f"host all all {self._network} trust\n")
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(AttributeError):
            self.crash()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        place = ["-D", str(self._folder / "data"), "-p", str(self._port), "-k", "", "-h", self._host]
        with (self._folder / "log").open("ab") as log:
            command = [str(self._programs / "postgres"), *place, *FORGETFUL]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", **ANOTHER)
        wait_until(self._answers, what="PostgreSQL")

    def crash(self) -> None:
        """End all of it at once: what was committed and not on its way to the disk is gone."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        self._process.send_signal(signal.SIGSTOP)  # or it would notice, and tell the others
        for child in children.read_text().split() if children.exists() else ():
            os.kill(int(child), signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=2):
            return True
        return False

    def _run(self, program: str, *options: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *options]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **ANOTHER)
