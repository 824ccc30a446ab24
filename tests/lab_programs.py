"""The processes of a lab."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from rootmail.supervisor import _end_with
from tests.installation import ROOT


class Program:
    """A process of the lab, and the processes that it started."""

    def __init__(
        self, name: str, arguments: list[str], *, environment: dict[str, str], log: Path, **pipes: Any
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as file:
            self.began = file.tell()
            self.process = subprocess.Popen(
                arguments, cwd=ROOT, env=environment, stderr=file, start_new_session=True,
                preexec_fn=_end_with(os.getpid()), **({"stdout": file} | pipes),
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self.log.read_bytes()[self.began :].decode(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def pids(self) -> list[int]:
        """Return ours and those of the pool."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with suppress(OSError):
            return [self.process.pid, *map(int, children.read_text().split())]
        return [self.process.pid]

    def signal(self, number: int) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self, *, seconds: float = 20.0) -> None:
        """End it as an operator does, and without patience if it does not listen."""
        self.signal(signal.SIGCONT)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=seconds)
        self.kill()


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
