"""Our end of the process that triggers (see `calling.py`)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.lab_programs import Program


class CallerFailed(Exception):
    """The process that triggers ended; the text quotes its log."""


class Caller:
    """One process that triggers. Numbers in its answers are seconds of the wall clock."""

    def __init__(self, command: list[str], *, environment: dict[str, str], log: Path) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._program = Program("caller", command, environment=environment, log=log, **pipes)
        self.pid = self._program.process.pid
        self._hear()

    def prepare(self, first: int, count: int, *, batch: int = 1) -> None:
        """Let it make what it needs for these mails; `begin` lets it trigger them."""
        self._tell({"first": first, "count": count, "batch": batch})
        self._hear()

    def begin(self) -> float:
        """Let it trigger; returns when the clock started, while it is still at it."""
        self._tell("")
        return float(self._hear())

    def finish(self) -> float:
        """Wait until every call has returned; returns when that was."""
        return float(self._hear())

    def accepted(self) -> int | None:
        """Ask how many mails are recorded as accepted; None where nobody records that."""
        self._tell("count")
        answer: int | None = self._hear()
        return answer

    def demand_alive(self) -> None:
        """Raise CallerFailed where it has ended."""
        if not self._program.alive:
            raise CallerFailed(self._program.output[-3000:])

    def stop(self) -> None:
        self._program.stop(seconds=5)

    def _tell(self, order: Any) -> None:
        assert self._program.process.stdin
        self._program.process.stdin.write((json.dumps(order) if order else "") + "\n")
        self._program.process.stdin.flush()

    def _hear(self) -> Any:
        assert self._program.process.stdout
        line = self._program.process.stdout.readline()
        if not line:
            raise CallerFailed(self._program.output[-3000:])
        return json.loads(line)
