"""Have a worker do something, and wait for its report: only the worker's way to a relay is the real one."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from celery import current_app
from django.utils import timezone

from . import tasks
from .fields import Undecryptable
from .models import Errand

logger = logging.getLogger(__name__)

TAKEN_WITHIN = 10.0  # seconds; a worker that is not busy takes an errand at once
BUSY_FOR = 50.0  # one batch of mails, unless its relay is slow
FINISHED_WITHIN = 150.0
PAUSE = 0.1

NO_BROKER = "The broker does not answer, so no worker can be reached and no mail leaves. Is BROKER_URL right?"
NO_WORKER = (
    "No worker answers, so no mail leaves either. Start one: `manage.py up` runs everything, "
    "or look into the log of the one that should run."
)
ALL_BUSY = "The workers are alive, but busy sending, and none took this in time. Try again in a minute."
NO_REPORT = (
    "The worker could not do it; its log says why. Where web and workers run apart, "
    "they need the same FERNET_KEYS and DATABASE_URL."
)
NOT_FINISHED = "A worker began, but did not finish: it may have been stopped. Try again."


class NoAnswer(Exception):
    """No worker did the errand; the text is for people and says what to do."""


class TooMany(Exception):
    """There were as many errands of this kind as are allowed for now."""

    def __init__(self, again_at: datetime) -> None:
        super().__init__(f"again at {again_at:%H:%M:%S}")
        self.again_at = again_at


Watch = Callable[[dict[str, Any]], None]


def ask(job: str, request: dict[str, Any], *, actor: str, watch: Watch = lambda report: None) -> dict[str, Any]:
    """Return a worker's report; `watch` sees it growing. Raises NoAnswer."""
    errand = leave(job, request, actor=actor)
    ring(errand)
    return wait(errand, watch=watch)


def leave(job: str, request: dict[str, Any], *, actor: str) -> Errand:
    """Write down what is wanted."""
    return Errand.objects.create(job=job, request=json.dumps(request), asked_by=actor[:150], asked_at=timezone.now())


def demand_room(errand: Errand, *, at_most: int, within: timedelta) -> None:
    """Raise TooMany, and withdraw the errand, where there were as many in that time already.

    It is counted after it was written, so that several people at once cannot all be the last one.
    """
    others = Errand.objects.filter(job=errand.job, asked_at__gt=errand.asked_at - within).exclude(pk=errand.pk)
    times = list(others.order_by("-asked_at").values_list("asked_at", flat=True)[:at_most])
    if len(times) == at_most:
        errand.delete()
        raise TooMany(times[-1] + within)


def ring(errand: Errand) -> None:
    try:
        tasks.run_errand.apply_async((str(errand.pk),), retry=False)
    except Exception as error:
        logger.warning("The broker does not answer (%s).", error)
        errand.delete()
        raise NoAnswer(NO_BROKER) from error


def wait(errand: Errand, *, watch: Watch = lambda report: None) -> dict[str, Any]:
    """Return the report of an errand that was rung for; raises NoAnswer."""
    try:
        report = _wait(errand, watch)
    except Undecryptable as error:
        raise NoAnswer(NO_REPORT) from error
    if report is None:
        raise NoAnswer(NO_REPORT)
    return dict(json.loads(report))


def _wait(errand: Errand, watch: Watch) -> str | None:
    if not _wait_for(lambda: _now(errand).taken_at, seconds=TAKEN_WITHIN):
        _wait_for_busy_workers(errand)
    if not _wait_for(lambda: _finished(errand, watch), seconds=FINISHED_WITHIN):
        Errand.objects.filter(pk=errand.pk).update(request=None)
        raise NoAnswer(NOT_FINISHED)
    return _now(errand).report


def _wait_for_busy_workers(errand: Errand) -> None:
    alive = _workers_answer()
    if alive and _wait_for(lambda: _now(errand).taken_at, seconds=BUSY_FOR):
        return
    if Errand.objects.filter(pk=errand.pk, taken_at=None).delete()[0]:  # or it was taken this very moment
        raise NoAnswer(ALL_BUSY if alive else NO_WORKER)


def _workers_answer() -> bool:
    """Ask the workers' main processes, which answer even while all of their children are sending."""
    try:
        return bool(current_app.control.ping(timeout=1.0))
    except Exception as error:
        logger.warning("The broker does not answer (%s).", error)
        return False


def _finished(errand: Errand, watch: Watch) -> datetime | None:
    now = _now(errand)
    if now.report:
        watch(json.loads(now.report))
    return now.finished_at


def _now(errand: Errand) -> Errand:
    return Errand.objects.defer("request").get(pk=errand.pk)


def _wait_for(condition: Callable[[], object], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True
