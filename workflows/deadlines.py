"""What was not accepted in time has failed, also while its provider is paused and while it is held for a person."""

from __future__ import annotations

from django.core.mail import get_connection
from django.db import transaction

from integrations import clock

from . import runs
from .delivery import why_waiting
from .models import Delivery, Recipient

BATCH = 200


def end_overdue() -> None:
    """Fail what waits past its deadline. Harmless when several do it: one UPDATE decides who ends it."""
    why = ""
    while batch := _overdue():
        why = why or _why_nothing_leaves()
        for delivery in batch:
            _end(delivery, why=why)


def _overdue() -> list[Delivery]:
    rows = Delivery.objects.filter(state__in=Delivery.WAITING, give_up_at__lte=clock.now()).order_by("give_up_at")
    return list(rows.defer("content").prefetch_related("recipients")[:BATCH])


def _why_nothing_leaves() -> str:
    mailer = get_connection()
    why = why_waiting(mailer)
    mailer.close()
    return why


def _end(delivery: Delivery, *, why: str) -> None:
    accepted = any(row.state == Recipient.State.ACCEPTED for row in delivery.recipients.all())
    state = Delivery.State.ACCEPTED if accepted else Delivery.State.FAILED
    as_seen = Delivery.objects.filter(pk=delivery.pk, state=delivery.state, give_up_at=delivery.give_up_at)
    with transaction.atomic():
        if as_seen.update(state=state, reason=_reason(delivery, why=why), next_attempt_at=None):
            delivery.recipients.filter(state__in=Recipient.OPEN).update(state=Recipient.State.FAILED)
            runs.settle(delivery.run_id)


def _reason(delivery: Delivery, *, why: str) -> str:
    text = "Given up: its time was over before it was accepted."
    if delivery.state == Delivery.State.HELD:
        text = "Given up: its time was over before anybody decided what to do."
    return f"{text} {delivery.reason or why}".strip()
