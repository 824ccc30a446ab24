"""What became of mails lately, for each way out; and how many wait."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_

from django.db.models import Count, Q
from django.db.models.functions import TruncHour
from django.utils import timezone

from .models import Attempt, Delivery

HOURS = 24
OUTCOMES = (Attempt.Outcome.ACCEPTED, Attempt.Outcome.DEFERRED, Attempt.Outcome.FAILED, Attempt.Outcome.UNKNOWN)


@dataclass(slots=True)
class Hour:
    """Attempts by outcome within one hour."""

    start: datetime
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def worst(self) -> str:
        """The outcome that a single mark for this hour should show, or ''."""
        return next((name for name in reversed(OUTCOMES) if self.counts[name]), "")

    @property
    def words(self) -> str:
        listed = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count)
        return f"{timezone.localtime(self.start):%H:%M}: {listed or 'nothing'}"


@dataclass(frozen=True, slots=True)
class History:
    """The last day of one way out, oldest hour first."""

    hours: tuple[Hour, ...]
    last_accepted: datetime | None

    @property
    def words(self) -> str:
        """The whole day in one sentence, for people who do not see the strip."""
        sums = {name: sum(hour.counts[name] for hour in self.hours) for name in OUTCOMES}
        listed = ", ".join(f"{count} {name}" for name, count in sums.items() if count)
        return f"Attempts in the last 24 hours: {listed or 'none'}"


def by_provider(names: Iterable[str]) -> dict[str, History]:
    """Return the last day of each provider."""
    names = list(names)
    first = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)
    hours = {name: [Hour(first + timedelta(hours=number)) for number in range(HOURS)] for name in names}
    recent = Attempt.objects.filter(at__gte=first, provider__in=names).order_by()
    for row in (
        recent.annotate(hour=TruncHour("at", tzinfo=UTC))
        .values("hour", "provider", "outcome")
        .annotate(count=Count("pk"))
    ):
        number = int((row["hour"] - first).total_seconds() // 3600)
        if 0 <= number < HOURS:
            hours[row["provider"]][number].counts[row["outcome"]] += row["count"]
    last = _last_accepted(names)
    return {name: History(tuple(hours[name]), last.get(name)) for name in names}


def _last_accepted(names: Iterable[str]) -> dict[str, datetime]:
    """Return when each provider's last mail was accepted: one look into the index for each, in one query."""
    accepted = Attempt.objects.filter(outcome=Attempt.Outcome.ACCEPTED).order_by("-at")
    latest = [Q(pk__in=accepted.filter(provider=name).values("pk")[:1]) for name in names]
    rows = Attempt.objects.filter(reduce(or_, latest, Q(pk=None))).order_by()
    return dict(rows.values_list("provider", "at"))


def waiting() -> int:
    """Return how many mails are on their way, due or not."""
    return Delivery.objects.filter(next_attempt_at__isnull=False).count()
