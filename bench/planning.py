"""The tables of docs/scaling.md: what was measured beside what is simulated, and what so many mails a day need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from tests.installation import ROOT

from . import figures
from .figures import AT_ONCE, AWAY, BUSY, COSTS, PEAK, RELAYS, SINK, STORED, Point, Relay
from .latency import quantile
from .queueing import Setup, Site, drained, throughput, waits
from .stage import POSTGRESQL
from .tables import number, table

FILE = ROOT / "docs" / "scaling.md"
END = "<!-- end of table -->\n"
DAY, HOUR = 86_400, 3_600
SEED = 1
MAILS, DISTANT = 1_500, 120  # of a point, as in the benchmark
LONGEST, MOST = 10.0, 15_000  # seconds, and mails, of the busiest hour that are simulated; the second half counts
COST = COSTS[POSTGRESQL]
WAYS = {
    "hundreds": "events in hundreds, relay on the same machine",
    "backlog": "a backlog, relay on the same machine",
    "session": "a session to a relay 20 ms away",
}


def simulated(point: Point) -> float:
    """Return mails a second: of all workers together, or of one session where that was measured."""
    setup = Setup(COSTS[point.database], workers=point.workers)
    if point.way == "backlog":
        return drained(setup, MAILS)
    if point.way == "session":
        return throughput(replace(setup, relay=AWAY), DISTANT, batch=1) / point.workers
    return throughput(setup, MAILS)


def measured() -> str:
    lines = []
    for point in figures.POINTS:
        found, known = simulated(point), point.measured
        beside = [number(known), f"{found / known - 1:+.0%}"] if known else ["–", "–"]
        what = f"{point.database}, {point.workers} worker{'s'[: point.workers > 1]}: {WAYS[point.way]}"
        lines.append([what, beside[0], number(found), beside[1]])
    return table(["mails a second", "measured", "simulated", "difference"], lines)


@dataclass(frozen=True, slots=True)
class Plan:
    """What so many mails a day need on PostgreSQL, each of an event of its own over HTTP. Seconds, a second."""

    mails: int
    relay: Relay = SINK

    @property
    def average(self) -> float:
        return self.mails / DAY

    @property
    def peak(self) -> float:
        return self.average * PEAK

    @property
    def web(self) -> int:
        return ceil(self.peak * (COST.web + COST.event + COST.flush) / 1000 / BUSY)

    @property
    def cores(self) -> int:
        return ceil(self.peak * (COST.web + COST.workers) / 1000 / BUSY)

    @property
    def server_cores(self) -> int:
        return ceil(self.peak * (COST.event + COST.server) / 1000 / BUSY)

    @property
    def seconds_a_mail(self) -> float:
        """How long one mail keeps a worker process, and its session."""
        return (COST.workers + COST.server + self.relay.wait) / 1000

    @property
    def workers(self) -> int:
        return ceil(self.peak * self.seconds_a_mail / BUSY)

    @property
    def connections(self) -> int:
        """To PostgreSQL: one for each worker process, and for each thread of a web process."""
        return self.workers + self.web * figures.THREADS

    @property
    def capacity(self) -> float:
        return self.workers / self.seconds_a_mail

    @property
    def setup(self) -> Setup:
        return Setup(COST, self.workers, self.cores, self.server_cores, self.relay, web=self.web)

    def drained(self, rate: float) -> float:
        """Return in how many seconds an outage of an hour at the peak is made up for, while mail comes at a rate."""
        return self.peak * HOUR / (self.capacity - rate)

    def busiest(self) -> list[float]:
        """Simulate a part of the busiest hour; return how long mails took."""
        site, seconds = Site(self.setup), min(LONGEST, MOST / self.peak)
        site.simulation.start(site.post(self.peak, seconds=seconds, seed=SEED))
        site.simulation.run()
        return waits(site, since=seconds / 2)

    def at_once(self) -> float:
        """Simulate an incident that tells many people; return when the last one's mail was accepted."""
        site = Site(self.setup)
        site.pile_up(AT_ONCE)
        site.simulation.run()
        return waits(site)[-1]


def machines() -> str:
    head = ["mails a day", "average a second", f"peak ({PEAK}x)", "web processes", "cores for web and workers"]
    head += [f"machines of {figures.MACHINE} cores", "cores for PostgreSQL"]
    return table(head, [_machines(Plan(mails)) for mails in figures.DAYS])


def _machines(plan: Plan) -> list[str]:
    counts = (plan.web, plan.cores, ceil(plan.cores / figures.MACHINE), plan.server_cores)
    return [_count(plan.mails), number(plan.average), number(plan.peak), *map(_count, counts)]


def sessions() -> str:
    head = ["relay", "mails a day", "ms a mail", "workers = sessions", "in use", "half within", "99 % within"]
    head += [f"{_count(AT_ONCE)} at once", "an hour made up for", "at the peak"]
    return table(head, [_sessions(name, Plan(mails, RELAYS[name])) for name in RELAYS for mails in figures.DAYS])


def _sessions(name: str, plan: Plan) -> list[str]:
    took = plan.busiest()
    return [
        name, _count(plan.mails), number(plan.seconds_a_mail * 1000), _count(plan.workers),
        f"{plan.peak / plan.capacity:.0%}", *(f"{quantile(took, part):.2f} s" for part in (0.5, 0.99)),
        f"{plan.at_once():.0f} s", *(f"{plan.drained(rate) / 60:.0f} min" for rate in (plan.average, plan.peak)),
    ]  # fmt: skip


def database() -> str:
    head = ["mails a day", "commits a second", "WAL MB a second", "WAL GB a day", "TB kept", "TB kept, 7 and 90 days"]
    head += ["purge in use", *(f"connections, relay {name}" for name in RELAYS)]
    return table(head, [_database(Plan(mails)) for mails in figures.DAYS])


def _database(plan: Plan) -> list[str]:
    log = STORED.log + STORED.log_later
    connections = [_count(replace(plan, relay=relay).connections) for relay in RELAYS.values()]
    return [
        _count(plan.mails), number(plan.peak * STORED.commits), number(plan.peak * STORED.log / 1e6),
        number(plan.mails * log / 1e9), _terabytes(plan, figures.KEEP_BODIES, figures.KEEP_ROWS),
        _terabytes(plan, 7, 90), f"{plan.mails / purged_a_day():.0%}", *connections,
    ]  # fmt: skip


def _terabytes(plan: Plan, bodies: int, rows: int) -> str:
    return number(plan.mails * (bodies * STORED.whole + (rows - bodies) * STORED.erased) / 1e12)


def purged_a_day() -> float:
    """Return how many mails the purge can erase and later delete in a day."""
    return DAY * figures.PURGE_SHARE * 1000 / (STORED.erasing + STORED.deleting)


def arithmetic() -> str:
    """Return the formulas with the numbers of the smallest plan and the distant relay."""
    name, relay = next(iter(RELAYS.items()))
    plan = Plan(figures.DAYS[0], relay)
    lines = [
        ["average", "mails a day / 86,400", f"{_count(plan.mails)} / 86,400", f"{plan.average:.1f} a second"],
        ["peak", "average x peak factor", f"{plan.average:.1f} x {PEAK}", f"{plan.peak:.0f} a second"],
        _line_of_cores("web processes", plan, {"web": COST.web, "event": COST.event, "flush": COST.flush}),
        _line_of_cores("cores for web and workers", plan, {"web": COST.web, "workers": COST.workers}),
        _line_of_cores("cores for PostgreSQL", plan, {"event": COST.event, "server": COST.server}),
        [f"ms a mail, relay {name}", "workers + server + relay", _parts(plan), _milliseconds(plan)],
        ["workers = sessions", "peak x seconds a mail / busy", _workers(plan), f"{_used(plan)}, so {plan.workers}"],
        ["WAL", "peak x bytes a mail", f"{plan.peak:.0f} x {_count(STORED.log)}", _megabytes(plan)],
        ["disk", "mails a day x (days x bytes, both)", _kept(), f"{_terabytes(plan, *_days())} TB"],
        ["purge", "86,400 s x share / ms a mail", _purge(), f"{purged_a_day() / 1e6:.1f} million a day"],
    ]
    return table(["what", "formula", "with our numbers", "result"], lines)


def _line_of_cores(what: str, plan: Plan, parts: dict[str, float]) -> list[str]:
    sum_of, values = " + ".join(parts), " + ".join(f"{value:g}" for value in parts.values())
    used = plan.peak * sum(parts.values()) / 1000 / BUSY
    formula = f"peak x ({sum_of}) / 1000 / busy"
    return [what, formula, f"{plan.peak:.0f} x ({values}) / 1000 / {BUSY}", f"{used:.2f}, so {ceil(used)}"]


def _parts(plan: Plan) -> str:
    return f"{COST.workers:g} + {COST.server:g} + {plan.relay.wait:.1f}"


def _milliseconds(plan: Plan) -> str:
    return f"{plan.seconds_a_mail * 1000:.1f}"


def _workers(plan: Plan) -> str:
    return f"{plan.peak:.0f} x {plan.seconds_a_mail:.3f} / {BUSY}"


def _used(plan: Plan) -> str:
    return f"{plan.peak * plan.seconds_a_mail / BUSY:.1f}"


def _megabytes(plan: Plan) -> str:
    return f"{plan.peak * STORED.log / 1e6:.1f} MB a second"


def _days() -> tuple[int, int]:
    return figures.KEEP_BODIES, figures.KEEP_ROWS


def _kept() -> str:
    bodies, rows = _days()
    parts = f"{bodies} x {_count(STORED.whole)} + {rows - bodies} x {_count(STORED.erased)}"
    return f"{_count(figures.DAYS[0])} x ({parts})"


def _purge() -> str:
    return f"86,400 x {figures.PURGE_SHARE:g} / ({STORED.erasing} + {STORED.deleting})"


def _count(value: float) -> str:
    return f"{value:,.0f}"


TABLES = {
    "measured": measured, "arithmetic": arithmetic, "machines": machines, "sessions": sessions, "database": database,
}  # fmt: skip


def filled(document: str, made: dict[str, str]) -> str:
    """Return the document with these tables between their marks; raises ValueError where one has no place."""
    for name, text in made.items():
        before, mark, rest = document.partition(f"<!-- table: {name} -->\n")
        _, end, after = rest.partition(END)
        if not mark or not end:
            raise ValueError(f"docs/scaling.md has no place for the table '{name}'.")
        document = f"{before}{mark}\n{text}\n{end}{after}"
    return document


def write(made: dict[str, str]) -> None:
    FILE.write_text(filled(FILE.read_text(), made))
