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

GOOD_FOR = 10.0  # seconds for which a reading is carried on by the monotonic clock, which nobody can set
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
    elif time.monotonic() - _read[1] > GOOD_FOR:
        with suppress(DatabaseTrouble):
            _read = _look()
    at, when = _read
    return at + timedelta(seconds=time.monotonic() - when)


def _look() -> tuple[datetime, float]:
    """Return when the server got our question, and when we asked it."""
    with connection.cursor() as cursor:
        asked = time.monotonic()
        cursor.execute("SELECT statement_timestamp()")
        at: datetime = cursor.fetchone()[0]
    return at, asked
