"""What a worker does when the doorbell has rung: all that is due, and for a moment what comes after it."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import connection

from integrations import clock

from . import delivery, runs, stopping

LONGEST = 10.0  # seconds: then other tasks, such as checks and test mails, have their turn
LOOK_ON = 1.0  # seconds at the most, whatever a ring says: a clock may have been set back meanwhile
PAUSE = 0.005  # seconds between two looks


def until(seconds: float) -> float:
    """Return the moment in so many seconds, by the clock that all machines share."""
    return clock.now().timestamp() + seconds


def work(*, until: float, call_another: Callable[[], object]) -> None:
    """Carry out what is due: runs first, then the mails that they made. Look on until this moment.

    Another worker is called where there is more than one batch, and when the time is over before all is done.
    """
    began = time.monotonic()
    look_until = began + min(until - clock.now().timestamp(), LOOK_ON)
    called = False
    while not stopping.requested():
        more = runs.execute_due()
        more = delivery.send_due() or more
        if more and time.monotonic() - began > LONGEST:
            call_another()
            return
        if more and not called:
            call_another()
            called = True
        if not more and not _comes_before(look_until):
            return


def _comes_before(end: float) -> bool:
    """Wait for what is due; say whether anything was before this moment of the steady clock."""
    while time.monotonic() < end and not stopping.requested():
        time.sleep(PAUSE)
        if _anything_due():
            return True
    return False


ANYTHING = """
SELECT EXISTS (SELECT 1 FROM workflows_run WHERE status = 'queued' AND due_at <= %(now)s) OR EXISTS (
    SELECT 1 FROM workflows_delivery WHERE next_attempt_at <= %(now)s AND state IN ('queued', 'deferred', 'unknown'))
"""


def _anything_due() -> bool:
    now = connection.ops.adapt_datetimefield_value(clock.now())
    with connection.cursor() as cursor:
        cursor.execute(ANYTHING, {"now": now})
        return bool(cursor.fetchone()[0])
