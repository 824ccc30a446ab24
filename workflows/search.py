"""Which deliveries: a filter as a value, as a query, as words, as rows; and the pages of a list.

A delivery's id is a UUIDv7, so its order is the order of time: newest first is the primary key backwards, a time is
a range of it, and a page goes on from an id. No page counts what it does not show.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from itertools import accumulate
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery, Value, prefetch_related_objects
from django.db.models.functions import Lower
from django.utils import timezone

from . import ids, samples
from .models import Attempt, Delivery, Recipient, Workflow
from .told_models import Told

PAGE = 50
RECIPIENTS_SHOWN = 20
RECIPIENTS_AT_ONCE = 2000  # of the mails of one answer: a thousand take some MB, and a third of a second
# As integrations.providers has them; a test compares.
PROVIDERS = {"smtp": "SMTP", "sendgrid": "SendGrid", "default": "Default sender"}
# Ours is <the id's 32 digits@domain>: a Message-ID from a relay's log leads to the row without an index of its own.
_ID = re.compile(r"<?([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:@[^\s<>]+)?>?", re.I)
_WHOLE_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What is wanted; what is blank does not matter. `since` is inclusive, `until` is not."""

    state: tuple[str, ...] = ()
    provider: str = ""
    workflow: str = ""
    recipient: str = ""
    since: datetime | None = None
    until: datetime | None = None
    code: str = ""
    search: str = ""
    run: uuid.UUID | None = None
    bounced: bool = False

    def __bool__(self) -> bool:
        return self != DeliveryFilter()

    def as_query(self) -> str:
        """Return the filter as the query of an address, which FilterForm reads back."""
        named = {name: _plain(value) for name, value in asdict(self).items() if value}
        return urlencode(named, doseq=True)

    def in_words(self) -> str:
        """Return the filter for headings, confirmations and the audit log: 'failed since 24 November 2026'."""
        told = replace(self, provider=PROVIDERS.get(self.provider, ""))
        parts = [words.format(_spoken(getattr(told, name))) for name, words in _WORDS.items() if getattr(told, name)]
        return " ".join(parts) or "all"

    @property
    def folded(self) -> bool:
        """Tell whether nothing but states and words is wanted, so that the other fields may stay out of sight."""
        return not any(getattr(self, one.name) for one in fields(self) if one.name not in ("state", "search"))


_WORDS = {
    "state": "{}",
    "bounced": "bounced afterwards",
    "provider": "through {}",
    "workflow": "of workflow {}",
    "run": "of run {}",
    "recipient": "to {}",
    "since": "since {}",
    "until": "before {}",
    "code": "because of {}",
    "search": "with ‘{}’",
}


def _spoken(value: Any) -> str:
    if isinstance(value, tuple):
        return " or ".join(value)
    if not isinstance(value, datetime):
        return str(value)
    local = timezone.localtime(value)
    clock = f" {local:%H:%M:%S}".removesuffix(":00") if (local.hour, local.minute, local.second) != (0, 0, 0) else ""
    return f"{local.day} {local:%B %Y}{clock}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{timezone.localtime(value):%Y-%m-%dT%H:%M:%S}".removesuffix(":00")
    return value if isinstance(value, tuple) else str(value)


def matching(wanted: DeliveryFilter) -> QuerySet[Delivery]:
    """Return the deliveries wanted, newest first."""
    rows = Delivery.objects.order_by("-pk")
    for name, condition in _CONDITIONS.items():
        value = getattr(wanted, name)
        rows = rows.filter(condition(value)) if value else rows
    return rows


def _of_workflow(slug: str) -> Q:
    """Not by a join: so the database sees one value, and walks its index in order."""
    return Q(workflow=Subquery(Workflow.objects.filter(slug=slug).values("pk")[:1]))


def _sent_to(text: str) -> Exists:
    """A whole address is looked up in the index of Lower(address); a part of one in every row that the rest leaves.

    An index serves LIKE 'part%' on PostgreSQL only with text_pattern_ops or the collation C, a range from 'part' to
    its successor depends on the collation, too, and people ask for domains, the end of an address, as often as for
    its beginning. Measured: with a million recipients, a part that nobody has takes 0.2 s, a whole address 10 ms.
    """
    addressed = Recipient.objects.filter(delivery=OuterRef("pk")).annotate(lower=Lower("address"))
    # Both sides in the database's own small letters, which on SQLite are those of ASCII alone.
    if _WHOLE_ADDRESS.fullmatch(text):
        return Exists(addressed.filter(lower=Lower(Value(text))))
    return Exists(addressed.filter(lower__contains=Lower(Value(text))))


def _met_with(code: str) -> Q:
    """A reply code (535) or an enhanced one (5.7.1), of any attempt or recipient. No index: 0.3 s in a million."""
    said = {"enhanced_code": code} if "." in code else {"code": int(code)}
    attempts = Attempt.objects.filter(delivery=OuterRef("pk"), **said)
    recipients = Recipient.objects.filter(delivery=OuterRef("pk"), **said)
    return Q(Exists(attempts)) | Q(Exists(recipients))


def _named(words: str) -> Q:
    """An id (the delivery's, its run's), a Message-ID, or a part of the subject."""
    found = _ID.fullmatch(words)
    if found:
        return Q(pk=uuid.UUID(found[1])) | Q(run=uuid.UUID(found[1]))
    return Q(subject__icontains=words)


_CONDITIONS: dict[str, Callable[[Any], Q | Exists]] = {
    "state": lambda states: Q(state__in=states),
    "bounced": lambda _: Q(bounced_at__isnull=False),
    "provider": lambda name: Q(provider=name),
    "workflow": _of_workflow,
    "run": lambda pk: Q(run=pk),
    "since": lambda moment: Q(pk__gte=ids.first_id_at(moment)),
    "until": lambda moment: Q(pk__lt=ids.first_id_at(moment)),
    "recipient": _sent_to,
    "code": _met_with,
    "search": _named,
}


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, newest first; and from which row Newer and Older go on, None where there is nothing."""

    rows: list[Delivery]
    newer: uuid.UUID | None = None
    older: uuid.UUID | None = None


def page(wanted: DeliveryFilter, *, before: uuid.UUID | None = None, after: uuid.UUID | None = None) -> Page:
    """Return the rows older than `before`, or those just newer than `after`, or the newest.

    It goes on from an id and not from a number of rows, so the thousandth page takes no longer than the first.
    """
    rows = matching(wanted).select_related("workflow").defer("content")
    if after:
        newer = list(rows.filter(pk__gt=after).order_by("pk")[: PAGE + 1])
        if len(newer) > PAGE:
            return _page(newer[:PAGE][::-1], newer=True, older=True)
        before = None  # the first page has room for them: no page is shorter than it need be
    older = list((rows.filter(pk__lt=before) if before else rows)[: PAGE + 1])
    return _page(older[:PAGE], newer=before is not None, older=len(older) > PAGE)


def at_once(rows: QuerySet[Delivery]) -> tuple[list[uuid.UUID], bool]:
    """Return the ids of the first rows, fewer than PAGE where their recipients are many; and whether more follow."""
    keys = list(rows.values_list("pk", flat=True)[: PAGE + 1])
    totals = accumulate(_numbers_of_recipients(keys))
    few = sum(total <= RECIPIENTS_AT_ONCE for total in totals)
    taken = keys[: min(max(few, 1), PAGE)]
    return taken, len(taken) < len(keys)


def without_room(rows: QuerySet[Delivery]) -> set[uuid.UUID]:
    """Return the ids of those rows whose recipients are too many for one answer, after those of the rows before."""
    keys, left_out, room = list(rows.values_list("pk", flat=True)), set(), RECIPIENTS_AT_ONCE
    for key, number in zip(keys, _numbers_of_recipients(keys), strict=True):
        if number > room:
            left_out.add(key)
        else:
            room -= number
    return left_out


def _numbers_of_recipients(keys: list[uuid.UUID]) -> list[int]:
    of_them = Recipient.objects.filter(delivery__in=keys).order_by().values_list("delivery")
    numbers = dict(of_them.annotate(Count("pk")))
    return [numbers.get(key, 0) for key in keys]


def _page(rows: list[Delivery], *, newer: bool, older: bool) -> Page:
    _add_recipients_and_tests(rows)
    _add_lost(rows)
    if not rows:
        return Page([])
    return Page(rows, newer=rows[0].pk if newer else None, older=rows[-1].pk if older else None)


def _add_recipients_and_tests(rows: list[Delivery]) -> None:
    """Give each row its first recipients, their number, and whether it is a test, by two queries about these rows."""
    keys = [row.pk for row in rows]
    first = Recipient.objects.order_by("pk")[:RECIPIENTS_SHOWN]
    prefetch_related_objects(rows, Prefetch("recipients", queryset=first, to_attr="first_recipients"))
    known = Delivery.objects.filter(pk__in=keys).order_by().values("pk", test=samples.is_test("run__"))
    found = {row["pk"]: row for row in known.annotate(number=Count("recipients"))}
    for row in rows:
        one = found.get(row.pk, {"number": 0, "test": False})  # erased meanwhile
        row.recipient_count, row.is_test = one["number"], one["test"]  # type: ignore[attr-defined]


def _add_lost(rows: list[Delivery]) -> None:
    """Give each row that bounced the addresses that it did not reach, by one query where there is one."""
    bounced = [row.pk for row in rows if row.bounced_at]
    told = Told.objects.filter(recipient__delivery__in=bounced, kind__in=Told.LOST) if bounced else Told.objects.none()
    lost: dict[uuid.UUID, dict[str, None]] = {}
    for mail, address in told.order_by("recipient").values_list("recipient__delivery", "recipient__address"):
        lost.setdefault(mail, {})[address] = None
    for row in rows:
        row.lost = list(lost.get(row.pk, ()))  # type: ignore[attr-defined]
