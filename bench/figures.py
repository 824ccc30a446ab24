"""The figures that the simulation and docs/scaling.md are computed from: all of them stand here.

Put in the new ones after a measurement of everything, then `python -m bench.queueing --write`. Tables are those of
docs/benchmarks.md as of commit eec2439: all but growth were measured anew since, on a quicker machine, and figures of
one machine belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

from .stage import POSTGRESQL, SQLITE

CORES = 2  # of the machine that was measured
THREADS = 4  # of a web process: gunicorn's in `manage.py up`, the units and compose.yaml; each keeps a connection


@dataclass(frozen=True, slots=True)
class Costs:
    """What one mail costs on one database, in processor milliseconds unless said."""

    database: str
    caller: float  # table More workers, 2 workers: column caller
    alone: float  # table Throughput, rootmail, one event a transaction: column caller
    workers: float  # table More workers, 2 workers: column workers
    server: float  # the same row: column PostgreSQL
    web: float  # table of events over HTTP: column workers, less `workers`
    event: float  # table Throughput: column PostgreSQL, one event a transaction, less events in hundreds
    flush: (
        float  # milliseconds, no processor time: one row committed durably, less the same without waiting for the disk
    )
    locked: float = 0.0  # the part of `workers` within SQLite's write lock
    # Shares of `workers` and `server` that a run takes, its mail the rest: measured once, phase by phase.
    rendering: float = 0.42
    storing: float = 0.15


@dataclass(frozen=True, slots=True)
class Relay:
    """Milliseconds. `own`: until it has taken a mail, besides the way there; `processor`: what it uses of our cores."""

    distance: float = 0.0
    own: float = 0.0
    processor: float = 0.0
    trips: int = 2  # with PIPELINING: MAIL, RCPT and DATA together, then the mail
    following: int = 1  # for a mail that follows another of its batch: its envelope left behind that one's content
    connecting: int = 7  # round trips: TCP and greeting 2, EHLO, STARTTLS, TLS, EHLO, AUTH
    mails: int = 100  # of one session (pool of integrations/transports)

    @property
    def wait(self) -> float:
        """How long a session waits for a mail that comes alone, its share of connecting included."""
        return self.distance * (self.trips + self.connecting / self.mails) + self.own


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured, in mails a second: with `way` 'hundreds', 'backlog', or 'session' of a distant relay.

    Not `is_met`: the simulation is known to be off there; docs/scaling.md says why.
    """

    database: str
    workers: int
    way: str
    measured: float | None = None  # None: not yet
    is_met: bool = True


# Guessed: locked, and what a relay 20 ms away takes for itself (AWAY).
COSTS = {
    SQLITE: Costs(
        SQLITE, caller=0.10, alone=0.64, workers=1.27, server=0.0, web=3.58, event=0.0, flush=0.15, locked=0.26
    ),
    POSTGRESQL: Costs(POSTGRESQL, caller=0.16, alone=0.47, workers=1.29, server=0.58, web=4.18, event=0.35, flush=0.11),
}
SINK = Relay(processor=0.14)  # smtp-sink on the same machine: 16 % of a core at 1,160 mails a second
AWAY = Relay(distance=20.0, own=4.0)  # two round trips took 44 ms on another machine
POINTS = (
    Point(SQLITE, 1, "hundreds", 683),  # table More workers
    Point(SQLITE, 2, "hundreds", 1_104),
    Point(SQLITE, 4, "hundreds", 942, is_met=False),
    Point(POSTGRESQL, 1, "hundreds", 464),
    Point(POSTGRESQL, 2, "hundreds", 829),
    Point(POSTGRESQL, 4, "hundreds", 813),
    Point(SQLITE, 2, "session", 26.5),  # table A relay 20 ms away: column a session
    Point(SQLITE, 2, "backlog", 1_237),  # table A backlog: column all
    Point(POSTGRESQL, 2, "backlog", 919),
)


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes of one mail to one person on PostgreSQL, with its event, run, recipient and attempt. Measured once."""

    log: float = 11_600  # written to the WAL until it is accepted
    log_later: float = 2_040  # when its body is erased, and when its rows are deleted
    whole: float = 7_100  # on disk, with indexes, until its body is erased
    erased: float = 2_400  # on disk afterwards, as `VACUUM FULL` leaves it
    commits: float = 1.1  # that wait for the disk: the event's, and its part of storing and settling a batch
    erasing: float = 0.25  # milliseconds of the purge, its pauses included
    deleting: float = 1.3


STORED = Stored()
PURGE_SHARE = 60 / 120  # of the time: one minute at the most, every other minute (workflows/retention.py, settings)
KEEP_BODIES, KEEP_ROWS = 30, 400  # days: the defaults of KEEP_BODIES_DAYS and KEEP_DELIVERIES_DAYS

# Assumptions of the plan: guesses, to be replaced by one's own.
DAYS = (1_000_000, 10_000_000, 100_000_000)  # mails a day
PEAK = 5  # the busiest hour beside the average one
BUSY = 0.7  # how much of workers and cores may be in use in the busiest hour
MACHINE = 8  # cores of one
AT_ONCE = 5_000  # people whom one incident tells
RELAYS = {"20 ms away": Relay(distance=20.0, own=30.0), "in the same network": Relay(distance=0.5, own=5.0)}
