"""Durations as people write them, and when something that repeats is due next. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hr": 3600, "hour": 3600}
_UNITS |= {"d": 86400, "day": 86400, "w": 604800, "week": 604800, "month": 2592000, "year": 31536000}
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


DAY = timedelta(days=1)
MOVED_BACK = 8  # so many steps before now the search begins: a day of the week moves a time by six days at the most


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How something repeats. `days` are numbers as of `date.weekday()`; none: every day."""

    every: timedelta
    days: frozenset[int]
    zone: ZoneInfo


def rhythm(every: str, days: Collection[str], zone: str) -> Rhythm | None:
    """Return how a workflow repeats, or None where it does not. Days alone mean once on each of them."""
    if not every and not days:
        return None
    length = parse_duration(every) if every else DAY
    return Rhythm(length, frozenset(DAYS[letter] for letter in days), ZoneInfo(zone))


def next_time(rhythm: Rhythm, *, first: datetime, now: datetime) -> datetime:
    """Return the next moment after `now`, counted from the first one; what was missed meanwhile is left out.

    Whole days keep the time on the clock of the zone when it changes; a time that this clock leaves out is moved on by
    what it leaves out. Hours and minutes are hours and minutes. Where a day of the week is not allowed, a rhythm of
    days moves on to the next day that is, and a quicker one leaves that moment out.
    """
    first, now = first.astimezone(UTC), now.astimezone(UTC)
    step = max(1, (now - first) // rhythm.every - MOVED_BACK)
    while True:
        moment = _on_an_allowed_day(_after(first, step, rhythm), rhythm)
        if moment and moment.astimezone(UTC) > now:
            return moment.astimezone(UTC)
        step += 1


def _after(first: datetime, steps: int, rhythm: Rhythm) -> datetime:
    if rhythm.every % DAY:
        return (first + rhythm.every * steps).astimezone(rhythm.zone)
    return first.astimezone(rhythm.zone) + rhythm.every * steps  # Python counts on the clock within one zone


def _on_an_allowed_day(moment: datetime, rhythm: Rhythm) -> datetime | None:
    if not rhythm.days or moment.weekday() in rhythm.days:
        return moment
    if rhythm.every < DAY:
        return None
    return next(day for day in (moment + DAY * n for n in range(1, 7)) if day.weekday() in rhythm.days)
