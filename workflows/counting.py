"""Count attempts and ended runs for monitoring, outside the road of a mail: what is new since the last time is added.

Rows are purged after a time and the counts must never go back, so they have a table of their own. PostgreSQL shows rows
in another order than it numbered them: a transaction with a lower primary key may commit later. So how far to count is
noted first, and counted the next time, when every transaction of that moment has ended. A transaction that writes an
attempt writes its delivery before, so it has its number by then. SQLite has one writer at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Count as CountOf
from django.db.models import DurationField, ExpressionWrapper, F, Max, Q, QuerySet, Sum

from integrations import clock

from .counting_models import Count, CountMark
from .models import Attempt, Run

# Seconds. Other bounds need another name in Series: what was counted so far says nothing about them.
RELAY_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 160)
ACCEPTANCE_BOUNDS = (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
STEP = 20_000  # attempts in one go: a scrape must not take long
CODES = 100  # of one provider; a server that makes up ever new ones must not fill Prometheus
OTHER = "other"
MARGIN = timedelta(seconds=5)  # a run's end may be written that much later than it says
# Our own transactions are ended by the server before (settings.py); what is still open then belongs to others.
LONGEST = timedelta(minutes=5)


class Key(NamedTuple):
    """What a number is about."""

    series: str
    provider: str = ""
    outcome: str = ""
    code: str = ""
    bound: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far there is something to count."""

    attempts: int
    runs: datetime


def count_new() -> None:
    """Add what is new. Where somebody else is just doing so, leave it to them."""
    reach = _reach()  # before the lock: with it our transaction gets its number, which must be the later one
    CountMark.objects.get_or_create(pk=CountMark.ONLY, defaults=_beginning(reach))
    with transaction.atomic():
        mark = CountMark.objects.select_for_update(skip_locked=True).filter(pk=CountMark.ONLY).first()
        if mark is None or not _is_settled(mark):
            return
        _add(_news(mark))
        mark.attempts, mark.runs = mark.next_attempts, mark.next_runs
        mark.next_attempts = max(mark.attempts, min(reach.attempts, mark.attempts + STEP))
        mark.next_runs = max(mark.runs, reach.runs)
        mark.next_transaction, mark.noted_at = _own_transaction(), clock.now()
        mark.save()


def counts() -> dict[Key, float]:
    """Return every number."""
    rows = Count.objects.order_by("pk").values_list("series", "provider", "outcome", "code", "bound", "value")
    return {Key(*names): value for *names, value in rows}


def _reach() -> Reach:
    last = Attempt.objects.aggregate(last=Max("pk"))["last"] or 0
    return Reach(last, clock.now() - MARGIN)


def _beginning(reach: Reach) -> dict[str, Any]:
    """Begin with what comes from now on: an old installation may hold millions."""
    now = {"attempts": reach.attempts, "runs": reach.runs}
    return now | {f"next_{name}": value for name, value in now.items()} | {"noted_at": clock.now()}


def _own_transaction() -> int | None:
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        return int(cursor.fetchone()[0])


def _is_settled(mark: CountMark) -> bool:
    """Say whether everything up to the noted reach is to be seen: older transactions have ended, or never will."""
    if mark.next_transaction is None or mark.noted_at < clock.now() - LONGEST:
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        return bool(cursor.fetchone()[0] >= mark.next_transaction)


def _news(mark: CountMark) -> Iterator[tuple[Key, float]]:
    attempts = Attempt.objects.filter(pk__gt=mark.attempts, pk__lte=mark.next_attempts).order_by()
    yield from _by_outcome(attempts)
    yield from _by_relay_time(attempts)
    yield from _by_time_to_acceptance(attempts)
    ended = Run.objects.filter(finished_at__gt=mark.runs, finished_at__lte=mark.next_runs).order_by()
    for status, number in ended.values_list("status").annotate(number=CountOf("pk")):
        yield Key(Count.Series.RUNS, outcome=status), number


def _by_outcome(attempts: QuerySet[Attempt]) -> Iterator[tuple[Key, float]]:
    """Yield how many of each outcome and code: the enhanced one, or where the server said none its plain one."""
    grouped = attempts.values_list("provider", "outcome", "enhanced_code", "code").annotate(number=CountOf("pk"))
    for provider, outcome, enhanced, code, number in grouped:
        yield Key(Count.Series.ATTEMPTS, provider, outcome, enhanced or str(code or "")), number


def _by_relay_time(attempts: QuerySet[Attempt]) -> Iterator[tuple[Key, float]]:
    within = {f"within_{bound}": Q(milliseconds__lte=round(bound * 1000)) for bound in RELAY_BOUNDS}
    for row in _histogram(attempts, within, total=Sum("milliseconds")):
        yield Key(Count.Series.RELAY_SUM, row["provider"]), row["total"] / 1000
        yield from _buckets(Count.Series.RELAY, row, RELAY_BOUNDS)


def _by_time_to_acceptance(attempts: QuerySet[Attempt]) -> Iterator[tuple[Key, float]]:
    took = ExpressionWrapper(F("at") - F("delivery__triggered_at"), output_field=DurationField())
    accepted = attempts.filter(outcome=Attempt.Outcome.ACCEPTED).annotate(took=took)
    within = {f"within_{bound}": Q(took__lte=timedelta(seconds=bound)) for bound in ACCEPTANCE_BOUNDS}
    for row in _histogram(accepted, within, total=Sum("took")):
        yield Key(Count.Series.ACCEPTANCE_SUM, row["provider"]), max(row["total"].total_seconds(), 0)
        yield from _buckets(Count.Series.ACCEPTANCE, row, ACCEPTANCE_BOUNDS)


def _histogram(attempts: QuerySet[Attempt], within: dict[str, Q], *, total: Sum) -> Iterable[Any]:
    """Count for each provider what lies within each bound, as Prometheus does: a slow one is in none but the last."""
    numbers = {name: CountOf("pk", filter=condition) for name, condition in within.items()}
    return attempts.values("provider").annotate(number=CountOf("pk"), total=total, **numbers)


def _buckets(series: str, row: dict[str, Any], bounds: tuple[float, ...]) -> Iterator[tuple[Key, float]]:
    for bound in bounds:
        yield Key(series, row["provider"], bound=str(bound)), row[f"within_{bound}"]
    yield Key(series, row["provider"], bound="+Inf"), row["number"]


def _add(news: Iterable[tuple[Key, float]]) -> None:
    """Write the sums. Who holds the mark is the only one who writes here."""
    known = counts()
    sums: dict[Key, float] = {}
    for key, number in news:
        key = key if _may_be_written(key, {*known, *sums}) else key._replace(code=OTHER)
        sums[key] = sums.get(key, known.get(key, 0)) + number
    rows = [Count(**key._asdict(), value=value) for key, value in sums.items()]
    Count.objects.bulk_create(rows, update_conflicts=True, unique_fields=Key._fields, update_fields=["value"])


def _may_be_written(key: Key, known: set[Key]) -> bool:
    codes = {one.code for one in known if one.series == key.series and one.provider == key.provider}
    return key.code in codes or len(codes) < CODES
