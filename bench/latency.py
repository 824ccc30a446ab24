"""Latency at rest: from one trigger to its accepted mail, while nothing else is going on."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from math import ceil

from . import cast, tables
from .options import Options
from .stage import Contender, stage
from .trial import Row, say, warm_up

TITLE = "Latency at rest"
TEXT = """\
{mails} single events, from the call that triggers to the sink's acceptance of the mail, in milliseconds. The contenders
take turns: each rests for {rest:.0f} ms at least between two of its events. The clock is read every half a millisecond.
"""
PEER = "plain"
PAUSE = (0.1, 0.18)  # seconds between one event and the next of somebody else
STEP = 0.0005


def run(options: Options) -> str:
    with stage() as place:
        makers = cast.ours(place, place.databases) | {PEER: cast.peers(place, place.databases)[PEER]}
        with cast.rows(makers, only=options.only, ways=["single"]) as rows, ExitStack() as running:
            for row in rows:
                running.enter_context(row.contender)
                warm_up(row.contender)
            waits = _take_turns(rows, options.mails)
        rest = PAUSE[0] * 1000 * len(rows)
        return f"{TEXT.format(mails=options.mails, rest=rest)}\n{_table(rows, waits)}"


def _take_turns(rows: Sequence[Row], events: int) -> dict[str, list[float]]:
    waits: dict[str, list[float]] = {row.key: [] for row in rows}
    for number in range(events):
        for row in rows:
            time.sleep(random.uniform(*PAUSE))
            waits[row.key].append(_once(row.contender))
        if number % 100 == 99:
            say(f"{number + 1} events")
    return waits


def _once(contender: Contender) -> float:
    """Return how many milliseconds one mail took; raises WrongMails where another one came."""
    sink, caller = contender.stage.sink, contender.caller
    assert caller
    first, before = contender.stage.next_numbers(1), sink.count
    caller.prepare(first, 1)
    began = caller.begin()
    ended = sink.wait_for(before + 1, step=STEP)
    caller.finish()
    sink.check(contender.recipients(first, 1))
    return (ended - began) * 1000


def _table(rows: Sequence[Row], waits: dict[str, list[float]]) -> str:
    peer = next((quantile(waits[row.key], 0.5) for row in rows if row.key == PEER), None)
    lines = []
    for row in rows:
        values = [quantile(waits[row.key], part) for part in (0.5, 0.95, 0.99, 1.0)]
        ratios = [f"{value / peer:.2f}" if peer else "–" for value in (values[0], values[2])]
        lines.append([row.contender.label, row.contender.database or "none", *map(tables.number, values), *ratios])
    head = ["", "database", "p50", "p95", "p99", "longest", "p50 x its p50", "p99 x its p50"]
    return f"{tables.table(head, lines)}\n'Its p50' is that of the plain Celery task.\n"


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that this part of them does not exceed."""
    return sorted(values)[max(ceil(len(values) * part) - 1, 0)]
