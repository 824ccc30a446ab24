"""What rootmail would do elsewhere: a simulation of its queue, with the costs that were measured here.

    python -m bench.queueing            print the tables of docs/scaling.md
    python -m bench.queueing --write    put them into the file

It is told what each step costs, never how many mails a second come out. Worker processes, doorbell and batches are
those of `workflows.shift`, `workflows.runs` and `workflows.delivery`. Left out: retries, several recipients of a mail,
pages that somebody looks at, autovacuum, and what the operating system does besides.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from .figures import CORES, SINK, Costs, Relay
from .simulation import Bell, Log, Places, Simulation, Step

BATCH = 50
SWEEP = 5.0  # seconds between two rings of beat
RING_EVERY, LOOK_ON, LONGEST, REST = 0.1, 0.2, 10.0, 0.05  # seconds
Work = Generator[Step, None, bool]
Steps = Generator[Step, None, None]


@dataclass(frozen=True, slots=True)
class Setup:
    """`server_cores` 0: the database server shares the cores; `sessions` 0: the relay allows any number."""

    costs: Costs
    workers: int = 2
    cores: int = CORES
    server_cores: int = 0
    relay: Relay = SINK
    sessions: int = 0
    web: int = 1  # processes, of which each rings by itself


@dataclass
class Session:
    left: int


@dataclass
class Site:
    """One installation at work. Queues hold the moments at which the events came."""

    setup: Setup
    simulation: Simulation = field(default_factory=Simulation)

    def __post_init__(self) -> None:
        setup, simulation = self.setup, self.simulation
        self.cores = Places(simulation, setup.cores)
        self.server = Places(simulation, setup.server_cores) if setup.server_cores else self.cores
        self.log = Log(simulation, setup.costs.flush / 1000)
        self.writer = Places(simulation, 1) if setup.costs.locked else None
        self.sessions = Places(simulation, setup.sessions) if setup.sessions else None
        self.calls, self.news = Bell(simulation, keeps=True), Bell(simulation, keeps=False)
        self.runs: deque[float] = deque()
        self.mails: deque[float] = deque()
        self.accepted: list[tuple[float, float]] = []  # when the event came, and when the relay had its mail
        self.working = 0.0  # seconds of all workers together
        self._rung = [-1.0] * setup.web
        self._look_until = 0.0
        for _ in range(setup.workers):
            simulation.start(self._worker())

    # Whoever tells

    def pile_up(self, mails: int) -> None:
        """Let these runs be due at once, and nobody ring but beat, for two minutes."""
        self.runs.extend([self.simulation.now] * mails)
        self.simulation.start(self.beat(until=120.0))

    def beat(self, *, until: float) -> Steps:
        while self.simulation.now < until:
            self.calls.ring()
            yield self.simulation.sleep(SWEEP)

    def call(self, mails: int, *, batch: int) -> Steps:
        """Trigger as the benchmark does: one process, so many events in a transaction."""
        began, costs = self.simulation.now, self.setup.costs
        for first in range(0, mails, batch):
            count = min(batch, mails - first)
            yield self.cores.use(count * (costs.caller if batch > 1 else costs.alone) / 1000)
            yield from self._commit(server=0.0 if batch > 1 else costs.event, locked=0.0)
            self._due([began] * count, web=0)

    def post(self, rate: float, *, seconds: float, seed: int) -> Steps:
        """Let events come at random over HTTP (Poisson), each for one mail."""
        source, number = random.Random(seed), 0
        while self.simulation.now < seconds:
            yield self.simulation.sleep(source.expovariate(rate))
            self.simulation.start(self._request(number % self.setup.web))
            number += 1

    def _request(self, web: int) -> Steps:
        came = self.simulation.now
        yield self.cores.use(self.setup.costs.web / 1000)
        yield from self._commit(server=self.setup.costs.event, locked=0.0)
        self._due([came], web=web)

    def _due(self, runs: Sequence[float], *, web: int) -> None:
        self.runs.extend(runs)
        self.news.ring()
        if self.simulation.now - self._rung[web] >= RING_EVERY:
            self._rung[web] = self.simulation.now
            self._look_until = self.simulation.now + LOOK_ON
            self.calls.ring()

    # Workers

    def _worker(self) -> Steps:
        session = Session(self.setup.relay.mails)  # the benchmark warms up
        while True:
            yield self.calls.wait()
            yield from self._shift(session)

    def _shift(self, session: Session) -> Steps:
        """Do as `workflows.shift.work` does."""
        began, until, called = self.simulation.now, self._look_until, False
        while True:
            looked = self.simulation.now
            more = yield from self._execute()
            if more and not called:
                self.calls.ring()
                called = True
            more = (yield from self._send(session)) or more
            if more and looked - began >= LONGEST:
                return self.calls.ring()
            if not more and looked >= until:
                return None
            if not more:
                yield self.simulation.sleep(min(self.simulation.now - looked, REST))
            if not more and not self.runs:
                yield self.news.wait(until=until)

    def _execute(self) -> Work:
        """Render a batch of runs and store their mails together; say whether there may be more."""
        batch, began, costs = _taken(self.runs), self.simulation.now, self.setup.costs
        for _ in batch:
            yield self.cores.use((costs.workers * costs.rendering - costs.locked / 2) / 1000)
        if batch:
            share = len(batch) * costs.storing
            yield from self._commit(server=share * costs.server, locked=len(batch) * costs.locked / 2)
        self.mails.extend(batch)
        self.working += self.simulation.now - began
        return len(batch) == BATCH

    def _send(self, session: Session) -> Work:
        """Send a batch, one mail after another; say whether there may be more."""
        batch, began = _taken(self.mails), self.simulation.now
        if batch and self.sessions:
            yield self.sessions.enter()
            session.left = 0  # where sessions are limited, each batch opens its own
        for place, came in enumerate(batch):
            yield from self._hand_over(came, session, follows=place > 0)
        if batch and self.sessions:
            self.sessions.leave()
        if batch:
            yield self.log.commit()  # what was noted is settled
        self.working += self.simulation.now - began
        return len(batch) == BATCH

    def _hand_over(self, came: float, session: Session, *, follows: bool) -> Steps:
        costs, relay = self.setup.costs, self.setup.relay
        yield self.cores.use((costs.workers * (1 - costs.rendering) - costs.locked / 2) / 1000)
        trips = relay.following if follows and session.left else relay.trips
        trips += 0 if session.left else relay.connecting
        session.left = (session.left or relay.mails) - 1
        if wait := relay.distance * trips + relay.own:
            yield self.simulation.sleep(wait / 1000)
        if relay.processor:
            yield self.cores.use(relay.processor / 1000)
        self.accepted.append((came, self.simulation.now))
        yield from self._commit(server=costs.server * (1 - costs.storing), locked=costs.locked / 2, flush=False)

    def _commit(self, *, server: float, locked: float, flush: bool = True) -> Steps:
        """Carry out a transaction; who waits for the disk meanwhile shares a flush of the log.

        SQLite has one writer at a time, and waits for the disk after its turn.
        """
        if self.writer:
            yield self.writer.enter()
        if server or locked:
            yield (self.server if server else self.cores).use((server or locked) / 1000)
        if self.writer:
            self.writer.leave()
        if flush:
            yield self.log.commit()


def _taken(queue: deque[float]) -> list[float]:
    return [queue.popleft() for _ in range(min(len(queue), BATCH))]


def throughput(setup: Setup, mails: int, *, batch: int = 100) -> float:
    """Return mails a second from the first call to the last accepted mail."""
    site = Site(setup)
    site.simulation.start(site.call(mails, batch=batch))
    site.simulation.run()
    return len(site.accepted) / site.accepted[-1][1]


def drained(setup: Setup, mails: int) -> float:
    """Return mails a second of a backlog that workers find when they start, from the first accepted mail on."""
    site = Site(setup)
    site.pile_up(mails)
    site.simulation.run()
    return len(site.accepted) / (site.accepted[-1][1] - site.accepted[0][1])


def waits(site: Site, *, since: float = 0.0) -> list[float]:
    """Return in ascending order how long mails took, of events that came after a moment."""
    return sorted(ended - came for came, ended in site.accepted if came >= since)


def main() -> None:
    from . import planning  # which asks this module

    made = {name: make() for name, make in planning.TABLES.items()}
    if "--write" in sys.argv[1:]:
        planning.write(made)
    sys.stdout.write("\n".join(made.values()))


if __name__ == "__main__":
    main()
