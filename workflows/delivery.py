"""The state machine of a delivery: claim, send, record; and what becomes of the mails of a dead worker.

    queued -> sending -> accepted | deferred -> sending ... | failed | unknown -> sending ...

A claim is one conditional UPDATE that writes a lease. Every later write carries the lease, so a worker
that lost it changes nothing.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.mail import EmailMessage, get_connection
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone

from integrations.transports.base import Receipt, Reply, Scope, Stage, TransportError

from . import retry, runs
from .leases import BATCH, RELEASED, Lease
from .models import Attempt, Delivery, Recipient

logger = logging.getLogger(__name__)


def send_due() -> bool:
    """Send a batch of what is due. Returns whether there may be more."""
    lease = Lease()
    batch = lease.claim()
    if not batch:
        return False
    _send_batch(batch, lease=lease, mailer=get_connection())
    return len(batch) == BATCH


def _send_batch(batch: Iterable[Delivery], *, lease: Lease, mailer: Any) -> None:
    for delivery in batch:
        if not lease.may_send(delivery):
            break
        paused_until = _send_one(delivery, mailer=mailer)
        if paused_until:
            return lease.give_back(next_attempt_at=paused_until)
    return lease.give_back()


def _send_one(delivery: Delivery, *, mailer: Any) -> datetime | None:
    """Try one mail and record the outcome. Returns when to go on where the provider itself failed."""
    if delivery.give_up_at <= timezone.now():
        record_error(delivery, _given_up(delivery))
        return None
    message = StoredMail(delivery, connection=mailer)
    began = time.monotonic()
    try:
        message.send()
    except TransportError as error:
        error.milliseconds = error.milliseconds or round((time.monotonic() - began) * 1000)
        due = record_error(delivery, error)
        return due if error.scope == Scope.PROVIDER and not error.outcome_unknown else None
    except (DatabaseError, InterfaceError):
        # While the provider was looked up: transports know no database, so nothing was handed over.
        logger.exception("delivery %s: the provider could not be looked up", delivery.pk)
        text = "The database did not say which provider is in force."
        return record_error(delivery, TransportError(text, stage=Stage.RESOLVE, scope=Scope.PROVIDER))
    except Exception:  # a defect of ours: it must neither stop the other mails nor be taken for a refusal
        logger.exception("delivery %s met a defect", delivery.pk)
        record_error(delivery, _unknown("A defect of rootmail itself: the worker's log holds the details."))
        return None
    record_receipt(delivery, message.receipt, addresses=message.to)
    return None


class StoredContent:
    """Ready bytes where Django expects a message that it can turn into bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def as_bytes(self, *_: Any, **__: Any) -> bytes:
        return self._content


class StoredMail(EmailMessage):
    """A delivery as Django sends mail: rendered once, so every attempt hands over the same bytes."""

    receipt: Receipt

    def __init__(self, delivery: Delivery, *, connection: Any) -> None:
        due = [recipient.address for recipient in delivery.recipients.all() if recipient.state in Recipient.OPEN]
        super().__init__(delivery.subject, from_email=delivery.requested_from, to=due, connection=connection)
        self._stored = bytes(delivery.content)

    def message(self, **_: Any) -> StoredContent:  # type: ignore[override]
        return StoredContent(self._stored)


def record_receipt(delivery: Delivery, receipt: Receipt, *, addresses: Iterable[str]) -> None:
    """Record that the relay accepted the mail, for some of its recipients at least."""
    said = {address: receipt.refused.get(address, receipt.reply) for address in addresses}
    outcome = Outcome(
        Attempt.Outcome.ACCEPTED,
        stage="data",
        states={a: _refused(reply) if a in receipt.refused else Recipient.State.ACCEPTED for a, reply in said.items()},
        said=said,
        delay=_delay_of_deferred(delivery, receipt.refused),
        sent_from=receipt.sender,
    )
    attempt = outcome.attempt(receipt.reply, provider=receipt.provider, tls=receipt.tls, took=receipt.milliseconds)
    record(delivery, outcome, attempt)


def _delay_of_deferred(delivery: Delivery, refused: Mapping[str, Reply]) -> int | None:
    deferred = [reply for reply in refused.values() if not reply.permanent]
    if not deferred:
        return None
    return _delay(delivery, TransportError.from_reply(deferred[0], stage=Stage.RCPT))


def record_error(delivery: Delivery, error: TransportError) -> datetime | None:
    """Record that the mail was not accepted, or that nobody knows. Returns when the next attempt is due."""
    name = Attempt.Outcome.FAILED if error.permanent else Attempt.Outcome.DEFERRED
    if error.outcome_unknown:
        name = Attempt.Outcome.UNKNOWN
    outcome = Outcome(
        name,
        stage=error.stage,
        states={address: _refused(reply) for address, reply in error.refused.items()},
        said=error.refused or _said_to_all(delivery, error),
        delay=_delay(delivery, error),
        reason="" if error.refused else error.text,  # then each recipient says its own
    )
    reply = Reply(error.code, error.text, error.enhanced_code)
    return record(
        delivery, outcome, outcome.attempt(reply, provider=error.provider, tls=error.tls, took=error.milliseconds)
    )


def _said_to_all(delivery: Delivery, error: TransportError) -> dict[str, Reply]:
    """A refusal of the message concerns everybody whom it was for."""
    if error.reply is None or error.scope != Scope.MESSAGE:
        return {}
    return {row.address: error.reply for row in delivery.recipients.all() if row.state in Recipient.OPEN}


def _delay(delivery: Delivery, error: TransportError) -> int | None:
    return retry.next_delay(error, attempt=delivery.tries + 1, scatter=secrets.randbelow(1000) / 1000)


def _refused(reply: Reply) -> str:
    return Recipient.State.REFUSED if reply.permanent else Recipient.State.DEFERRED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt led to: the new state of each recipient that was spoken about, and when to go on."""

    name: str
    stage: str
    states: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, Reply] = field(default_factory=dict)
    delay: int | None = None
    reason: str = ""
    sent_from: str = ""

    def attempt(self, reply: Reply, *, provider: str, tls: str = "", took: int = 0) -> Attempt:
        return Attempt(
            at=timezone.now(),
            provider=provider,
            stage=self.stage,
            outcome=self.name,
            code=reply.code,
            enhanced_code=reply.enhanced,
            reply=reply.text,
            tls=tls,
            milliseconds=took,
        )


def record(delivery: Delivery, outcome: Outcome, attempt: Attempt) -> datetime | None:
    """Write an outcome under the delivery's lease; where the lease was lost, write nothing.

    Returns when the next attempt is due, None when the delivery has ended.
    """
    due = _next_attempt(delivery, outcome)
    recipients = _new_states(delivery, outcome, ended=due is None)
    state = _new_state(recipients, outcome, ended=due is None)
    values: dict[str, Any] = {"state": state, "reason": outcome.reason or _without_the_mail(delivery)}
    values |= {"provider": attempt.provider or delivery.provider, "sent_from": outcome.sent_from or delivery.sent_from}
    if outcome.name == Attempt.Outcome.ACCEPTED:
        values["accepted_at"] = attempt.at
    values |= {"next_attempt_at": due, "tries": F("tries") + 1, **RELEASED}
    _write_stubbornly(delivery, values, attempt=attempt, recipients=recipients)
    logger.info("delivery %s: %s through %s", delivery.pk, state, attempt.provider)
    return due


RECORD_AGAIN_AFTER = (0.5, 1, 2, 4, 8, 16, 32)  # seconds; a lease outlasts a mail and all of them (see leases.py)


def _write_stubbornly(delivery: Delivery, values: dict[str, Any], **rows: Any) -> None:
    """Write an outcome, over a lost connection too: the relay's answer was heard, and must not be forgotten.

    A repeat is harmless: where the first write had come through after all, the lease is gone.
    """
    for pause in RECORD_AGAIN_AFTER:
        try:
            return _write(delivery, values, **rows)
        except (OperationalError, InterfaceError):
            logger.warning("delivery %s: its outcome cannot be recorded yet", delivery.pk)
            connection.close()
            time.sleep(pause)
    return _write(delivery, values, **rows)


def _write(delivery: Delivery, values: dict[str, Any], *, attempt: Attempt, recipients: list[Recipient]) -> None:
    with transaction.atomic():
        if not Delivery.objects.filter(pk=delivery.pk, lease=delivery.lease).update(**values):
            logger.warning("delivery %s: the lease was lost, nothing is recorded", delivery.pk)
            return
        attempt.pk, attempt.delivery = None, delivery
        attempt.save(force_insert=True)
        _write_recipients(recipients)
        if values["state"] in Delivery.FINAL:
            runs.settle(delivery.run_id)


def _write_recipients(recipients: list[Recipient]) -> None:
    """Write one statement for each different answer: most recipients of a mail share theirs."""
    answers: dict[tuple[Any, ...], list[int]] = {}
    for row in recipients:
        answers.setdefault((row.state, row.code, row.enhanced_code, row.reply), []).append(row.pk)
    for (state, code, enhanced, reply), keys in answers.items():
        for start in range(0, len(keys), 5000):  # SQLite takes 32,766 parameters at the most
            rows = Recipient.objects.filter(pk__in=keys[start : start + 5000])
            rows.update(state=state, code=code, enhanced_code=enhanced, reply=reply)


def _next_attempt(delivery: Delivery, outcome: Outcome) -> datetime | None:
    if outcome.delay is None:
        return None
    due = timezone.now() + timedelta(seconds=outcome.delay)
    return due if due <= delivery.give_up_at else None


def _new_states(delivery: Delivery, outcome: Outcome, *, ended: bool) -> list[Recipient]:
    """Return the recipients of this attempt with what is known of them now."""
    recipients = [recipient for recipient in delivery.recipients.all() if recipient.state in Recipient.OPEN]
    for recipient in recipients:
        recipient.state = outcome.states.get(recipient.address, recipient.state)
        reply = outcome.said.get(recipient.address)
        if reply:
            recipient.code, recipient.enhanced_code, recipient.reply = reply.code, reply.enhanced, reply.text
        if ended and recipient.state in Recipient.OPEN:
            recipient.state = Recipient.State.FAILED
    return recipients


def _new_state(tried: list[Recipient], outcome: Outcome, *, ended: bool) -> str:
    if not ended:
        return Delivery.State.UNKNOWN if outcome.name == Attempt.Outcome.UNKNOWN else Delivery.State.DEFERRED
    if not tried:
        return Delivery.State.FAILED
    states = {recipient.state for recipient in tried[0].delivery.recipients.all()} | {row.state for row in tried}
    return Delivery.State.ACCEPTED if Recipient.State.ACCEPTED in states else Delivery.State.FAILED


def _without_the_mail(delivery: Delivery) -> str:
    """Say who did not get the mail, in this attempt or before, and why, in the server's words."""
    without = [row for row in delivery.recipients.all() if row.state != Recipient.State.ACCEPTED]
    return "; ".join(f"{row.address} {row.state}: {row.said}" for row in without)


def free_expired_leases() -> None:
    """Take back what dead workers held.

    A batch is sent in the order of the primary key, so only the first mail without an outcome may have been
    on the wire: its outcome is unknown. The others are queued again. Harmless when several sweepers run:
    each dead lease is first exchanged for one of our own, and one UPDATE decides who gets it.
    """
    expired = Delivery.objects.filter(lease__isnull=False, lease_expires_at__lt=timezone.now())
    for dead in expired.values_list("lease", flat=True).distinct():
        lease = Lease()
        if dead and lease.take_over(dead):
            in_flight = lease.held().order_by("pk").prefetch_related("recipients")[0]
            record_error(in_flight, _unknown("The worker ended before it had heard the relay's answer."))
            lease.give_back()


def _given_up(delivery: Delivery) -> TransportError:
    text = f"Given up: its time was over before it could be sent. {delivery.reason}".strip()
    return TransportError(text, stage=Stage.CONNECT, scope=Scope.MESSAGE, permanent=True)


def _unknown(text: str) -> TransportError:
    text += " The mail may have been accepted."
    return TransportError(text, stage=Stage.DATA, scope=Scope.MESSAGE, outcome_unknown=True)
