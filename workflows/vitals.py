"""What waits right now, for monitoring. Each question is answered by an index, however many rows there are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q

from integrations import clock

from .models import Delivery, Run


@dataclass(frozen=True, slots=True)
class Queue:
    """How much waits: what is due, what is planned for later, and how long the oldest has been due (0: none is)."""

    due: int
    later: int
    oldest: timedelta


def deliveries() -> Queue:
    """Return the queue of mails. What workers have in hand keeps its time, and is no part of it."""
    now = clock.now()
    waiting = Delivery.objects.filter(next_attempt_at__isnull=False).aggregate(
        due=Count("next_attempt_at", filter=Q(next_attempt_at__lte=now)),
        later=Count("next_attempt_at", filter=Q(next_attempt_at__gt=now)),
    )
    return Queue(max(waiting["due"] - sending(), 0), waiting["later"], oldest_delivery())


def runs() -> Queue:
    now = clock.now()
    found = Run.objects.filter(status=Run.Status.QUEUED).aggregate(
        due=Count("due_at", filter=Q(due_at__lte=now)),
        later=Count("due_at", filter=Q(due_at__gt=now)),
    )
    return Queue(found["due"], found["later"], oldest_run())


def sending() -> int:
    """Return how many mails workers have in hand."""
    return Delivery.objects.filter(lease__isnull=False).count()


def held() -> int:
    """Return how many mails wait for a person."""
    return Delivery.objects.filter(state=Delivery.State.HELD).count()


def unknown() -> int:
    """Return of how many mails the relay's answer was not heard; they are tried once more."""
    return Delivery.objects.filter(state=Delivery.State.UNKNOWN).count()


def oldest_delivery() -> timedelta:
    now = clock.now()
    due = Delivery.objects.filter(next_attempt_at__lte=now, state__in=Delivery.DUE).order_by("next_attempt_at")
    return _age(due.values_list("next_attempt_at", flat=True).first(), now)


def oldest_run() -> timedelta:
    now = clock.now()
    due = Run.objects.filter(status=Run.Status.QUEUED, due_at__lte=now).order_by("due_at")
    return _age(due.values_list("due_at", flat=True).first(), now)


def _age(at: datetime | None, now: datetime) -> timedelta:
    return max(now - at, timedelta()) if at else timedelta()
