"""What the page of one delivery tells: what became of it, whom it reached, and what happened one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery, prefetch_related_objects
from django.db.models.functions import Coalesce

from integrations import audit, clock

from . import explain, ids, suppression
from .interventions import VERBS
from .models import Attempt, Delivery, Recipient
from .recipients import canonical
from .told_models import Told

RECIPIENTS = 200
ATTEMPTS = 100
DECISIONS = 20
WITHOUT = set(Recipient.State) - {Recipient.State.ACCEPTED}


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened: an attempt, or a person's decision."""

    at: datetime
    attempt: Attempt | None = None
    actor: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    explanation: explain.Explanation
    recipients: list[Recipient]  # those with trouble first
    recipient_count: int
    steps: list[Step] = field(default_factory=list)  # the newest first


def with_counts(rows: QuerySet[Delivery]) -> QuerySet[Delivery]:
    """Have each row tell how many recipients it has, how many of them are without the mail, and if events told more."""
    everybody = Recipient.objects.filter(delivery=OuterRef("pk")).order_by().values("delivery")
    total = everybody.annotate(total=Count("pk")).values("total")
    without = everybody.filter(state__in=WITHOUT).annotate(total=Count("pk")).values("total")
    rows = rows.annotate(told_of=Exists(Told.objects.filter(recipient__delivery=OuterRef("pk"))))
    return rows.annotate(recipient_count=Coalesce(Subquery(total), 0), without_count=Coalesce(Subquery(without), 0))


def of(delivery: Any, *, paused: bool = False) -> Story:
    """Gather what is known of a delivery (see `with_counts`), by few queries, and not without bounds.

    `paused`: the provider in force is, so no worker takes what is due.
    """
    recipients = _recipients(delivery)
    attempts = list(delivery.attempts.order_by("-pk")[:ATTEMPTS])
    blocked = _add_blocked(recipients)
    facts = _facts(delivery, attempts, recipients, blocked=blocked, paused=paused)
    steps = [Step(attempt.at, attempt=attempt) for attempt in attempts] + _decisions(delivery)
    steps.sort(key=lambda step: step.at, reverse=True)
    return Story(explain.explain(facts), recipients, delivery.recipient_count, steps)


def _recipients(delivery: Any) -> list[Recipient]:
    """Return those with trouble first, each with the `latest` of each kind that was told of it."""
    trouble = Exists(Told.objects.filter(recipient=OuterRef("pk"), kind__in=Told.TROUBLE))
    rows = delivery.recipients.annotate(sound=Q(state=Recipient.State.ACCEPTED) & ~trouble).order_by("sound", "pk")
    recipients = list(rows[:RECIPIENTS])
    if delivery.told_of:
        _add_told(recipients)
    return recipients


def _add_told(recipients: list[Any]) -> None:
    prefetch_related_objects(recipients, Prefetch("told", to_attr="all_told"))
    for row in recipients:
        row.latest = sorted({one.kind: one for one in row.all_told}.values(), key=lambda one: (one.at, one.pk))


def _add_blocked(recipients: list[Any]) -> int:
    """Give those without the mail their suppression that is in force, and count them."""
    without = [row for row in recipients if row.state in WITHOUT]
    listed = suppression.of(row.address for row in without) if without else {}
    for row in without:
        row.blocked = listed.get(canonical(row.address))
    return sum(row.blocked is not None for row in without)


def _facts(
    delivery: Any, attempts: list[Attempt], recipients: list[Recipient], *, blocked: int, paused: bool
) -> explain.Facts:
    last = attempts[0] if attempts else Attempt()
    # Of a mail that goes on, those who are waited for; of one that has ended, those who have not got it.
    states = Recipient.OPEN if delivery.state == Delivery.State.DEFERRED else WITHOUT
    refused = next((row for row in recipients if row.state in states and row.code), None)
    spoken = refused or last  # where the mail as a whole was refused, every recipient has the same reply
    return explain.Facts(
        delivery.state,
        reason=delivery.reason,
        rendered=bool(delivery.recipient_count),  # a mail that could not be made has no recipients
        kept=delivery.purged_at is None,
        confirmed=delivery.accepted_at is not None,
        without=delivery.without_count,
        recipients=delivery.recipient_count,
        suppressed=_suppressed(delivery, recipients),
        reachable=delivery.without_count > blocked or not delivery.without_count,
        bounced=_count_told(delivery, Told.LOST) if delivery.told_of else 0,
        spam=_count_told(delivery, [Told.Kind.SPAM_REPORT]) if delivery.told_of else 0,
        waits=paused or bool(delivery.next_attempt_at and delivery.next_attempt_at > clock.now()),
        stage="rcpt" if refused and last.outcome == Attempt.Outcome.ACCEPTED else last.stage,
        outcome=last.outcome,
        code=spoken.code,
        enhanced=spoken.enhanced_code,
        said=spoken.reply,
    )


def _suppressed(delivery: Delivery, recipients: list[Recipient]) -> int:
    """Count those who are not listed, too."""
    if not any(row.state == Recipient.State.SUPPRESSED for row in recipients):
        return 0
    return delivery.recipients.filter(state=Recipient.State.SUPPRESSED).count()


def _count_told(delivery: Delivery, kinds: Iterable[str]) -> int:
    """Count the recipients of whom one of these was told."""
    told = Told.objects.filter(recipient__delivery=delivery, kind__in=kinds)
    return told.order_by().values("recipient").distinct().count()


def _decisions(delivery: Delivery) -> list[Step]:
    """What people decided about this mail alone; an action on many has one entry, which names a filter."""
    since = ids.made_at(delivery.pk).date()
    entries: QuerySet[Any] = audit.entries(audit.Wanted(since=since)).filter(
        action__in=[verb.done for verb in VERBS.values()], details__delivery=str(delivery.pk), details__done=1
    )
    return [Step(entry.at, actor=entry.actor, action=entry.action) for entry in entries[:DECISIONS]]
