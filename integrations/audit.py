"""The append-only record of who changed the configuration, and who came in."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from .models import AuditEvent

COMMAND_LINE = "command line"
PAGE = 50
_NAMED = 5000  # actions of so many newest entries are offered: to look at all of them would take long
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # OWASP: what spreadsheets may carry out


def record(action: str, *, actor: str, **details: Any) -> None:
    """Write one audit entry. `details` must hold no secret: name changed secrets, never quote them."""
    AuditEvent.objects.create(action=action, actor=actor[:150], details=details)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries; what is blank does not matter. Both days are inclusive."""

    actor: str = ""
    action: str = ""
    since: date | None = None
    until: date | None = None


def entries(wanted: Wanted) -> QuerySet[AuditEvent]:
    """Return the entries wanted, newest first."""
    found = AuditEvent.objects.order_by("-at", "-pk")
    if wanted.actor:
        found = found.filter(actor=wanted.actor)
    if wanted.action:
        found = found.filter(action=wanted.action)
    if wanted.since:
        found = found.filter(at__gte=_midnight(wanted.since))
    if wanted.until:
        found = found.filter(at__lt=_midnight(wanted.until) + timedelta(days=1))
    return found


def page(wanted: Wanted, *, before: int | None = None) -> tuple[list[AuditEvent], int | None]:
    """Return the entries that follow `before`, and where the next page begins, or None.

    It goes on from an entry and not from a number of them, so the thousandth page takes no longer than the first.
    """
    found = entries(wanted)
    last = AuditEvent.objects.filter(pk=before).first() if before else None
    if last:
        found = found.filter(at__lte=last.at).exclude(at=last.at, pk__gte=last.pk)
    rows = list(found[: PAGE + 1])
    return rows[:PAGE], rows[PAGE - 1].pk if len(rows) > PAGE else None


def actions() -> list[str]:
    """Return the names of actions to choose from."""
    newest = AuditEvent.objects.order_by("-pk").values("pk")[:_NAMED]
    return sorted(set(AuditEvent.objects.filter(pk__in=newest).order_by().values_list("action", flat=True)))


def in_words(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the details of an entry for people, in order; what is not known is left out."""
    return [(name.replace("_", " "), _word(value)) for name, value in sorted(details.items()) if value is not None]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(one) for one in value) or "nothing" if isinstance(value, list) else str(value)


def as_csv(wanted: Wanted) -> Iterator[str]:
    """Yield the entries wanted as lines of CSV, without ever holding all of them."""
    write = csv.writer(_Echo()).writerow
    yield write(["time", "actor", "action", "details"])
    for event in entries(wanted).iterator(chunk_size=1000):
        details = json.dumps(event.details, ensure_ascii=False, sort_keys=True)
        yield write(_harmless([event.at.isoformat(), event.actor, event.action, details]))


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def _harmless(cells: Sequence[str]) -> list[str]:
    """Put an apostrophe before what a spreadsheet would take for a formula."""
    return [f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell for cell in cells]


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))
