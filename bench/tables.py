"""Tables as Markdown that is aligned, so that it reads well on a terminal, too."""

from __future__ import annotations

from collections.abc import Sequence

from .cast import database_of, fastest_peer, floor
from .trial import Row

WAYS = {"single": ", one event a transaction", "hundreds": ", events in hundreds", "": ""}
PARTS = ("caller", "workers", "broker", "PostgreSQL")


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    widths = [max(len(line[column]) for line in (head, *lines)) for column in range(len(head))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join("| " + " | ".join(_aligned(line, widths)) + " |" for line in (head, rule, *lines)) + "\n"


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]


def name(row: Row) -> str:
    return f"{row.contender.label}{WAYS[row.way]}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def rates(row: Row) -> list[str]:
    """Return the median rate and its range."""
    return [number(row.rate), f"{number(min(row.rates))}–{number(max(row.rates))}"]


def ratio(row: Row, other: Row | None) -> str:
    return f"{row.rate / other.rate:.2f}" if other else "–"


def processor(row: Row) -> list[str]:
    """Return the processor milliseconds for one mail: of all together, and of each part."""
    used = row.processor()
    return [f"{sum(used.values()):.2f}", *(f"{used[part]:.2f}" for part in PARTS)]


PROCESSOR_HEAD = ["CPU ms a mail", *PARTS]


def compared(rows: Sequence[Row]) -> str:
    """Return the table of a whole comparison: rates, ratios, what it costs."""
    head = ["", "database", "mails/s", "range", "x fastest peer", "x smtplib", *PROCESSOR_HEAD, "bytes"]
    lines = [
        [
            name(row), row.contender.database or "none", *rates(row),
            ratio(row, fastest_peer(rows, database=database_of(row))), ratio(row, floor(rows)),
            *processor(row), number(row.trials[-1].size),
        ]
        for row in rows
    ]  # fmt: skip
    return table(head, lines)
