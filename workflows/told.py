"""What providers tell of mails after they have accepted them: stored once, in any order, and what follows from it.

Nothing told is ever a reason to send again: a provider that defers goes on trying by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce, Least

from integrations import feedback
from integrations.feedback import Kind, Notice

from . import run_ends, suppression
from .leases import RELEASED
from .models import Delivery, Recipient
from .recipients import canonical
from .told_models import Suppression, Told

SENDGRID = "sendgrid"
BATCH = 1000
HEARD = "Its answer was not heard; SendGrid told later that it has taken the mail."
_SUPPRESSED = {Kind.BOUNCE: Suppression.Kind.BOUNCE, Kind.SPAM_REPORT: Suppression.Kind.COMPLAINT}
_OF_RECIPIENT = Told.objects.filter(recipient=OuterRef("pk"))
_OF_DELIVERY = Told.objects.filter(recipient__delivery=OuterRef("pk")).order_by("at", "pk")
Match = tuple[Notice, int, uuid.UUID]  # an event, its recipient, its delivery


def record(told: Sequence[Notice]) -> None:
    """Store what SendGrid told of our mails, once; what is not about any of them is passed over."""
    feedback.note_heard()
    for start in range(0, len(told), BATCH):
        with transaction.atomic():  # for each: behind the locks of addresses none of mails may follow
            _record(_unknown(told[start : start + BATCH]))


def _unknown(told: Iterable[Notice]) -> list[Notice]:
    """Leave out what was told before: SendGrid repeats itself, also within one POST."""
    news = {notice.event_id: notice for notice in told}
    known = Told.objects.filter(event_id__in=news).values_list("event_id", flat=True)
    for event_id in list(known):
        del news[event_id]
    return list(news.values())


def _record(news: Sequence[Notice]) -> None:
    """Store events that are new, by as many queries for a thousand as for one; the locks go from mails to addresses."""
    matches = _matches(news)
    lost = {delivery for one, _, delivery in matches if str(one.kind) in Told.LOST}
    touched = Delivery.objects.select_for_update().filter(pk__in={delivery for *_, delivery in matches})
    mails = list(touched.order_by("pk").values_list("pk", flat=True))
    # Another process may have stored one meanwhile: then it is known.
    Told.objects.bulk_create([_row(one, recipient) for one, recipient, _ in matches], ignore_conflicts=True)
    first = _OF_DELIVERY.filter(kind__in=Told.LOST).values("at")[:1]
    Delivery.objects.filter(pk__in=lost).update(bounced_at=Subquery(first))
    resolve(mails)
    suppression.enlist(_finding(one, delivery) for one, _, delivery in matches if one.kind in _SUPPRESSED)


def _row(one: Notice, recipient: int) -> Told:
    return Told(recipient_id=recipient, kind=one.kind, at=one.at, reason=one.reason, event_id=one.event_id)


def _finding(one: Notice, delivery: uuid.UUID) -> Suppression:
    kind = _SUPPRESSED[one.kind]
    return suppression.finding(
        one.address, kind, since=one.at, reason=one.reason, told_by=SENDGRID, delivery_id=delivery
    )


def _matches(news: Sequence[Notice]) -> list[Match]:
    """Find the recipient of each event; an address in another spelling than ours is the same."""
    deliveries = _deliveries(news)
    rows = Recipient.objects.filter(delivery__in=set(deliveries.values())).values_list("pk", "delivery", "address")
    found: dict[tuple[uuid.UUID, str], int] = {}
    for pk, delivery, address in rows:
        found.setdefault((delivery, canonical(address)), pk)
        found[delivery, address] = pk
    about = [(one, deliveries[one.event_id]) for one in news if one.event_id in deliveries]
    keys = [
        (one, found.get((mail, one.address)) or found.get((mail, canonical(one.address))), mail) for one, mail in about
    ]
    return [(one, recipient, mail) for one, recipient, mail in keys if recipient]


def _deliveries(news: Sequence[Notice]) -> dict[str, uuid.UUID]:
    """Return the delivery of each event: the one whose number we had written on the mail, else by SendGrid's own."""
    named = {one.event_id: _id(one.delivery) for one in news}
    ours = {event: pk for event, pk in named.items() if pk}
    known = set(Delivery.objects.filter(pk__in=set(ours.values())).values_list("pk", flat=True))
    found = {event: pk for event, pk in ours.items() if pk in known}
    rest = {one.event_id: one.message_id for one in news if one.event_id not in found and one.message_id}
    return found | _by_number(rest)


def _by_number(numbers: Mapping[str, str]) -> dict[str, uuid.UUID]:
    if not numbers:
        return {}
    rows = Delivery.objects.exclude(provider_id="").filter(provider=SENDGRID, provider_id__in=set(numbers.values()))
    known = dict(rows.values_list("provider_id", "pk"))
    return {event: known[number] for event, number in numbers.items() if number in known}


def _id(text: str) -> uuid.UUID | None:
    with suppress(ValueError):
        return uuid.UUID(text)
    return None


def resolve(keys: Iterable[uuid.UUID]) -> None:
    """End what nobody had heard the outcome of, where events tell that SendGrid has it. Within a transaction.

    Whoever was told about has been accepted, also where time was over meanwhile; the others go on waiting, or stay
    without it. A mail in a worker's hands is left alone.
    """
    mails = list(keys)
    ended = _end_unheard(mails) | _correct_failed(mails)
    run_ends.settle_anew(set(ended.values()))


def _end_unheard(mails: list[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Return what has ended, each with its run."""
    unheard = Delivery.objects.filter(pk__in=mails, state__in=_UNHEARD, lease__isnull=True)
    told_of = Recipient.objects.filter(Exists(_OF_RECIPIENT), delivery__in=unheard, state__in=Recipient.OPEN)
    if not told_of.update(state=Recipient.State.ACCEPTED, **_SAID):
        return {}
    somebody_waits = Recipient.objects.filter(delivery=OuterRef("pk"), state__in=Recipient.OPEN)
    ended = dict(unheard.exclude(Exists(somebody_waits)).values_list("pk", "run"))
    Delivery.objects.filter(pk__in=ended, state__in=_UNHEARD, lease__isnull=True).update(**_TAKEN)
    return ended


def _correct_failed(mails: list[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Return what has ended otherwise than it was written down; what SendGrid refused stays refused."""
    over = Delivery.objects.filter(pk__in=mails, state__in=_OVER)
    told_of = Recipient.objects.filter(Exists(_OF_RECIPIENT), delivery__in=over, state=Recipient.State.FAILED)
    ended = dict(told_of.values_list("delivery", "delivery__run"))
    if ended:
        told_of.update(state=Recipient.State.ACCEPTED, **_SAID)
        over.filter(pk__in=ended).update(**_TAKEN)
    return ended


_UNHEARD = (Delivery.State.UNKNOWN, Delivery.State.HELD)
_OVER = (Delivery.State.FAILED, Delivery.State.ACCEPTED)
_SAID: dict[str, Any] = {"code": None, "enhanced_code": "", "reply": "SendGrid told so later"}
_FIRST = Subquery(_OF_DELIVERY.values("at")[:1])
_TAKEN: dict[str, Any] = {
    "state": Delivery.State.ACCEPTED,
    "reason": HEARD,
    "provider": SENDGRID,
    "accepted_at": Least(Coalesce("accepted_at", _FIRST), _FIRST),  # somebody may have had it before
    "next_attempt_at": None,
}


def leave_to_events(delivery: Delivery) -> bool:
    """Do not send a leased mail where an event has told meanwhile that SendGrid has it. Returns whether it was so."""
    waiting = Told.objects.filter(recipient__delivery=delivery, recipient__state__in=Recipient.OPEN)
    # Whatever provider it names: none where a worker died at the first attempt, another where the way out has changed.
    if not waiting.exists():
        return False
    ours = Delivery.objects.filter(pk=delivery.pk, lease=delivery.lease)
    with transaction.atomic():
        if ours.update(state=Delivery.State.UNKNOWN, **RELEASED):  # who is not told of yet is due again at once
            resolve([delivery.pk])
    return True
