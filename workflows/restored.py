"""After a backup was restored: what was due in it may have been done since, so none of it is done again by itself."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from integrations import audit, clock

from . import acceptance, repeats, retry
from .leases import RELEASED
from .models import Attempt, Delivery, Run, Workflow

MAYBE_SENT = "Restored from a backup: it may have been sent since."
MAYBE_CARRIED_OUT = "Restored from a backup: it may have been carried out since."


@dataclass(frozen=True, slots=True)
class Doubtful:
    """How many mails and runs may have been done after the backup was made."""

    deliveries: int
    runs: int


def count() -> Doubtful:
    noted = Attempt.objects.filter(delivery=OuterRef("pk"), lease=OuterRef("lease"))
    return Doubtful(_deliveries().exclude(Exists(noted)).count(), _runs().count())


def hold_back(*, actor: str) -> Doubtful:
    """Hold the mails for a person, cancel the runs; what repeats goes on with its next time. Leases count for nothing.

    Only while no worker runs: it would lose what it has in hand.
    """
    with transaction.atomic():
        _settle_noted()
        held = _deliveries().update(state=Delivery.State.HELD, reason=MAYBE_SENT, next_attempt_at=None, **RELEASED)
        _give_time()
        doubtful = list(_runs().select_for_update(of=("self",)).select_related("workflow", "event").order_by("pk"))
        for run in doubtful:
            _cancel(run)
        done = Doubtful(held, len(doubtful))
        audit.record("restored from a backup", actor=actor, held=done.deliveries, cancelled=done.runs)
    return done


def _give_time() -> None:
    """Let people decide: the deadlines of an older backup are over, and the first sweep would fail what is held."""
    held = Delivery.objects.filter(state=Delivery.State.HELD)
    for workflow in Workflow.objects.filter(deliveries__in=held).distinct():
        end = clock.now() + retry.deadline(workflow.give_up_after)
        held.filter(workflow=workflow, give_up_at__lt=end).update(give_up_at=end)


def _settle_noted() -> None:
    """What was noted as accepted is no doubt."""
    for lease in _deliveries().values_list("lease", flat=True).distinct():
        if lease:
            acceptance.settle(held_under=lease, noted_under=lease)


def _deliveries() -> QuerySet[Delivery]:
    return Delivery.objects.filter(state__in=[*Delivery.DUE, Delivery.State.SENDING])


def _runs() -> QuerySet[Run]:
    due = Q(status=Run.Status.QUEUED, due_at__lte=clock.now())
    return Run.objects.filter(due | Q(lease__isnull=False))


def _cancel(run: Run) -> None:
    """End a run as if it had begun when it was due; where it was the only one for its resource, it stays that."""
    Run.objects.filter(pk=run.pk).update(
        status=Run.Status.CANCELED,
        status_message=MAYBE_CARRIED_OUT,
        started_at=run.due_at,
        finished_at=clock.now(),
        **RELEASED,
    )
    repeats.plan_next(run)
