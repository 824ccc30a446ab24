"""Count attempts and ended runs for monitoring, outside the road of a mail: what is new since the last time is added.

Rows are purged after a time and the counts must never go back, so they have a table of their own. PostgreSQL shows rows
in another order than it numbered them: a transaction with a lower primary key may commit later. So how far to count is
noted first, with the transactions that were writing into these tables then, and counted when those have ended. Who
inserts a row holds a lock on its table from before the number is drawn until the end. SQLite has one writer at a time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Count as CountOf
from django.db.models import Max

from integrations import clock

from .counting_models import Count, CountMark
from .models import Attempt, Run

# Seconds. Other bounds need another name in Series: what was counted so far says nothing about them.
BOUNDS: dict[str, tuple[float, ...]] = {
    Count.Series.RELAY: (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 160),
    Count.Series.ACCEPTANCE: (0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400),
}
NAMES = {series: (*map(str, bounds), "+Inf") for series, bounds in BOUNDS.items()}
SUMS: dict[str, str] = {
    Count.Series.RELAY: Count.Series.RELAY_SUM,
    Count.Series.ACCEPTANCE: Count.Series.ACCEPTANCE_SUM,
}
STEP = 2000  # attempts at once: for so few, PostgreSQL looks up their mails one by one in the largest table
CODES = 100  # of one provider; a server that makes up ever new ones must not fill Prometheus
OTHER = "other"
RACES = 5
FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)
MARGIN = timedelta(seconds=5)  # a run's end may be written that much later than it says
LONGEST = timedelta(minutes=5)  # the server ends our own transactions before (settings.py)
WRITERS = """
SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()
AND relation IN ('workflows_attempt'::regclass, 'workflows_run'::regclass)
"""


class Key(NamedTuple):
    """What a number is about."""

    series: str
    provider: str = ""
    outcome: str = ""
    code: str = ""
    bound: str = ""


class Tried(NamedTuple):
    """What is read of an attempt."""

    number: int
    provider: str
    outcome: str
    enhanced_code: str
    code: int | None
    milliseconds: int
    at: datetime
    triggered_at: datetime


@dataclass(frozen=True, slots=True)
class Reach:
    """How far there is something to count."""

    attempts: int
    runs: datetime


def count_new() -> bool:
    """Add what is new, in one step. Returns whether there is much more.

    All of it is read before the transaction, since SQLite lets nobody else write meanwhile.
    """
    reach = _reach()  # before it is asked who is writing
    mark, _ = CountMark.objects.get_or_create(pk=CountMark.ONLY, defaults=_beginning(reach))
    _take_back_from_the_future(mark)
    if not _is_settled(mark):
        return False
    attempts = _attempts(after=mark.attempts, until=mark.next_attempts)
    news, last = _of_attempts(attempts), len(attempts) < STEP
    until = mark.next_attempts if last else attempts[-1].number
    if last:
        news |= _of_runs(after=mark.runs, until=mark.next_runs)
    with transaction.atomic():
        step = _look_ahead(mark, reach) if last else {}
        unchanged = CountMark.objects.filter(pk=mark.pk, attempts=mark.attempts, noted_at=mark.noted_at)
        if not unchanged.update(attempts=until, **step):
            return False  # somebody else has just counted the same
        _add(news)
    return not last or reach.attempts - until >= STEP  # a few more can wait: while mail flows there are always some


def counts() -> dict[Key, float]:
    """Return every number as of now: what was counted, and the attempts since. Writes nothing."""
    for _ in range(RACES):
        mark = CountMark.objects.first()
        if mark is None:
            return _sums(_of_attempts(_attempts(after=_beginning(_reach())["attempts"])), known={})
        found = _counted()
        found |= _sums(_of_attempts(_attempts(after=mark.attempts)), known=found)
        if CountMark.objects.filter(pk=mark.pk, attempts=mark.attempts).exists():
            return found  # or some of them were counted in between, and would stand there twice
    raise RuntimeError("The counts change faster than they can be read.")


def _counted() -> dict[Key, float]:
    rows = Count.objects.values_list("series", "provider", "outcome", "code", "bound", "value")
    return {Key(*names): value for *names, value in rows}


def _reach() -> Reach:
    last = Attempt.objects.aggregate(last=Max("pk"))["last"] or 0
    return Reach(last, clock.now() - MARGIN)


def _beginning(reach: Reach) -> dict[str, Any]:
    """Begin with the first mail of a new installation; with what comes from now on, where there may be millions."""
    is_new = reach.attempts <= STEP
    now = {"attempts": 0 if is_new else reach.attempts, "runs": FIRST_DAY if is_new else reach.runs}
    return now | {f"next_{name}": value for name, value in now.items()} | {"noted_at": clock.now()}


def _writers() -> list[str]:
    """Return the transactions that are writing attempts or runs right now."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(WRITERS)
        return [name for (name,) in cursor.fetchall()]


def _is_settled(mark: CountMark) -> bool:
    """Say whether everything up to the noted reach is to be seen."""
    if not mark.open_then or mark.noted_at < clock.now() - LONGEST:
        return True
    return not set(mark.open_then) & set(_writers())


def _take_back_from_the_future(mark: CountMark) -> None:
    """A clock that was ahead has noted how far to count: nothing would be counted until then.

    Runs up to the mark have been counted. They must not be once more, when the time comes at which they say they ended.
    """
    now = clock.now()
    if mark.runs > now:
        Run.objects.filter(finished_at__gt=now, finished_at__lte=mark.runs).update(finished_at=now)
    mark.runs, mark.next_runs = min(mark.runs, now), min(mark.next_runs, now)


def _look_ahead(mark: CountMark, reach: Reach) -> dict[str, Any]:
    """All is counted up to what was noted: note how far to go the next time."""
    noted = {"next_attempts": max(mark.next_attempts, reach.attempts), "next_runs": max(mark.next_runs, reach.runs)}
    return noted | {"runs": mark.next_runs, "open_then": _writers(), "noted_at": clock.now()}


def _of_runs(*, after: datetime, until: datetime) -> dict[Key, float]:
    ended = Run.objects.filter(finished_at__gt=after, finished_at__lte=until).order_by()
    counted = ended.values_list("status").annotate(number=CountOf("pk"))
    return {Key(Count.Series.RUNS, outcome=status): number for status, number in counted}


def _attempts(*, after: int, until: int | None = None) -> list[Tried]:
    """Return the next attempts, at most STEP. Their times are read: SQLite would compute with them in Python, too."""
    rows = Attempt.objects.filter(pk__gt=after).order_by("pk")
    if until is not None:
        rows = rows.filter(pk__lte=until)
    columns = ("pk", "provider", "outcome", "enhanced_code", "code", "milliseconds", "at", "delivery__triggered_at")
    return [Tried(*row) for row in rows.values_list(*columns)[:STEP]]


def _of_attempts(attempts: list[Tried]) -> dict[Key, float]:
    sums: defaultdict[Key, float] = defaultdict(float)
    for one in attempts:
        sums[Key(Count.Series.ATTEMPTS, one.provider, one.outcome, one.enhanced_code or str(one.code or ""))] += 1
        _observe(sums, Count.Series.RELAY, one.provider, one.milliseconds / 1000)
        if one.outcome == Attempt.Outcome.ACCEPTED:
            _observe(sums, Count.Series.ACCEPTANCE, one.provider, (one.at - one.triggered_at).total_seconds())
    return sums


def _observe(sums: dict[Key, float], series: str, provider: str, seconds: float) -> None:
    """Add to the bucket with the lowest bound that is not exceeded, and to the sum of all."""
    place = bisect_left(BOUNDS[series], seconds)
    sums[Key(series, provider, bound=NAMES[series][place])] += 1
    sums[Key(SUMS[series], provider)] += max(seconds, 0)


def _add(news: dict[Key, float]) -> None:
    """Write the sums. Who holds the mark is the only one who writes here."""
    rows = [Count(**key._asdict(), value=value) for key, value in _sums(news, known=_counted()).items()]
    Count.objects.bulk_create(rows, update_conflicts=True, unique_fields=Key._fields, update_fields=["value"])


def _sums(news: dict[Key, float], *, known: dict[Key, float]) -> dict[Key, float]:
    """Return the new sums of what there is news of."""
    sums: dict[Key, float] = {}
    for key, number in news.items():
        key = key if _may_be_named(key, {*known, *sums}) else key._replace(code=OTHER)
        sums[key] = sums.get(key, known.get(key, 0)) + number
    return sums


def _may_be_named(key: Key, known: set[Key]) -> bool:
    if not key.code or key in known:
        return True
    return len({one.code for one in known if one.provider == key.provider}) < CODES
