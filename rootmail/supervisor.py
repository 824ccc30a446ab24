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

from . import ready

# So long a new process that does not tell that it is ready runs beside the old one: code of before tells nothing.
BESIDE_SECONDS = 60.0
STOP_SECONDS = 170.0  # a worker finishes the mail that it has in hand, which takes 160 at the very most
LONGEST_PAUSE = 30.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


class StartFailed(Exception):
    """A process ended before it ever ran properly."""


@dataclass
class Child:
    """One supervised process. `{start}` in its command is how often it was started: two may run side by side.

    `leaving` are those that a newer one replaces, and when each was told to end, 0 before.
    """

    name: str
    command: Sequence[str]
    files: Sequence[int] = ()
    replaceable: bool = True
    process: subprocess.Popen[bytes] | None = None
    ear: ready.Ear | None = None
    leaving: dict[subprocess.Popen[bytes], float] = field(default_factory=dict)
    starts: int = 0
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0

    @property
    def is_ready(self) -> bool:
        return self.ear is not None and self.ear.heard()


@dataclass
class Supervisor:
    """Keeps its children running until SIGINT, SIGTERM or `stop()`."""

    say: Callable[[str], None]
    environment: Mapping[str, str]
    folder: Path
    children: list[Child] = field(default_factory=list)
    stopping: bool = False
    impatient: bool = False
    replacing: bool = False

    def start(self, name: str, command: Sequence[str], *, files: Sequence[int] = (), replaceable: bool = True) -> None:
        """Start a child; it inherits the open `files` (descriptors), also when it is started again."""
        child = Child(name, command, files, replaceable)
        self.children.append(child)
        self._spawn(child)

    def listen_for_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if not os.isatty(0):  # there it says that the terminal is gone
            signal.signal(signal.SIGHUP, self._on_hangup)

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        self.replacing = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.impatient, self.stopping = self.stopping, True  # a second signal ends the waiting

    def _spawn(self, child: Child) -> None:
        # A session of its own: the terminal's Ctrl-C reaches us alone, and we stop the others in order.
        child.starts += 1
        command = [word.replace("{start}", str(child.starts)) for word in child.command]
        if child.ear:
            child.ear.close()
        child.ear = ready.Ear()
        with child.ear.theirs as theirs:
            child.process = subprocess.Popen(  # noqa: S603 # nosec B603 # commands of our own
                command, env={**self.environment, ready.NAME: str(theirs.fileno())}, cwd=self.folder,
                start_new_session=True, preexec_fn=_end_with(os.getpid()), pass_fds=[*child.files, theirs.fileno()],
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
            if self.replacing:
                self.replacing = False
                self._replace_all()
            for child in self.children:
                self._look_after(child)
                self._see_off(child)
            time.sleep(0.2)

    def _replace_all(self) -> None:
        """Start a new process beside each; the broker stays, since it holds nothing of ours that could be new."""
        for child in self.children:
            if child.process and child.replaceable:
                self.say(f"{child.name}: a new one starts beside it")
                child.leaving[child.process] = 0.0
                self._spawn(child)

    def _see_off(self, child: Child) -> None:
        """End what was replaced, once the new one can do its work: a broken one replaces nothing."""
        now = time.monotonic()
        proven = child.process is not None and (child.is_ready or now - child.started_at > BESIDE_SECONDS)
        for process, told_at in list(child.leaving.items()):
            if process.poll() is not None or (told_at and now - told_at > STOP_SECONDS):
                _kill(process)  # and what it may have left behind
                del child.leaving[process]
            elif proven and not told_at:
                says = "is ready" if child.is_ready else f"has run for {BESIDE_SECONDS:.0f} s without a word"
                self.say(f"{child.name}: the new one {says}, the old one is told to end")
                process.terminate()  # once: a second signal would not let it finish the mail in hand
                child.leaving[process] = now

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
        first, others = self.children[:1], self.children[1:]
        groups = [[one for child in some for one in (child.process, *child.leaving) if one] for some in (others, first)]
        self.children.clear()
        deadline = time.monotonic() + STOP_SECONDS
        for group in groups:
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
