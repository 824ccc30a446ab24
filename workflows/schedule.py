"""Durations as people write them. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600}
_UNITS |= {"d": 86400, "day": 86400, "w": 604800, "week": 604800, "month": 2592000}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)[\s,]*(?:and\s+)?")
EXAMPLES = "30 seconds, 5 mins, 1h, 2h 30min, 2 weeks"
LONGEST = timedelta(days=366)
# As the public API writes them; the numbers are those of `date.weekday()`.
DAYS = {"S": 6, "M": 0, "T": 1, "W": 2, "R": 3, "F": 4, "U": 5}
LETTERS = "S Sunday, M Monday, T Tuesday, W Wednesday, R Thursday, F Friday, U Saturday"


def parse_duration(text: str) -> timedelta:
    """Return the length of '2h 30min'; ValueError, with examples, on anything else."""
    rest = text.strip().lower()
    total = timedelta()
    while rest:
        match = _PART.match(rest)
        unit = match and (_UNITS.get(match[2]) or _UNITS.get(match[2].removesuffix("s")))
        if not match or not unit:
            raise ValueError(f"'{text}' is not a duration. Write for example: {EXAMPLES}.")
        total += timedelta(seconds=min(float(match[1]) * unit, 10 * LONGEST.total_seconds()))
        rest = rest[match.end() :]
    return total
