"""Send what is due: claim a batch, hand each mail over, record what became of it; take back what the dead held.

    queued -> sending -> accepted | deferred -> sending ... | failed | unknown -> sending ... | held

A claim is one conditional UPDATE that writes a lease. Every later write carries the lease, so a worker
that lost it changes nothing.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import Any

from django.core.mail import EmailMessage, get_connection
from django.db import Error as DatabaseTrouble

from integrations import clock
from integrations.transports.base import Receipt, Scope, TransportError

from . import acceptance, log_fields, starts
from .leases import BATCH, Lease, shorten_leases_from_the_future
from .models import Delivery, Recipient
from .outcomes import others_come_next, record_error, record_given_up, record_nobody_left, record_receipt, unknown
from .outlook import Outlook
from .sparing import spare_suppressed
from .told import leave_to_events

logger = logging.getLogger(__name__)

DATABASE_PAUSE = MACHINE_PAUSE = timedelta(seconds=30)
WORKER_ENDED = "The worker ended before it had heard the relay's answer."
CRASHED = "The database or its machine crashed while a worker had this mail in hand: an answer may be lost with it."


def send_due(made: Lease | None = None) -> bool:
    """Send the mails that runs have just made, then a batch of what else is due. Returns whether there may be more."""
    mailer = get_connection()
    try:
        if not _may_begin(made, mailer=mailer):
            return False
        if made and made.batch and not _send_batch(made, mailer=mailer):
            return False
        lease = Lease(began=made.began if made else None)
        batch = lease.claim()
        return bool(batch) and _send_batch(lease, mailer=mailer) and (len(batch) == BATCH or lease.goes_on)
    finally:
        mailer.close()


def _may_begin(made: Lease | None, *, mailer: Any) -> bool:
    """Open the way out. Where that cannot be, what runs have made is queued: nothing of it was tried."""
    ready = False
    try:
        ready = not why_waiting(mailer)
    finally:
        if made and not (ready and made.batch):
            made.give_back()
    return ready


def why_waiting(mailer: Any) -> str:
    """Open the way out for a batch; where no mail may leave now (a pause, a limit), say why."""
    try:
        mailer.open()
    except TransportError as error:
        logger.info("mail waits: %s", error.provider or "a limit")
        return error.text
    return ""


def _send_batch(lease: Lease, *, mailer: Any) -> bool:
    """Send one after another. Returns whether it makes sense to go on with the next batch."""
    try:
        return _send_all(lease, mailer=mailer)
    except DatabaseTrouble as error:  # for longer than we wait
        if isinstance(error, acceptance.NotNoted):
            lease.is_to_note(error.noted)
        lease.give_back_later()
        raise


def _send_all(lease: Lease, *, mailer: Any) -> bool:
    outlook = Outlook(lease.batch, untried=lease.untried)
    mails = [StoredMail(delivery, connection=mailer) for delivery in lease.batch]
    for delivery, mail, following in zip_longest(lease.batch, mails, mails[1:]):
        if not lease.may_send(delivery):
            break
        mail.following = following
        sent = _send_one(delivery, mail, outlook=outlook)
        if sent.untried:
            lease.was_not_tried(delivery)
        if sent.others_wait is not None:
            wait = sent.others_wait
            lease.give_back(next_attempt_at=clock.now() + wait if wait else None)
            return False
        lease.goes_on |= sent.goes_on
        lease.remember(sent.noted)
    lease.give_back()
    return True


@dataclass(frozen=True, slots=True)
class Sent:
    """What trying one mail led to, for the others of its batch: how long they have to wait, None where they need not.

    `untried`: nothing of it was handed over. `noted`: it was accepted for everybody, which is noted under the lease.
    `goes_on`: it is due again at once, for those of its recipients who come next.
    """

    others_wait: timedelta | None = None
    untried: bool = False
    noted: acceptance.Note | None = None
    goes_on: bool = False


@log_fields.about_first
def _send_one(delivery: Delivery, mail: StoredMail, *, outlook: Outlook) -> Sent:
    """Try one mail and record the outcome."""
    began = time.monotonic()
    try:
        outlook.refresh()
        if _is_left_to_events(delivery, outlook) or _ends_without_attempt(delivery, outlook):
            return Sent()
        mail.following = _if_expected(mail.following, outlook)
        mail.send()
    except TransportError as error:
        outlook.forget()
        error.milliseconds = error.milliseconds or round((time.monotonic() - began) * 1000)
        if not error.untried:
            record_error(delivery, error)
        return Sent(others_wait=_wait_of_others(error), untried=error.untried)
    except DatabaseTrouble:
        # While content or provider were looked up: transports know no database, so nothing was handed over.
        logger.exception("delivery %s: the database does not answer", delivery.pk)
        return Sent(others_wait=DATABASE_PAUSE, untried=True)
    except Exception:  # a defect of ours: it must neither stop the other mails nor be taken for a refusal
        logger.exception("delivery %s met a defect", delivery.pk)
        record_error(delivery, unknown("A defect of rootmail itself: the worker's log holds the details."))
        return Sent()
    return _record(delivery, mail, outlook)


def _if_expected(following: StoredMail | None, outlook: Outlook) -> StoredMail | None:
    """Return the next mail if it can be made ready now, and will leave as it is: else it would cost the session."""
    if following and following.is_at_hand and not outlook.spares_any_of(following.delivery):
        return following
    return None


def _wait_of_others(error: TransportError) -> timedelta | None:
    if error.scope == Scope.MACHINE:  # another machine may take them meanwhile
        return MACHINE_PAUSE
    # Then the provider is paused: whoever claims next is told so before.
    return timedelta() if error.scope == Scope.PROVIDER else None


def _record(delivery: Delivery, mail: StoredMail, outlook: Outlook) -> Sent:
    plain = acceptance.is_plain(delivery, mail.receipt) and delivery.pk in outlook.alone
    if plain:
        return Sent(noted=acceptance.note(delivery, mail.receipt))
    outlook.forget()
    record_receipt(delivery, mail.receipt, addresses=mail.recipients())
    return Sent(goes_on=others_come_next(mail.receipt.refused))


def _is_left_to_events(delivery: Delivery, outlook: Outlook) -> bool:
    """Before its first attempt nobody can have told of a mail; what was tried is asked for in this very moment."""
    return delivery.pk in outlook.told and leave_to_events(delivery)


def _ends_without_attempt(delivery: Delivery, outlook: Outlook) -> bool:
    """End a mail whose time is over, or that nobody is left to send to."""
    if delivery.give_up_at <= clock.now():
        record_given_up(delivery)
    elif not spare_suppressed(delivery, outlook.suppressed):
        record_nobody_left(delivery)
    else:
        return False
    return True


class StoredContent:
    """Ready bytes where Django expects a message that it can turn into bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def as_bytes(self, *_: Any, **__: Any) -> bytes:
        return self._content


class StoredMail(EmailMessage):
    """A delivery as Django sends mail: rendered once, so every attempt hands over the same bytes."""

    receipt: Receipt
    following: StoredMail | None = None

    def __init__(self, delivery: Delivery, *, connection: Any) -> None:
        super().__init__(delivery.subject, from_email=delivery.requested_from, connection=connection)
        self.delivery = delivery

    def recipients(self) -> list[str]:
        """Return who is due at this moment. Whom a relay has put off comes last, and holds up nobody that way."""
        waiting = [recipient for recipient in self.delivery.people if recipient.state in Recipient.OPEN]
        return [recipient.address for recipient in sorted(waiting, key=lambda one: one.code is not None)]

    @property
    def is_at_hand(self) -> bool:
        """Tell whether it can be made ready before its turn: a large one is read when it comes."""
        return "content" in self.delivery.__dict__

    def message(self, **_: Any) -> StoredContent:  # type: ignore[override]
        return StoredContent(bytes(self.delivery.content))


def free_expired_leases() -> None:
    """Take back what dead workers held.

    A batch is sent in the order of the primary key, so only the first mail without an outcome may have been
    on the wire: its outcome is unknown. The others are queued again, and before that: should we die in between, they
    are not taken for mails in flight in their turn. Harmless when several sweepers run: each dead lease is first
    exchanged for one of our own, and one UPDATE decides who gets it.

    Where the database crashed as well, notes of acceptances may be lost: the outcome of the whole batch is unknown.
    """
    shorten_leases_from_the_future()
    expired = Delivery.objects.filter(lease__isnull=False, lease_expires_at__lt=clock.now())
    for dead in expired.values_list("lease", flat=True).distinct():
        try:
            lease = Lease(after=dead)
            if starts.ended_since(lease.id) and starts.is_lately():
                continue  # a worker that outlived the crash may give it back
            if dead and lease.take_over(dead):
                _end_in_flight(lease)
        except Exception:  # it must not keep the others, nor the rest of the sweep
            logger.exception("lease %s of a dead worker could not be taken over", dead)


def _end_in_flight(lease: Lease) -> None:
    held = lease.held().order_by("pk").prefetch_related("recipients")
    database_ended = starts.ended_since(lease.id)
    in_flight = list(held if database_ended else held[:1])
    if in_flight:  # or we were held up for so long that another sweeper took it over in its turn
        lease.give_back(but=in_flight)
    for delivery in in_flight:
        record_error(delivery, unknown(CRASHED if database_ended else WORKER_ENDED))
