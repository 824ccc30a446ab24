"""How it grows: more workers, old deliveries in the database, many mails through the same processes, a backlog.

`--mails N` sets the size of everything: memory over N mails, a backlog of 2 N, a million old deliveries, or 50 N.
"""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

from tests.installation import ROOT

from . import endurance, tables
from .options import Options
from .ours import Rootmail
from .stage import Stage, stage
from .trial import Row, Trial, measure, say, warm_up

TITLE = "Growth"
WORKERS = (1, 2, 4)
OLD = (0, 10_000, 100_000, 1_000_000)
BATCH = 100
WORKERS_TEXT = """\
Throughput with {names} worker processes; {mails} mails each time, events in hundreds, medians of {rounds} times.
"""
OLD_TEXT = """\
Throughput with old deliveries in the database, each with its event, run, recipient and attempt; {mails} mails each
time, events in hundreds, medians of {rounds} times. 'x none' compares the rates, 'CPU x none' what a mail costs.
"""


def run(options: Options) -> str:
    parts = {
        "workers": more_workers, "old": old_deliveries, "memory": endurance.memory, "backlog": endurance.backlog,
    }  # fmt: skip
    wanted = options.only.split(",") if options.only else list(parts)
    told = []
    for name in wanted:
        with stage() as place:
            told.append(parts[name](place, options))
    return "\n".join(told)


def trials(contender: Rootmail, options: Options) -> Row:
    row = Row(contender, "hundreds", [])
    for _ in range(options.rounds):
        row.trials.append(measure(contender, mails=max(options.mails // 25, 1), batch=BATCH))
    return row


def more_workers(place: Stage, options: Options) -> str:
    lines = []
    for database in place.databases:
        for workers in WORKERS:
            row = _with_workers(place, database, workers, options)
            say(f"{database}, {workers} workers: {row.rate:.0f} mails/s")
            lines.append([database, str(workers), *tables.rates(row), *tables.processor(row)])
    head = ["database", "workers", "mails/s", "range", *tables.PROCESSOR_HEAD]
    names = ", ".join(map(str, WORKERS))
    text = WORKERS_TEXT.format(names=names, mails=f"{options.mails // 25:,}", rounds=options.rounds)
    return f"### More workers\n\n{text}\n{tables.table(head, lines)}"


def _with_workers(place: Stage, database: str, workers: int, options: Options) -> Row:
    contender = Rootmail(place, database, workers=workers)
    try:
        with contender:
            warm_up(contender)
            return trials(contender, options)
    finally:
        contender.close()


def old_deliveries(place: Stage, options: Options) -> str:
    lines = []
    for database in place.databases:
        contender = Rootmail(place, database)
        try:
            lines += _ageing(contender, options)
        finally:
            contender.close()
    head = ["database", "old deliveries", "mails/s", "range", "x none", "CPU x none", *tables.PROCESSOR_HEAD]
    text = OLD_TEXT.format(mails=f"{options.mails // 25:,}", rounds=options.rounds)
    return f"### Old deliveries\n\n{text}\n{tables.table(head, lines)}"


def _ageing(contender: Rootmail, options: Options) -> list[list[str]]:
    lines, there, none = [], 0, None
    for old in sorted({min(old, options.mails * 50) for old in OLD}):
        if old:  # while nobody works: SQLite's log would grow by all of it, and slow down who reads
            say(f"{contender.database}: filling up to {old:,} old deliveries")
            _fill(contender, there + 1, old)
        with contender:
            warm_up(contender)
            row = trials(contender, options)
        there, none = old, none or row
        say(f"{contender.database}, {old:,} old deliveries: {row.rate:.0f} mails/s")
        shares = [f"{row.rate / none.rate:.2f}", f"{_cost(row.trials) / _cost(none.trials):.2f}"]
        lines.append([contender.database, f"{old:,}", *tables.rates(row), *shares, *tables.processor(row)])
    return lines


def _cost(found: list[Trial]) -> float:
    return median(sum(trial.milliseconds.values()) for trial in found)


def _fill(contender: Rootmail, first: int, last: int) -> None:
    environment = contender.installation.environment
    subprocess.run([sys.executable, "-m", "bench.ageing", str(first), str(last)], cwd=ROOT, env=environment, check=True)
    os.sync()  # what is old has been on the disk for long: writing it is no part of the measurement
