"""One clock for every machine: the database's.

A worker or a web server whose own clock is wrong neither ends a mail before its deadline nor takes over a lease that is
alive. SQLite belongs to one machine, whose clock it has.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import Error as DatabaseTrouble
from django.db import connection
from django.utils import timezone

GOOD_FOR = 10.0  # seconds for which a reading is carried on by a steady clock, which nobody can set
_read: tuple[datetime, float] | None = None


def now() -> datetime:
    """Return the database's time; that costs a query every ten seconds.

    A database that is away is believed for longer: who wants to write will hear of it. Raises its error where it was
    never read.
    """
    global _read
    if connection.vendor != "postgresql":
        return timezone.now()
    if _read is None:
        _read = _look()
    elif steady() - _read[1] > GOOD_FOR:
        with suppress(DatabaseTrouble):
            _read = _look()
    at, when = _read
    return at + timedelta(seconds=steady() - when)


def steady() -> float:
    """Return seconds of a clock that nobody sets; on Linux of one that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _look() -> tuple[datetime, float]:
    """Return when the server got our question, and when we asked it."""
    with connection.cursor() as cursor:
        asked = steady()
        cursor.execute("SELECT statement_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at, asked
