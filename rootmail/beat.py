"""Beat: what rings for the sweepers goes on when the machine's clock is set back, and ends when it is told to."""

from __future__ import annotations

import logging
import signal
from datetime import timedelta
from types import FrameType
from typing import Any, NoReturn

from celery import beat
from celery.signals import beat_init

from integrations import clock

from . import ready

logger = logging.getLogger(__name__)

STEP = timedelta(seconds=2)  # less does no harm, and clocks that are kept right are moved by less


class Scheduler(beat.Scheduler):  # type: ignore[misc]
    """Celery's compares times of the wall clock, so it would be silent for as long as that was set back.

    It is in memory: a file would outlive the time that the clock was wrong.
    """

    _ahead: timedelta | None = None  # by how much the wall clock is ahead of the steady one
    _is_over = False

    def tick(self) -> float:
        """Send what is due; returns seconds until the next call."""
        before, self._ahead = self._ahead, timedelta(seconds=self.app.now().timestamp() - clock.steady())
        if before is not None and self._ahead < before - STEP:
            self._set_back(before - self._ahead)
        seconds: float = super().tick()
        if self._is_over:
            raise SystemExit
        return seconds

    def apply_entry(self, entry: beat.ScheduleEntry, producer: Any = None) -> None:
        """Ring for one task. Celery would write a hundred lines for each while the broker is away."""
        beat.info("Scheduler: Sending due task %s (%s)", entry.name, entry.task)
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:  # Celery's, kombu's, redis's and amqp's have no common class
            debug = logger.isEnabledFor(logging.DEBUG)
            logger.error("The broker does not answer, or takes nothing: %s", error, exc_info=debug)

    def end(self, number: int, frame: FrameType | None) -> NoReturn:
        """Raise SystemExit, as Celery's own handler; where it comes while something is sent, that may swallow it."""
        self._is_over = True
        raise SystemExit

    def _set_back(self, by: timedelta) -> None:
        """Move what was noted along with the clock, so that every entry keeps its rhythm."""
        logger.warning("the clock was set back by %.0f seconds", by.total_seconds())
        for entry in self.schedule.values():
            entry.last_run_at -= by
        self._heap = None  # of the times at which they are due


@beat_init.connect  # type: ignore[untyped-decorator]
def end_for_sure(sender: beat.Service, **_: Any) -> None:
    """Without it beat, told to end in the wrong millisecond, would go on until it is killed, minutes later."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, sender.scheduler.end)


@beat_init.connect  # type: ignore[untyped-decorator]
def tell_that_it_is_ready(**_: Any) -> None:
    ready.tell()
