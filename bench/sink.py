"""The SMTP server that takes all the mail: Postfix's smtp-sink where there is one, else `relay.py`.

Both write a running count to standard output and every mail to one file, which is read after the clock has stopped.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rootmail import state
from tests.lab_programs import Program

USER, PASSWORD = "bench", "a password for the bench"
_COUNT = re.compile(rb"mesg=(\d+)")
_RECIPIENT = re.compile(rb"^X-Rcpt-Args: <([^>]*)>", re.M)
_TAKEN = re.compile(rb"^X-Client-Addr: ", re.M)


class WrongMails(Exception):
    """The sink has not got exactly the mails that were triggered."""


def smtp_program(name: str) -> str | None:
    """Return smtp-sink or smtp-source, which belong to Postfix."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/libexec/postfix")


@dataclass
class Sink:
    """`secure`: STARTTLS and AUTH, which smtp-sink cannot do. `refuse`: an address to which it says no."""

    secure: bool = False
    own: bool = False
    refuse: str = ""
    patience: float = 30.0  # so long without a mail, and one is lost
    port: int = field(default_factory=state.free_port)

    def __enter__(self) -> Self:
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="rootmail-sink-", dir=memory if memory.is_dir() else None))
        self.ledger, self._counter, self._read = self.folder / "mails", self.folder / "count", 0
        program = None if self.secure or self.own or self.refuse else smtp_program("smtp-sink")
        self.name = "smtp-sink" if program else "aiosmtpd"
        command = self._smtp_sink(program) if program else self._relay()
        with self._counter.open("wb") as counter:
            environment, log = dict(os.environ), self.folder / "log"
            self._program = Program("sink", command, environment=environment, log=log, stdout=counter)
        self._wait_for_port()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._program.stop(seconds=2)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _smtp_sink(self, program: str) -> list[str]:
        user = ["-u", "root"] if os.geteuid() == 0 else []  # as root it wants to be told whom to become
        return [program, *user, "-c", "-D", str(self.ledger), f"inet:127.0.0.1:{self.port}", "1000"]

    def _relay(self) -> list[str]:
        options = ["--secure"] if self.secure else []
        options += ["--refuse", self.refuse] if self.refuse else []
        return [sys.executable, "-m", "bench.relay", str(self.port), str(self.folder), *options]

    def _wait_for_port(self) -> None:
        for _ in range(400):
            if not self._program.alive:
                raise WrongMails(f"The sink did not start: {self._program.output}")
            if not state.is_free(self.port):
                return
            time.sleep(0.025)
        raise WrongMails("The sink does not listen.")

    @property
    def authority(self) -> Path:
        """The certificates that vouch for a secure sink."""
        return self.folder / "ca.pem"

    @property
    def count(self) -> int:
        """Count the mails accepted so far."""
        with self._counter.open("rb") as file:
            with suppress(OSError):
                file.seek(-100, os.SEEK_END)
            found = _COUNT.findall(file.read())
        return int(found[-1]) if found else 0

    def wait_for(self, count: int, *, step: float = 0.004, watch: Callable[[], None] | None = None) -> float:
        """Return when the mail was accepted that made it so many; raises WrongMails where none comes any more.

        `watch` is called when none has come for a second, and may know why.
        """
        last, moved = self.count, time.monotonic()
        while last < count:
            time.sleep(step)
            if (now := self.count) != last:
                last, moved = now, time.monotonic()
            elif (idle := time.monotonic() - moved) > self.patience:
                raise WrongMails(f"{count - last} mails have not come, and none came for {self.patience:.0f} seconds.")
            elif idle > 1 and watch:
                watch()
        return time.time()

    def taken(self) -> tuple[list[str], int]:
        """Return the recipients of the mails since the last time, and how many bytes these mails had together."""
        content = self.ledger.read_bytes()[self._read :] if self.ledger.exists() else b""
        self._read += len(content)
        recipients = [one.decode() for one in _RECIPIENT.findall(content)]
        mails = _TAKEN.split(content)[1:]
        return recipients, sum(_size(mail) for mail in mails)

    def check(self, expected: Iterable[str]) -> int:
        """Say how many bytes came; raises WrongMails unless each of these recipients got one mail, and nobody else."""
        recipients, size = self.taken()
        wanted, came = Counter(expected), Counter(recipients)
        lost, extra = wanted - came, came - wanted
        if lost or extra:
            some = ", ".join([*lost, *extra][:5])
            raise WrongMails(f"{lost.total()} mails were lost, {extra.total()} came too often or for nobody: {some}.")
        return size


def _size(mail: bytes) -> int:
    """Count the bytes as they were on the wire, without what the sink put on top."""
    content = mail.partition(b"UTC)\n")[2].removesuffix(b"\n")
    return len(content) + content.count(b"\n")
