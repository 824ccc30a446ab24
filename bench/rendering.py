"""What rendering one mail costs: `make bench-rendering`. One process, one core, the first example action.

Each mail is of another incident: only what stays the same from mail to mail can come out of a cache.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tests import goldens
from workflows import mime
from workflows.rendering import RenderedMail, render

T = TypeVar("T")
WARM_UP, MAILS = 50, 1000
TEMPLATE = goldens.example_action(0)


@dataclass
class Clock:
    """Microseconds on the wall and of the processor, of every time that something was done."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], T]) -> T:
        started, used = time.perf_counter_ns(), time.thread_time_ns()
        done = work()
        self.processor.append((time.thread_time_ns() - used) / 1000)
        self.wall.append((time.perf_counter_ns() - started) / 1000)
        return done

    def __add__(self, other: Clock) -> Clock:
        return Clock(
            [a + b for a, b in zip(self.wall, other.wall, strict=True)],
            [a + b for a, b in zip(self.processor, other.processor, strict=True)],
        )

    def row(self, name: str) -> str:
        wall, processor = (f"{statistics.median(one):9.0f} {quantile(one):9.0f}" for one in (self.wall, self.processor))
        return f"{name:24}{wall}   {processor}\n"


def quantile(values: list[float]) -> float:
    """Return the value that 95 of 100 do not exceed."""
    return sorted(values)[int(len(values) * 0.95)] if len(values) > 1 else values[0]


def variables(number: int) -> dict[str, object]:
    incident = goldens.INCIDENT["incident"] | {
        "name": f"Checkout fails for card payments in shop {number}",
        "summary": f"About **{number} %** of the payments fail.\n\n- Follow [it](https://status.example.com/{number})\n",
        "events": [one | {"event": f"{one['event']} ({number})"} for one in goldens.INCIDENT["incident"]["events"]],
    }
    return goldens.VARIABLES | {"incident": incident}


def main() -> None:
    first, rendering, writing = Clock(), Clock(), Clock()
    one_mail(0, first, Clock())
    for number in range(1, WARM_UP):
        one_mail(number, Clock(), Clock())
    for number in range(WARM_UP, WARM_UP + MAILS):
        one_mail(number, rendering, writing)
    head = f"{'µs a mail':24}{'wall':>9} {'p95':>9}   {'CPU':>9} {'p95':>9}\n"
    rows = [rendering.row("render"), writing.row("MIME"), (rendering + writing).row("both")]
    sys.stdout.write("".join([head, *rows, first.row("render, the first time")]))


def one_mail(number: int, rendering: Clock, writing: Clock) -> None:
    values = variables(number)
    mail = rendering.measure(lambda: render(TEMPLATE, values, now=goldens.NOW, site_url=goldens.SITE))
    writing.measure(lambda: written(mail, number))


def written(mail: RenderedMail, number: int) -> bytes:
    return mime.build(mail, message_id=f"<{number}@example.com>", date=goldens.NOW, delivery_id=str(number))


if __name__ == "__main__":
    main()
