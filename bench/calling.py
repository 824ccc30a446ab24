"""The process that triggers: it obeys orders on its standard input. Plain Python, so that every peer can use it.

    {"first": 7, "count": 100, "batch": 1}      the mails number 7 to 106, one call each
    "count"                                     how many mails are recorded as accepted

It answers with one line when it is prepared and then waits for an empty one, which starts the clock; with one when the
clock has started, and one when all calls have returned.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

Prepare = Callable[[int, int], Any]


class Act(Protocol):
    def __call__(self, prepared: Any, *, batch: int) -> None: ...


def numbers(first: int, count: int) -> range:
    return range(first, first + count)


def serve(act: Act, *, prepare: Prepare = numbers, accepted: Callable[[], int] | None = None) -> None:
    """Do what the orders say. What `prepare` makes of the numbers is made before the clock starts."""
    _say("ready")
    while line := sys.stdin.readline():
        order = json.loads(line)
        if order == "count":
            _say(accepted() if accepted else None)
            continue
        prepared = prepare(order["first"], order["count"])
        _say("prepared")
        sys.stdin.readline()
        _say(time.time())
        act(prepared, batch=order["batch"])
        _say(time.time())


def _say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
