"""Run several processes as one: start, restart what dies, stop all, leave none behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess  # nosec B404 # each call says why it is safe
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

STOP_SECONDS = 170.0  # a worker finishes the mail that it has in hand, which takes 160 at the very most
LONGEST_PAUSE = 30.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


class StartFailed(Exception):
    """A process ended before it ever ran properly."""


@dataclass
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    files: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0


@dataclass
class Supervisor:
    """Keeps its children running until SIGINT, SIGTERM or `stop()`."""

    say: Callable[[str], None]
    environment: Mapping[str, str]
    folder: Path
    children: list[Child] = field(default_factory=list)
    stopping: bool = False
    impatient: bool = False

    def start(self, name: str, command: Sequence[str], *, files: Sequence[int] = ()) -> None:
        """Start a child; it inherits the open `files` (descriptors), also when it is started again."""
        child = Child(name, command, files)
        self.children.append(child)
        self._spawn(child)

    def listen_for_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.impatient, self.stopping = self.stopping, True  # a second signal ends the waiting

    def _spawn(self, child: Child) -> None:
        # A session of its own: the terminal's Ctrl-C reaches us alone, and we stop the others in order.
        child.process = subprocess.Popen(  # noqa: S603 # nosec B603 # commands of our own
            child.command, env=dict(self.environment), start_new_session=True, preexec_fn=_end_with(os.getpid()),
            pass_fds=child.files, cwd=self.folder,
        )  # fmt: skip
        child.started_at = time.monotonic()

    def wait_until(self, ready: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait until `ready()`; raises StartFailed when a child dies or the time is over."""
        deadline = time.monotonic() + seconds
        while not (self.stopping or ready()):
            dead = next((child for child in self.children if child.process and child.process.poll() is not None), None)
            if dead:
                raise StartFailed(f"{dead.name} ended at once. Its last words are above.")
            if time.monotonic() > deadline:
                raise StartFailed(f"{what} did not answer within {seconds:.0f} seconds.")
            time.sleep(0.05)

    def run(self) -> None:
        """Watch the children until told to stop."""
        while not self.stopping:
            for child in self.children:
                self._look_after(child)
            time.sleep(0.2)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.restart_at:
                self._spawn(child)
        elif child.process.poll() is not None:
            child.failures = 1 if now - child.started_at > 60 else child.failures + 1
            pause = min(2.0 ** (child.failures - 1), LONGEST_PAUSE)
            self.say(f"{child.name} ended (exit code {child.process.returncode}), starting it again in {pause:.0f} s")
            child.process, child.restart_at = None, now + pause

    def stop(self) -> None:
        """End the children, and whatever they started; the first one last, since the others lean on it."""
        alive = [child.process for child in self.children if child.process]
        self.children.clear()
        deadline = time.monotonic() + STOP_SECONDS
        for group in (alive[1:], alive[:1]):
            for process in group:
                process.terminate()
            for process in group:
                self._end(process, deadline=deadline)

    def _end(self, process: subprocess.Popen[bytes], *, deadline: float) -> None:
        while process.poll() is None and time.monotonic() < deadline and not self.impatient:
            time.sleep(0.02)
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # its session: nothing of it may stay behind
    process.wait()


def _end_with(parent: int) -> Callable[[], None] | None:
    """Return what makes a child end when we are killed without a chance to stop it (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # we were killed in between
            os._exit(1)

    return arrange
