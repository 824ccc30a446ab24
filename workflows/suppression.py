"""Whom nothing is sent to, through any provider: listed by what is told of a mail, released by time or by an Admin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Lower
from django.utils import timezone

from integrations import audit, clock

from .models import Delivery, Recipient
from .plans import among, keys_of
from .recipients import canonical
from .search import PROVIDERS
from .told_models import Suppression

PAGE = 50
LONGEST_DAYS = 36_500  # beyond the calendar's end an outcome could not be recorded
LISTED = 20  # ids in an audit entry
A_DAY = timedelta(days=1)
_CHUNK = 5000  # SQLite takes 32,766 parameters at the most
_MERGED = ("kind", "reason", "since", "told_by", "delivery_id", "expires_at")
_RANK = {kind: rank for rank, kind in enumerate(Suppression.Kind.values)}
# RFC 3463 section 3.2: those that speak about the recipient's address. 5.1.7 and 5.1.8 speak about the sender's.
GONE = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10")
SMTP = ("smtp", "default")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of those in force; what is blank does not matter."""

    search: str = ""
    kind: str = ""
    since: datetime | None = None

    def __bool__(self) -> bool:
        return self != Wanted()

    def rows(self) -> QuerySet[Suppression]:
        rows = in_force()
        if self.search:
            rows = rows.filter(address__contains=_spelt(self.search))
        if self.kind:
            rows = rows.filter(kind=self.kind)
        return rows.filter(since__gte=self.since) if self.since else rows

    def named(self) -> dict[str, str]:
        """Return what FilterForm reads back, from an address or from fields out of sight."""
        since = f"{timezone.localtime(self.since):%Y-%m-%dT%H:%M:%S}" if self.since else ""
        named = {"search": self.search, "kind": self.kind, "since": since}
        return {name: value for name, value in named.items() if value}

    def as_query(self) -> str:
        return urlencode(self.named())

    def in_words(self) -> dict[str, str]:
        """Return it for the audit log, without the addresses: an entry is never deleted."""
        words = {"kind": self.kind, "since": str(self.since or ""), "by_address": "yes" if self.search else ""}
        return {name: word for name, word in words.items() if word}


def _spelt(part: str) -> str:
    return canonical(part) if "@" in part.strip("@") else part.lower()


def in_force() -> QuerySet[Suppression]:
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=clock.now())
    return Suppression.objects.filter(unexpired, released_at__isnull=True)


def of(addresses: Iterable[str]) -> dict[str, Suppression]:
    """Return the suppressions in force of these addresses, by `canonical` address."""
    keys = sorted({canonical(address) for address in addresses})
    chunks = (keys[start : start + _CHUNK] for start in range(0, len(keys), _CHUNK))
    listed = (listed for chunk in chunks if (listed := _listed(chunk)))
    return {row.address: row for some in listed for row in in_force().filter(address__in=some)}


def _listed(addresses: list[str]) -> list[str]:
    """Return which of these are listed at all: nearly always none, and asked for every batch of mails."""
    query = f"SELECT address FROM workflows_suppression WHERE address {among('keys')}"  # noqa: S608 # nosec B608
    found = connection.ask(query, {"keys": keys_of(addresses)})  # type: ignore[attr-defined]
    return [address for (address,) in found]


def in_words(row: Suppression) -> str:
    """Say why nothing is sent there: 'bounced on 26 November 2026, told by SendGrid: 550 no such user'."""
    since = timezone.localtime(row.since)
    told_by = PROVIDERS.get(row.told_by, row.told_by)
    said = f"{row.get_kind_display()} on {since.day} {since:%B %Y}, told by {told_by}"
    return f"{said}: {row.reason}" if row.reason else said


def finding(address: str, kind: str, *, since: datetime, reason: str, told_by: str, delivery_id: Any) -> Suppression:
    """Return a reason to send nothing more to an address, not stored yet."""
    days = 0 if kind == Suppression.Kind.COMPLAINT else min(settings.SUPPRESSION_DAYS, LONGEST_DAYS)
    return Suppression(
        address=canonical(address),
        kind=kind,
        since=since,
        reason=reason,
        told_by=told_by,
        delivery_id=delivery_id,
        expires_at=since + timedelta(days=days) if days > 0 else None,
    )


def enlist(findings: Iterable[Suppression]) -> None:
    """Put addresses on the list. Called within a transaction, and in any order: what counts most stays."""
    best: dict[str, Suppression] = {}
    for found in findings:
        if found.address not in best or _weight(found) > _weight(best[found.address]):
            best[found.address] = found
    keys = sorted(best)
    if not keys:
        return
    before = set(in_force().filter(address__in=keys).values_list("address", flat=True))
    Suppression.objects.bulk_create([best[key] for key in keys], ignore_conflicts=True)
    for row in Suppression.objects.select_for_update().filter(address__in=keys).order_by("address"):
        _merge(row, best[row.address])
    after = list(in_force().filter(address__in=set(keys) - before))
    if after:
        _audit(after)


def _merge(row: Suppression, found: Suppression) -> None:
    """Let a new finding take the place of one that counts less, or that was released before it happened."""
    counts = found.since > row.released_at if row.released_at else _weight(found) > _weight(row)
    if counts:
        values = {name: getattr(found, name) for name in _MERGED}
        Suppression.objects.filter(pk=row.pk).update(**values, released_at=None, released_by="")


def _weight(row: Suppression) -> tuple[bool, int, datetime, str, str]:
    unexpired = row.expires_at is None or row.expires_at > clock.now()
    return unexpired, _RANK[row.kind], row.since, row.reason, str(row.delivery_id)


def _audit(rows: Sequence[Suppression]) -> None:
    """Without the addresses: an entry is never deleted. The deliveries lead to them while they are kept."""
    mails = sorted({str(row.delivery_id) for row in rows if row.delivery_id})[:LISTED]
    actor = PROVIDERS.get(rows[0].told_by, rows[0].told_by)
    audit.record("addresses suppressed", actor=actor, addresses=len(rows), deliveries=mails)


def enlist_refused(delivery: Delivery, tried: Iterable[Recipient], *, provider: str) -> None:
    """List whom a relay does not know. Only a server's own word counts, and only on this address."""
    gone = [row for row in tried if row.state == "refused" and row.code and row.enhanced_code in GONE]
    if gone and provider in SMTP:
        known = _known_until_lately(delivery, gone)
        enlist(
            finding(
                row.address,
                Suppression.Kind.REFUSED,
                since=clock.now(),
                reason=row.said,
                told_by=provider,
                delivery_id=delivery.pk,
            )
            for row in gone
            if row.address not in known
        )


def _known_until_lately(delivery: Delivery, refused: Iterable[Recipient]) -> set[str]:
    """Return which of these took a mail before and have not been refused for a day since.

    A relay that has lost its directory knows nobody for a while; who had mail before must not be listed for that.
    """
    earlier = Recipient.objects.alias(lower=Lower("address")).filter(lower=Lower(OuterRef("address")))
    taken = earlier.filter(state=Recipient.State.ACCEPTED).order_by("-delivery").values("delivery")[:1]
    for_a_day = earlier.exclude(delivery=delivery.pk).filter(
        delivery__gt=OuterRef("taken"),
        delivery__attempts__at__lte=clock.now() - A_DAY,
        state=Recipient.State.REFUSED,
        enhanced_code__in=GONE,
    )
    ours = Recipient.objects.filter(delivery=delivery.pk, address__in=[row.address for row in refused])
    rows = ours.annotate(taken=Subquery(taken))
    return set(rows.exclude(taken=None).exclude(Exists(for_a_day)).values_list("address", flat=True))


def release(pk: int, *, actor: str) -> Suppression | None:
    """Send to an address again from now on. Returns what was in force, or None where nothing was any more."""
    with transaction.atomic():
        row = in_force().filter(pk=pk).first()
        if row is None or not in_force().filter(pk=pk).update(released_at=clock.now(), released_by=actor[:150]):
            return None
        details = {"kind": row.kind, "delivery": str(row.delivery_id)} if row.delivery_id else {"kind": row.kind}
        audit.record("address released", actor=actor, suppression=pk, **details)
    return row


def release_all(wanted: Wanted, *, until: datetime, actor: str) -> Counter[str]:
    """Send again to whom is wanted and was listed until then, but for reports of spam. Counts them by who told."""
    with transaction.atomic():
        rows = releasable(wanted).filter(since__lte=until)
        # In the order in which `enlist` locks them: neither waits for the other that waits for it.
        found = Counter(rows.select_for_update().order_by("address").values_list("told_by", flat=True))
        if found:
            rows.update(released_at=clock.now(), released_by=actor[:150])
            audit.record("addresses released", actor=actor, addresses=found.total(), **wanted.in_words())
    return found


def releasable(wanted: Wanted) -> QuerySet[Suppression]:
    return wanted.rows().exclude(kind=Suppression.Kind.COMPLAINT)


def page(wanted: Wanted, *, before: int | None = None) -> tuple[list[Suppression], int | None]:
    """Return what is in force, the newest first, and where the next page begins, or None."""
    rows = wanted.rows().order_by("-since", "-pk")
    last = Suppression.objects.filter(pk=before).first() if before else None
    if last:
        rows = rows.filter(since__lte=last.since).exclude(since=last.since, pk__gte=last.pk)
    found = list(rows[: PAGE + 1])
    return found[:PAGE], found[PAGE - 1].pk if len(found) > PAGE else None
