"""A relay 20 ms away, with STARTTLS and AUTH: round trips and sessions count, not processors."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rootmail import state
from tests.lab_programs import Program

from . import cast, tables
from .options import Options
from .sink import Sink
from .stage import SQLITE, stage
from .trial import Row, Trial, measure, say, warm_up

TITLE = "A relay 20 ms away"
TEXT = """\
A proxy delays each direction by 10 ms before a relay with STARTTLS, AUTH and PIPELINING (aiosmtpd). {mails} mails each
time, medians of {rounds} rounds in turns, on SQLite whoever has a database. 'Sessions' are those open at the same time,
at the most. 'Round trips a mail' are counted by the proxy over everything that was said, connecting and TLS included,
and so are 'connections a mail'. 'x a connection a mail' compares one session's rate with that of the plain Celery task.
"""
ROUND_TRIP = 20.0
WARM_UP = 10
OVERLAP = 0.01  # one that is just being closed is no session any more
PLAIN = "plain"


@dataclass(frozen=True)
class Travelled:
    """What the proxy saw of one trial."""

    trial: Trial
    sessions: int
    connections: int
    round_trips: float

    @property
    def for_session(self) -> float:
        return self.trial.rate / self.sessions

    @property
    def trips_a_mail(self) -> float:
        return self.round_trips / self.trial.mails


class Distance:
    """The proxy as a process."""

    def __init__(self, target: int, folder: Path) -> None:
        self.port, self._file = state.free_port(), folder / "connections"
        words = [str(self.port), str(target), str(ROUND_TRIP), str(self._file)]
        command = [sys.executable, "-m", "bench.proxy", *words]
        self.program = Program("proxy", command, environment=dict(os.environ), log=folder / "proxy.log")
        while not self._file.exists():
            time.sleep(0.02)

    def connections(self) -> list[list[float]]:
        """Return of each connection when it was opened and closed, and its round trips so far."""
        time.sleep(0.2)  # it writes every now and then
        told: list[list[float]] = json.loads(self._file.read_text())
        return told


@contextmanager
def distance(sink: Sink) -> Iterator[Distance]:
    proxy = Distance(sink.port, sink.folder)
    try:
        yield proxy
    finally:
        proxy.program.stop(seconds=2)


def run(options: Options) -> str:
    with Sink(secure=True) as sink, distance(sink) as proxy, stage(sink, port=proxy.port) as place:
        makers = cast.ours(place, [SQLITE]) | cast.peers(place, [SQLITE]) | cast.floors(place)
        with cast.rows(makers, only=options.only, ways=["single"]) as rows:
            seen: dict[str, list[Travelled]] = {row.key: [] for row in rows}
            for number in range(1, options.rounds + 1):
                for row in rows:
                    seen[row.key].append(_travel(row, proxy, mails=options.mails))
                    say(f"round {number}: {row.key:28} {seen[row.key][-1].trial.rate:7.1f} mails/s")
        text = TEXT.format(mails=options.mails, rounds=options.rounds)
        return f"{text}\n{_table(rows, seen)}"


def _travel(row: Row, proxy: Distance, *, mails: int) -> Travelled:
    with row.contender:
        warm_up(row.contender, mails=WARM_UP)
        before, began = proxy.connections(), time.time()
        trial = measure(row.contender, mails=mails)
        after = proxy.connections()
    trips = sum(one[2] for one in after) - sum(one[2] for one in before)
    return Travelled(trial, _most_at_once(after, since=began), len(after) - len(before), trips)


def _most_at_once(connections: Sequence[Sequence[float]], *, since: float) -> int:
    """Return how many connections were open at the same time, at the most, since then."""
    alive = [(opened, closed or float("inf")) for opened, closed, _ in connections if not closed or closed > since]
    return max((sum(a <= opened < b - OVERLAP for a, b in alive) for opened, _ in alive), default=1)


def _table(rows: Sequence[Row], seen: dict[str, list[Travelled]]) -> str:
    plain = median(one.for_session for one in seen[PLAIN]) if seen.get(PLAIN) else None
    head = ["", "mails/s", "a process", "sessions", "a session", "round trips a mail", "connections a mail"]
    return tables.table([*head, "x a connection a mail"], [_line(row, seen[row.key], plain) for row in rows])


def _line(row: Row, found: Sequence[Travelled], plain: float | None) -> list[str]:
    session, rate = median(one.for_session for one in found), median(one.trial.rate for one in found)
    return [
        row.contender.label, tables.number(rate), tables.number(rate / row.contender.processes),
        str(max(one.sessions for one in found)), tables.number(session),
        f"{median(one.trips_a_mail for one in found):.2f}",
        f"{median(one.connections / one.trial.mails for one in found):.2f}",
        f"{session / plain:.1f}" if plain else "–",
    ]  # fmt: skip
