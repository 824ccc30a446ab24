"""Celery entrances. A task carries no mail; it may run twice, late or never, and nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from celery import shared_task
from celery.signals import worker_shutting_down

from . import counting, deadlines, delivery, heartbeat, retention, runs, shift, stopping
from .stubborn import AWAY

logger = logging.getLogger(__name__)
P = ParamSpec("P")


def _waits_for_database(act: Callable[P, None]) -> Callable[P, None]:
    """Let a task that met a database which is away, or takes nothing, end with one line: there may be many a second."""

    @wraps(act)
    def patient(*args: P.args, **options: P.kwargs) -> None:
        try:
            act(*args, **options)
        except AWAY as error:
            said, debug = str(error).partition("\n")[0], logger.isEnabledFor(logging.DEBUG)
            logger.error("The database is away, or takes nothing (%s). What is due waits.", said, exc_info=debug)

    return patient


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def stop_after_this_mail(**_: object) -> None:
    """Runs in the worker's main process; its pool reads the flag before each mail."""
    stopping.request()


@shared_task  # type: ignore[untyped-decorator]
@_waits_for_database
def work(until: float = 0.0) -> None:
    """Carry out what is due, and look on until a moment of the installation's clock. One long past is an old call."""
    if not shift.is_too_late(until):
        shift.work(until=until, call_another=_call_another)


def _call_another(until: float) -> None:
    """Ring for another worker, now. Without a broker this one works on, and the sweeper rings again."""
    try:
        work.apply_async(args=[max(until, shift.until(0.0))])
    except Exception as error:
        logger.warning("The broker does not answer (%s): no other worker is called.", error)


@shared_task  # type: ignore[untyped-decorator]
@_waits_for_database
def sweep() -> None:
    """Give back what dead workers held, and look for what is due. Beat calls it every few seconds."""
    heartbeat.beat()
    runs.free_expired_leases()
    delivery.free_expired_leases()
    try:
        deadlines.end_overdue()
    finally:  # whatever keeps a mail from ending must not keep the others from leaving
        shift.work(until=0.0, call_another=_call_another, longest=0.0)


@shared_task  # type: ignore[untyped-decorator]
@_waits_for_database
def show_life() -> None:
    """Leave a sign of life and do nothing else: `manage.py doctor` looks whether a task goes around."""
    heartbeat.beat()


@shared_task  # type: ignore[untyped-decorator]
@_waits_for_database
def forget_old() -> None:
    """Erase old bodies, and rows that are much older. Beat calls it every other minute."""
    retention.forget_old()


@shared_task  # type: ignore[untyped-decorator]
@_waits_for_database
def count_new() -> None:
    """Count what monitoring asks for. Beat calls it every ten seconds."""
    while counting.count_new() and not stopping.requested():
        pass
