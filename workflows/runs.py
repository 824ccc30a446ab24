"""Carry out a run: render its actions, store one delivery for each. Nothing is sent here."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import F, Q

from integrations import clock
from integrations.transports import machine

from . import known, log_fields, mails, occasions, repeats, run_ends
from .claims import begin_runs, claim_runs, claimed_runs
from .ids import new_id
from .inserting import insert
from .leases import RELEASED, Lease
from .models import Delivery, Recipient, Run
from .stubborn import AWAY, stubbornly

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=300)  # for one run: each of its actions may render for 2 seconds
BATCH = 50
STORE_AFTER = 0.2  # seconds for which what was rendered waits for the others of its batch
MAX_TRIES = 5  # a run that brings its worker down, or that the database refuses, must not come back for ever
TRIED_TOO_OFTEN = f"It was begun {MAX_TRIES} times and could not be finished: the worker's log says why."
TRY_AGAIN_AFTER = timedelta(seconds=30)


class LeaseLost(Exception):
    """Another worker has some of the runs by now."""


def execute_due(*, hold: Lease | None = None) -> bool:
    """Carry out the queued runs whose time has come. Returns whether there may be more.

    `hold`: takes the mails of plain runs, and whoever has it sends them; otherwise they are queued like all others.
    """
    lease = new_id()
    try:
        claimed = _claim(lease)
        if claimed:
            _execute_all(lease, hold=hold)
    except AWAY:  # the others would wait for the end of the lease, and have done nothing
        _give_back(lease)
        raise
    return claimed == BATCH


def _execute_all(lease: uuid.UUID, *, hold: Lease | None) -> None:
    """Carry out a batch. What plain runs made is stored together, each of the others by itself."""
    batch = _with_workflows(claimed_runs(lease))
    waiting: list[Made] = []
    began = time.monotonic()
    for run in batch:
        if waiting and time.monotonic() - began > STORE_AFTER:
            _store_together(waiting, hold=hold)
            waiting, began = [], time.monotonic()
            _renew_all(run, hold=hold)
        made = _made_if_plain(run)
        if made:
            waiting.append(made)
        else:
            _execute_each([run], hold=hold)
    _store_together(waiting, hold=hold)


def _with_workflows(batch: Sequence[Run]) -> list[Run]:
    """Read each workflow and its actions once for the whole batch; a run whose workflow was deleted is gone, too."""
    workflows = known.with_actions({run.workflow_id for run in batch})
    there = [run for run in batch if run.workflow_id in workflows]
    for run in there:
        run.workflow = workflows[run.workflow_id]
    return there


def _give_back(lease: uuid.UUID) -> None:
    held = Run.objects.filter(lease=lease)
    stubbornly(
        lambda: held.update(status=Run.Status.QUEUED, tries=F("tries") - 1, **RELEASED), what=f"runs of lease {lease}"
    )


def _renew_all(run: Run, *, hold: Lease | None) -> None:
    """Renew the leases of the run's batch, and of the mails that it has made so far."""
    Run.objects.filter(lease=run.lease).update(lease_expires_at=clock.now() + LEASE)
    if hold:
        hold.renew()


def _is_ours(run: Run) -> bool:
    return Run.objects.filter(pk=run.pk, lease=run.lease).exists()


@log_fields.about_first
def _made_if_plain(run: Run) -> Made | None:
    """Return what a run made that begins at once, comes once, and has nothing but mails to send; None for any other."""
    try:
        if run.tries > 1 or run.number or run.workflow.wait or repeats.rhythm_of(run.workflow):
            return None
        made = _made(run)
    except Exception:  # met again, told and treated where the run is carried out by itself
        return None
    is_plain = made.deliveries and all(delivery.state == Delivery.State.QUEUED for delivery, _ in made.deliveries)
    return made if is_plain and not made.cancelled else None


def _store_together(batch: Sequence[Made], *, hold: Lease | None) -> None:
    """Store what plain runs made in one transaction; where that fails, carry each of them out by itself."""
    if not batch:
        return None
    pairs = [pair for made in batch for pair in made.deliveries]
    if hold:
        hold.mark([delivery for delivery, _ in pairs])
    try:
        _start_together(batch)
    except (LeaseLost, DatabaseError):
        # Where its success was not heard, they are there, all of them.
        if not (hold and hold.held().filter(pk=pairs[0][0].pk).exists()):
            return _execute_each([made.run for made in batch], hold=hold)
    if hold:
        hold.take(pairs)
    return None


def _start_together(batch: Sequence[Made]) -> None:
    """Raises IntegrityError where an action was deleted meanwhile: a run that is carried out by itself forgets it."""
    with transaction.atomic():
        if begin_runs([made.run for made in batch], now=clock.now()) < len(batch):
            raise LeaseLost
        _store([pair for made in batch for pair in made.deliveries])


def _execute_each(runs: Iterable[Run], *, hold: Lease | None) -> None:
    for run in runs:
        _renew_all(run, hold=hold)
        if _is_ours(run):
            _execute_or_release(run)


@log_fields.about_first
def _execute_or_release(run: Run) -> None:
    """Carry out one run; neither a database that is away nor a defect of ours may lose it or stop the others."""
    if run.tries > MAX_TRIES:
        return _fail(run, TRIED_TOO_OFTEN)
    try:
        execute(run)
    except AWAY:  # it spends no try
        logger.exception("run %s could not be stored; it is tried again", run.pk)
        _release(run, tries=run.tries - 1)
    except (DatabaseError, MemoryError, OSError) as error:  # of the run's own making, or of the machine's
        lacking = machine.in_words(error)
        logger.exception("run %s could not be carried out; it is tried again. %s", run.pk, lacking)
        _release(run, tries=run.tries - 1 if lacking else run.tries)
    except Exception:
        logger.exception("run %s failed by a defect", run.pk)
        _fail(run, "A defect of rootmail itself: the worker's log holds the details.")
    return None


def _release(run: Run, *, tries: int) -> None:
    due = clock.now() + TRY_AGAIN_AFTER
    held = Run.objects.filter(pk=run.pk, lease=run.lease)
    values = {"status": Run.Status.QUEUED, "due_at": due, "tries": tries, **RELEASED}
    stubbornly(lambda: held.update(**values), what=f"run {run.pk}")


def _fail(run: Run, message: str) -> None:
    """End a run that could not be carried out; what repeats goes on with its next run."""
    run.started_at = now = clock.now()
    values = {"status": Run.Status.FAILED, "status_message": message, "started_at": now, "finished_at": now}
    with transaction.atomic():
        if Run.objects.filter(pk=run.pk, lease=run.lease).update(**values, **RELEASED):
            _plan_next_if_possible(run)


def _plan_next_if_possible(run: Run) -> None:
    """Plan the run after a failed one. The defect may lie there: this run ends all the same, and the batch goes on."""
    try:
        with transaction.atomic():
            repeats.plan_next(run)
    except AWAY:
        raise
    except Exception:
        logger.exception("run %s does not come again: its next time cannot be told", run.pk)


def _claim(lease: uuid.UUID) -> int:
    now = clock.now()
    return claim_runs(lease, now=now, until=now + LEASE, most=BATCH)


def free_expired_leases() -> int:
    """Queue the runs of dead workers again: until its deliveries are stored, a run has done nothing.

    A lease that ends later than any can was written by a clock that was ahead.
    """
    now = clock.now()
    over = Q(lease_expires_at__lt=now) | Q(lease_expires_at__gt=now + LEASE + LEASE)
    expired = Run.objects.filter(over, lease__isnull=False)
    return expired.update(status=Run.Status.QUEUED, **RELEASED)


def execute(run: Run) -> None:
    """Render the actions of a leased run and store what they made, in one transaction."""
    made = _made(run)
    with transaction.atomic():
        if not _start(run, cancelled=made.cancelled):
            return  # the lease was lost: another worker does it
        mails.forget_removed_actions([delivery for delivery, _ in made.deliveries])
        _store(made.deliveries)
        run_ends.settle(run.pk)
        if not made.cancelled:
            repeats.plan_next(run)


@dataclass(frozen=True, slots=True)
class Made:
    """What a run led to, not stored yet: why it must not go on, or its mails."""

    run: Run
    cancelled: str
    deliveries: list[tuple[Delivery, list[Recipient]]]


def _made(run: Run) -> Made:
    data = occasions.data_of(run)
    reason = _why_cancelled(run, data)
    return Made(run, reason, [] if reason else list(_deliveries(run, data)))


def _store(made: Sequence[tuple[Delivery, list[Recipient]]]) -> None:
    recipients = [recipient for _, some in made for recipient in some]
    insert([delivery for delivery, _ in made], recipients)


def _why_cancelled(run: Run, data: dict[str, Any]) -> str:
    """Look at the workflow again: it, or what it is about, may have changed while the run was waiting."""
    workflow = run.workflow
    if run.manual:
        return ""
    if not workflow.enabled:
        return "The workflow was switched off before the run began."
    if reason := repeats.why_no_more(run):
        return reason
    when = occasions.REPEAT if run.number else occasions.WAIT
    reason, note = occasions.look(workflow, data, when=when, at=clock.now())
    if workflow.conditions and (reason or run.number or workflow.wait):
        run.checks = [*run.checks, note]
    return "" if run.number and workflow.continuously_repeat else reason


def _start(run: Run, *, cancelled: str) -> bool:
    run.started_at = now = clock.now()
    values: dict[str, object] = {**RELEASED, "started_at": now, "checks": run.checks}
    if cancelled:
        values |= {"status": Run.Status.CANCELED, "status_message": cancelled, "finished_at": now, "once_key": None}
    return bool(Run.objects.filter(pk=run.pk, lease=run.lease).update(**values))


def _deliveries(run: Run, data: dict[str, Any]) -> Iterator[tuple[Delivery, list[Recipient]]]:
    """Yield a delivery for each action, from the top; a failed one ends the run unless it may be skipped."""
    variables = mails.variables_of(run, data)
    for action in run.workflow.actions.all():  # by their position
        if not action.enabled:
            continue
        delivery, recipients = mails.delivery_of(run, action, variables)
        yield delivery, recipients
        if delivery.state == Delivery.State.FAILED and not action.skip_on_failure:
            return
