"""What was not accepted in time has failed, also while its provider is paused and while it is held for a person."""

from __future__ import annotations

from django.core.mail import get_connection
from django.db import connection, transaction

from integrations import clock

from . import run_ends
from .delivery import why_waiting
from .models import Delivery, Recipient
from .plans import Unindexed, by_index

BATCH = 200


def end_overdue() -> None:
    """Fail what waits past its deadline. Harmless when several do it: one UPDATE decides who ends it."""
    why = ""
    while batch := _overdue():
        why = why or _why_nothing_leaves()
        for delivery in batch:
            _end(delivery, why=why)


OVERDUE = """
SELECT id FROM workflows_delivery {index} WHERE state IN ({states}) AND give_up_at <= %s ORDER BY give_up_at LIMIT %s
"""


def _overdue() -> list[Delivery]:
    # Word for word as in the index, or SQLite does not use it.
    states = ", ".join(f"'{state.value}'" for state in Delivery.WAITING)
    now = Delivery._meta.get_field("give_up_at").get_db_prep_value(clock.now(), connection)
    with connection.cursor() as cursor:
        cursor.execute(OVERDUE.format(index=by_index("delivery_overdue"), states=states), [now, BATCH])
        keys = [key for (key,) in cursor.fetchall()]
    if not keys:
        return []
    rows = Delivery.objects.alias(kind=Unindexed("state")).filter(pk__in=keys, kind__in=Delivery.WAITING)
    return list(rows.order_by("give_up_at").defer("content"))


def _why_nothing_leaves() -> str:
    mailer = get_connection()
    why = why_waiting(mailer)
    mailer.close()
    return why


def _end(delivery: Delivery, *, why: str) -> None:
    as_seen = Delivery.objects.filter(pk=delivery.pk, state=delivery.state, give_up_at=delivery.give_up_at)
    with transaction.atomic():
        ended = {"state": Delivery.State.FAILED, "reason": _reason(delivery, why=why), "next_attempt_at": None}
        if as_seen.update(**ended):
            delivery.recipients.filter(state__in=Recipient.OPEN).update(state=Recipient.State.FAILED)
            # Asked for behind the lock: an event may have told of somebody since the mail was read.
            if delivery.recipients.filter(state=Recipient.State.ACCEPTED).exists():
                Delivery.objects.filter(pk=delivery.pk).update(state=Delivery.State.ACCEPTED)
            run_ends.settle(delivery.run_id)


def _reason(delivery: Delivery, *, why: str) -> str:
    text = "Given up: its time was over before it was accepted."
    if delivery.state == Delivery.State.HELD:
        text = "Given up: its time was over before anybody decided what to do."
    return f"{text} {delivery.reason or why}".strip()
