"""What waits right now, for monitoring. Each question is answered by an index, however many rows there are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q

from integrations import clock

from .models import Delivery, Run


@dataclass(frozen=True, slots=True)
class Queue:
    """How much waits: what is due, what is planned for later, and how long the oldest has been due (0: none is)."""

    due: int
    later: int
    oldest: timedelta


def deliveries(*, sending: int) -> Queue:
    """Return the queue of mails. The `sending` in workers' hands have kept their time, and are no part of it."""
    now = clock.now()
    waiting = Delivery.objects.filter(next_attempt_at__isnull=False).aggregate(
        due=Count("next_attempt_at", filter=Q(next_attempt_at__lte=now)),
        later=Count("next_attempt_at", filter=Q(next_attempt_at__gt=now)),
    )
    return Queue(max(waiting["due"] - sending, 0), waiting["later"], oldest_delivery())


def in_rare_states() -> Counter[str]:
    """Return how many mails are in workers' hands, wait for a person, or were sent without hearing the answer."""
    found = Delivery.objects.filter(state__in=[Delivery.State.SENDING, Delivery.State.HELD, Delivery.State.UNKNOWN])
    return Counter(dict(found.values_list("state").annotate(number=Count("pk"))))


def runs() -> Queue:
    now = clock.now()
    found = Run.objects.filter(status=Run.Status.QUEUED).aggregate(
        due=Count("due_at", filter=Q(due_at__lte=now)),
        later=Count("due_at", filter=Q(due_at__gt=now)),
        oldest=Min("due_at"),
    )
    return Queue(found["due"], found["later"], _age(found["oldest"], now))


def oldest_delivery() -> timedelta:
    now = clock.now()
    # By the lease and not by the state: SQLite would take the index of the states, and sort all that wait.
    due = Delivery.objects.filter(next_attempt_at__lte=now, lease__isnull=True).order_by("next_attempt_at")
    return _age(due.values_list("next_attempt_at", flat=True).first(), now)


def oldest_run() -> timedelta:
    queued = Run.objects.filter(status=Run.Status.QUEUED)
    return _age(queued.aggregate(oldest=Min("due_at"))["oldest"], clock.now())


def _age(at: datetime | None, now: datetime) -> timedelta:
    return max(now - at, timedelta()) if at else timedelta()
