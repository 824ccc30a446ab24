"""Have a worker do something, and wait for its report: only the worker's way to a relay is the real one."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from celery import current_app
from django.utils.crypto import salted_hmac

from . import clock, tasks
from .fields import Undecryptable
from .models import Errand

logger = logging.getLogger(__name__)

TAKEN_WITHIN = 10.0  # seconds; a worker that is not busy takes an errand at once
BUSY_FOR = 50.0  # one batch of mails, unless its relay is slow
FINISHED_WITHIN = 240.0  # the transport's own 160, and looking closer
PAUSE = 0.1
GOOD_FOR = timedelta(minutes=5)  # what a check found may be acted upon for so long

NO_BROKER = "The broker does not answer, so no worker can be reached and no mail leaves. Is BROKER_URL right?"
NO_WORKER = (
    "No worker answers, so no mail leaves either. Start one: `manage.py up` runs everything, "
    "or look into the log of the one that should run."
)
ALL_BUSY = "The workers are alive, but busy sending, and none took this in time. Try again in a minute."
NO_KEY = "The worker could not read what was asked: web and workers need the same FERNET_KEYS."
DEFECT = "The worker met a defect of rootmail itself; its log says where. Please report it."
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
    return carry(leave(job, request, actor=actor), watch=watch)


def carry(errand: Errand, *, watch: Watch = lambda report: None) -> dict[str, Any]:
    """Ring for an errand that was written down, and wait. Raises NoAnswer.

    Whoever stops waiting, for whatever reason, leaves no credentials behind.
    """
    try:
        ring(errand)
        return wait(errand, watch=watch)
    except BaseException:
        withdraw(errand)
        raise


def withdraw(errand: Errand) -> bool:
    """Take an errand back and return whether no worker had it; one that is under way only loses its request."""
    mine = Errand.objects.filter(pk=errand.pk)
    return bool(mine.filter(taken_at=None).delete()[0]) or not mine.update(request=None)


def leave(job: str, request: dict[str, Any], *, actor: str) -> Errand:
    """Write down what is wanted."""
    return Errand.objects.create(
        job=job, request=json.dumps(request), seal=seal(request), asked_by=actor[:150], asked_at=clock.now()
    )


def seal(request: dict[str, Any]) -> str:
    """Return what nobody can forge, nor read anything from, and what is the same for the same request alone."""
    return salted_hmac("integrations.errands", json.dumps(request, sort_keys=True), algorithm="sha256").hexdigest()


def finished(pk: uuid.UUID, request: dict[str, Any], *, actor: str) -> dict[str, Any] | None:
    """Return the fresh report of somebody's own errand, if it was just this request; else None."""
    since = clock.now() - GOOD_FOR
    errand = Errand.objects.filter(pk=pk, asked_by=actor, finished_at__gt=since, seal=seal(request)).first()
    report = json.loads(errand.report) if errand and errand.report else {"defect": True}
    return None if "defect" in report else report


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
    while (now := look(errand.pk)).finished_at is None:
        if now.report:
            watch(json.loads(now.report))
        time.sleep(PAUSE)
    report = dict(json.loads(now.report or "{}"))
    watch(report)
    return report


def look(pk: uuid.UUID) -> Errand:
    """Return an errand as it stands now, with its report as far as it got.

    Raises NoAnswer where nothing more will come.
    """
    try:
        errand = Errand.objects.defer("request").get(pk=pk)
    except Undecryptable as error:
        raise NoAnswer(NO_KEY) from error
    except Errand.DoesNotExist as error:
        raise NoAnswer(NOT_FINISHED) from error
    if errand.taken_at is None:
        _withdraw_if_hopeless(errand)
    elif errand.finished_at is None and _age(errand) > TAKEN_WITHIN + BUSY_FOR + FINISHED_WITHIN:
        raise NoAnswer(NOT_FINISHED)
    elif errand.finished_at and (errand.report is None or "defect" in json.loads(errand.report)):
        raise NoAnswer(NO_KEY if errand.report is None else DEFECT)
    return errand


def _withdraw_if_hopeless(errand: Errand) -> None:
    age = _age(errand)
    if age <= TAKEN_WITHIN:
        return
    alive = _workers_answer() or _workers_answer()  # one answer may be lost
    if alive and age <= TAKEN_WITHIN + BUSY_FOR:
        return
    if withdraw(errand):  # or it was taken this very moment
        raise NoAnswer(ALL_BUSY if alive else NO_WORKER)


def _workers_answer() -> bool:
    """Ask the workers' main processes, which answer even while all of their children are sending."""
    try:
        return bool(current_app.control.ping(timeout=1.0))
    except Exception as error:
        logger.warning("The broker does not answer (%s).", error)
        return False


def _age(errand: Errand) -> float:
    """Return for how many seconds somebody has waited, by the clock that wrote the row: a worker's may differ."""
    return (clock.now() - errand.asked_at).total_seconds()
