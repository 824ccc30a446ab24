"""When a run ends, and as what: it follows its mails, and what becomes known of them later."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from integrations import clock

from .models import Delivery, Run

_ENDED = (Run.Status.COMPLETED, Run.Status.COMPLETED_WITH_ERRORS, Run.Status.FAILED)


def settle_anew(affected: Iterable[uuid.UUID]) -> None:
    """End runs once more: what became of their mails is known better now. Called within a transaction."""
    keys = sorted(affected)
    reopen(keys)
    for run in keys:
        settle(run)


def reopen(affected: Iterable[uuid.UUID]) -> None:
    """Let runs end anew. Locked in one order: two of us may share some."""
    keys = list(affected)
    list(Run.objects.select_for_update().filter(pk__in=keys).order_by("pk").values_list("pk"))
    ended = Run.objects.filter(pk__in=keys, status__in=_ENDED)
    ended.update(status=Run.Status.STARTED, finished_at=None, status_message="")


def settle(run_id: uuid.UUID) -> None:
    """End a run when all its deliveries have: it is completed only when its mails were accepted.

    Called within a transaction. The lock makes two workers that finish the last two mails at once see each other.
    """
    Run.objects.select_for_update().filter(pk=run_id).values_list("pk").first()
    rows = Delivery.objects.filter(run=run_id)
    deliveries = list(rows.values_list("state", "reason", "optional", "action_name"))
    if any(state not in Delivery.FINAL for state, *_ in deliveries):
        return
    failed = [(name, reason, optional) for state, reason, optional, name in deliveries if state != "accepted"]
    refused = [(name, reason, True) for state, reason, _, name in deliveries if state == "accepted" and reason]
    status = Run.Status.COMPLETED_WITH_ERRORS if failed or refused else Run.Status.COMPLETED
    if any(not optional for _, _, optional in failed):
        status = Run.Status.FAILED
    message = "; ".join(f"{name}: {reason}" for name, reason, _ in failed + refused)
    Run.objects.filter(pk=run_id, status=Run.Status.STARTED).update(
        status=status, status_message=message, finished_at=clock.now()
    )
