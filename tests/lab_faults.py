"""Faults that a test arms by a file, and that strike in whichever process reaches that step first.

A file in `faults/STEP/` is one fault. Whoever can unlink it has it, so it strikes exactly once over all processes.
What struck stands in `struck.jsonl`, one line each, written before the fault does its work.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

ERROR, HANG, KILL, FREEZE, DONE = "error", "hang", "kill", "freeze", "done"
"""`freeze` stops the process until the lab lets it go on; `done` does the work and reports a failure all the same."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that has struck."""

    step: str
    mode: str
    pid: int
    at: float


class Faults:
    """The armed faults of one lab. `hang_seconds` outlasts a lease."""

    def __init__(self, folder: Path, *, hang_seconds: float = 2.0) -> None:
        self.folder = folder / "faults"
        self.log = folder / "struck.jsonl"
        self.hang_seconds = hang_seconds

    def arm(self, step: str, mode: str, *, times: int = 1) -> None:
        folder = self.folder / step
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(times):
            (folder / f"{secrets.token_hex(4)}-{mode}").touch()

    def armed(self) -> list[str]:
        """Return what has not struck yet."""
        return sorted(f"{one.parent.name} {one.name.partition('-')[2]}" for one in self.folder.glob("*/*"))

    def disarm(self) -> list[str]:
        """Take back what has not struck, and return it."""
        left = self.armed()
        for one in self.folder.glob("*/*"):
            one.unlink(missing_ok=True)
        return left

    def struck(self) -> list[Struck]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [Struck(**json.loads(line)) for line in lines]

    def take(self, step: str) -> str:
        """Return the mode of a fault that is armed for this step and now ours, or an empty text."""
        try:
            armed = list((self.folder / step).iterdir())
        except FileNotFoundError:
            return ""
        for one in armed:
            try:
                one.unlink()
            except FileNotFoundError:
                continue  # another process was quicker
            mode = one.name.partition("-")[2]
            self._note(Struck(step, mode, os.getpid(), time.time_ns() / 1e9))
            return mode
        return ""

    def strike(self, mode: str, *, error: Callable[[], BaseException]) -> None:
        """Do what the mode says. `error` makes what can really be raised at this step."""
        if mode == ERROR:
            raise error()
        if mode == HANG:
            time.sleep(self.hang_seconds)
        if mode == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        if mode == FREEZE:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _note(self, struck: Struck) -> None:
        line = json.dumps(asdict(struck)) + "\n"
        with self.log.open("ab", buffering=0) as log:  # one write: lines of several processes never mix
            log.write(line.encode())
