"""What a worker does when the doorbell has rung: all that is due, and for a moment what comes after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from integrations import clock

from . import delivery, runs, stopping
from .claims import is_any_run_due
from .leases import Lease

LONGEST = 10.0  # seconds: then other tasks, such as checks and test mails, have their turn
# Seconds after which a call is worth nothing: all were busy for so long, and whoever still has more calls again.
# Without it calls would gather in a backlog, and sweeps wait behind them.
CALL_EXPIRES = 10.0
LOOK_ON = 1.0  # seconds at the most, whatever a ring says: a clock may have been set back meanwhile
# Seconds between two looks: short at first, since whoever rang may be about to commit, then twice as long each time.
PAUSES = (0.001, 0.005)
# After a round that made mails it rests for as long as that took, so that under a steady stream a round is worth its
# costs: what comes meanwhile is done together. Nothing waits for longer than this.
LONGEST_PAUSE = 0.05


def until(seconds: float) -> float:
    """Return the moment in so many seconds, by the clock that all machines share."""
    return clock.now().timestamp() + seconds


def is_too_late(until: float) -> bool:
    """Say whether nobody took a call in time that names this moment; 0 names none.

    Celery's own way to let tasks expire goes by the clock of each machine, and one that is ahead would throw all away.
    """
    return 0.0 < until < clock.now().timestamp() - CALL_EXPIRES


def work(*, until: float, call_another: Callable[[float], object], longest: float = LONGEST) -> None:
    """Carry out what is due: runs first, then the mails that they made. Look on until this moment, and once after it.

    Another worker is called where there is more than one batch, before the mails of the first leave, since a relay may
    take its time; and when the time is over before all is done. It is told the same moment: it may be the only one that
    is left, and whoever rang does not ring again before.
    """
    began = time.monotonic()
    look_until = began + min(until - clock.now().timestamp(), LOOK_ON)
    # Where this is the only batch, the call at its end is enough.
    calls: list[Callable[[], object]] = [partial(call_another, until)] if longest else []
    while not stopping.requested():
        looked_at = time.monotonic()
        more, made_mails = _carry_out_and_send(calls)
        if not more and looked_at >= look_until:
            return
        if not more:
            took = time.monotonic() - looked_at
            _wait_for_runs(look_until, rest=min(took, LONGEST_PAUSE) if made_mails else 0.0)
        elif looked_at - began >= longest:
            break
    call_another(until)


def _carry_out_and_send(calls: list[Callable[[], object]]) -> tuple[bool, bool]:
    """Carry out a batch of runs, send what they made and a batch of what else is due.

    Returns whether there may be more, and whether the runs made mails that were sent at once.
    Where there are more runs, the first of `calls` is taken and made in between.
    """
    made = Lease()
    try:
        more = runs.execute_due(hold=made)
        if more and calls:
            calls.pop()()
    except BaseException:
        made.give_back()
        raise
    more = delivery.send_due(made) or more
    if more and calls:
        calls.pop()()
    return more, bool(made.batch)


def _wait_for_runs(end: float, *, rest: float) -> None:
    """Rest, then wait for a run that is due, until this moment of the steady clock; mail may have to wait."""
    pause, longest = PAUSES
    while time.monotonic() < end and not stopping.requested():
        time.sleep(max(rest, pause))
        if is_any_run_due(clock.now()):
            return
        rest, pause = 0.0, min(2 * pause, longest)
