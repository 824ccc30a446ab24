"""A small discrete-event simulation: processes are generators, time passes only in `run`. It knows nothing of mail.

A process yields what it waits for: a step is told the process, and brings it back when that has happened.

    def customer(simulation, desk):
        yield simulation.sleep(3)
        yield desk.use(0.5)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

Step = Callable[["Process"], None]
Process = Generator[Step, None, None]


class Simulation:
    """The clock, and what lies ahead. What is due at the same moment happens in the order in which it was planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ahead: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._planned = 0

    def at(self, moment: float, act: Callable[[Any], None], argument: Any) -> None:
        self._planned += 1
        heappush(self._ahead, (moment, self._planned, act, argument))

    def start(self, process: Process) -> None:
        self.at(self.now, self.go_on, process)

    def go_on(self, process: Process) -> None:
        step = next(process, None)
        if step:
            step(process)

    def sleep(self, seconds: float) -> Step:
        return lambda process: self.at(self.now + seconds, self.go_on, process)

    def run(self, *, until: float = float("inf")) -> None:
        """Let time pass until nothing lies ahead, or until this moment."""
        while self._ahead and self._ahead[0][0] <= until:
            self.now, _, act, argument = heappop(self._ahead)
            act(argument)
        self.now = max(self.now, until) if until < float("inf") else self.now


class Places:
    """So many may be in at a time (cores, sessions, one writer); the others stand in a line."""

    def __init__(self, simulation: Simulation, count: int) -> None:
        self._simulation, self._free = simulation, count
        self._line: deque[tuple[Process, float | None]] = deque()
        self.busy = 0.0  # seconds of `use`, of all places together

    def enter(self) -> Step:
        """Stay until `leave`."""
        return lambda process: self._come(process, None)

    def use(self, seconds: float) -> Step:
        """Stay for so long."""
        return lambda process: self._come(process, seconds)

    def leave(self) -> None:
        self._free += 1
        if self._line:
            self._come(*self._line.popleft())

    def _come(self, process: Process, seconds: float | None) -> None:
        if not self._free:
            self._line.append((process, seconds))
            return
        self._free -= 1
        if seconds is None:
            self._simulation.at(self._simulation.now, self._simulation.go_on, process)
            return
        self.busy += seconds
        self._simulation.at(self._simulation.now + seconds, self._end, process)

    def _end(self, process: Process) -> None:
        self.leave()
        self._simulation.go_on(process)


class Log:
    """A log that is flushed to a disk: who commits meanwhile waits for the next flush, and shares it with others."""

    def __init__(self, simulation: Simulation, seconds: float) -> None:
        self._simulation, self._seconds = simulation, seconds
        self._flushed: list[Process] = []
        self._next: list[Process] = []
        self.flushes = 0

    def commit(self) -> Step:
        return self._come

    def _come(self, process: Process) -> None:
        self._next.append(process)
        if not self._flushed:
            self._begin()

    def _begin(self) -> None:
        self._flushed, self._next = self._next, []
        self.flushes += 1
        self._simulation.at(self._simulation.now + self._seconds, self._end, None)

    def _end(self, _: None) -> None:
        done, self._flushed = self._flushed, []
        for process in done:
            self._simulation.at(self._simulation.now, self._simulation.go_on, process)
        if self._next:
            self._begin()


class Bell:
    """Who waits at it is woken by the next ring, one by each. A ring that nobody hears is kept where `keeps`."""

    def __init__(self, simulation: Simulation, *, keeps: bool) -> None:
        self._simulation, self._keeps = simulation, keeps
        self._kept = 0
        self._waiting: deque[list[Process | None]] = deque()

    def ring(self) -> None:
        while self._waiting:
            process = self._taken(self._waiting.popleft())
            if process:
                self._simulation.at(self._simulation.now, self._simulation.go_on, process)
                return
        self._kept += self._keeps

    def wait(self, *, until: float = float("inf")) -> Step:
        """Wait for a ring, until this moment at the most."""
        return lambda process: self._come(process, until)

    def _come(self, process: Process, until: float) -> None:
        if self._kept:
            self._kept -= 1
            self._simulation.at(self._simulation.now, self._simulation.go_on, process)
            return
        one: list[Process | None] = [process]
        self._waiting.append(one)
        if until < float("inf"):
            self._simulation.at(max(until, self._simulation.now), self._give_up, one)

    def _give_up(self, one: list[Process | None]) -> None:
        if process := self._taken(one):
            self._simulation.go_on(process)

    @staticmethod
    def _taken(one: list[Process | None]) -> Process | None:
        """Return who waits, once: whoever was woken is neither woken again nor gives up."""
        process, one[0] = one[0], None
        return process
