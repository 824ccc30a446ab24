"""Many mails: what the workers' memory does meanwhile, and how a backlog is drained."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from . import machine, tables
from .options import Options
from .ours import Rootmail
from .stage import Stage
from .trial import measure, say, wait_until_recorded, warm_up

BATCH = 100
PARTS = 10
MEMORY_TEXT = """\
Resident memory of each worker process of the pool, in megabytes, while {mails} mails go through the same two processes.
"""
BACKLOG_TEXT = """\
{mails} mails were triggered while no worker ran; then `manage.py up` started. Mails per second in each tenth of them,
from the first accepted mail on.
"""


@contextmanager
def installation(place: Stage, database: str) -> Iterator[Rootmail]:
    contender = Rootmail(place, database)
    try:
        yield contender
    finally:
        contender.close()


def memory(place: Stage, options: Options) -> str:
    measured = {}
    for database in place.databases:
        with installation(place, database) as contender, contender:
            warm_up(contender)
            measured[database] = _memory(contender, options.mails)
    parts = len(next(iter(measured.values())))
    head = ["mails", *(f"{database}, {one}" for database in measured for one in ("first", "second"))]
    lines = [
        [f"{part * options.mails // PARTS:,}", *(f"{size:.0f}" for found in measured.values() for size in found[part])]
        for part in range(parts)
    ]
    return f"### Memory\n\n{MEMORY_TEXT.format(mails=f'{options.mails:,}')}\n{tables.table(head, lines)}"


def _memory(contender: Rootmail, mails: int) -> list[list[float]]:
    """Return the megabytes of each pool process: before, and after each tenth of the mails."""
    found = [_megabytes(contender)]
    for part in range(PARTS):
        measure(contender, mails=mails // PARTS, batch=BATCH)
        found.append(_megabytes(contender))
        say(f"{contender.database}, {(part + 1) * mails // PARTS:,} mails: {found[-1]} MB")
    return found


def _megabytes(contender: Rootmail) -> list[float]:
    """Celery's main process is the parent of the pool's processes, and the only worker whose parent is `up`."""
    pids = machine.tree(*contender.worker_pids())
    workers = sorted(pid for pid in pids if " worker " in machine.command_line(pid))
    return [machine.resident_bytes([pid]) / 2**20 for pid in workers[1:]]


def backlog(place: Stage, options: Options) -> str:
    measured = {}
    for database in place.databases:
        with installation(place, database) as contender:
            with contender:
                warm_up(contender)  # it is connected and has made its tables
            measured[database] = _drain(contender, options.mails * 2)
    head = ["database", *(f"tenth {part + 1}" for part in range(PARTS)), "all"]
    lines = [[database, *map(tables.number, rates)] for database, rates in measured.items()]
    return f"### A backlog\n\n{BACKLOG_TEXT.format(mails=f'{options.mails * 2:,}')}\n{tables.table(head, lines)}"


def _drain(contender: Rootmail, mails: int) -> list[float]:
    """Return the rates of each tenth, and of all; raises WrongMails unless each mail came once."""
    sink, (first, recorded) = contender.stage.sink, _pile_up(contender, mails)
    before = sink.count
    with contender:
        sink.wait_for(before + 1)
        times = [time.time()]
        for part in range(PARTS):
            times.append(sink.wait_for(before + (part + 1) * mails // PARTS))
            say(f"{contender.database}: {(part + 1) * mails // PARTS:,} drained")
        wait_until_recorded(contender, recorded, mails=mails)
    sink.check(contender.recipients(first, mails))
    return _rates(times, mails)


def _rates(times: Sequence[float], mails: int) -> list[float]:
    share = mails // PARTS
    rates = [share / (end - begin) for begin, end in pairwise(times)]
    return [*rates, mails / (times[-1] - times[0])]


def _pile_up(contender: Rootmail, mails: int) -> tuple[int, int]:
    """Trigger while nobody works; return the first number, and how many mails had been accepted before."""
    caller = contender.call("bench.trigger")
    try:
        recorded = caller.accepted() or 0
        first = contender.stage.next_numbers(mails)
        caller.prepare(first, mails, batch=BATCH)
        caller.begin()
        caller.finish()
    finally:
        caller.stop()
    os.sync()  # what waits has been on the disk for a while
    return first, recorded
