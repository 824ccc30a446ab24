"""What an attempt led to, written under the delivery's lease: per recipient, and when to go on, if ever."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import F

from integrations import clock
from integrations.transports.base import Receipt, Reply, Scope, Stage, TransportError

from . import retry, run_ends, suppression, told
from .leases import RELEASED
from .models import Attempt, Delivery, Recipient
from .stubborn import stubbornly

logger = logging.getLogger(__name__)


def record_receipt(delivery: Delivery, receipt: Receipt, *, addresses: Iterable[str]) -> None:
    """Record that the relay accepted the mail, for some of its recipients at least."""
    said = {address: receipt.refused.get(address, receipt.reply) for address in addresses}
    outcome = Outcome(
        Attempt.Outcome.ACCEPTED,
        stage="data",
        states={a: _refused(reply) if a in receipt.refused else Recipient.State.ACCEPTED for a, reply in said.items()},
        said=said,
        delay=_delay_of_deferred(delivery, receipt.refused),
        spends_try=not others_come_next(receipt.refused),
        sent_from=receipt.sender,
        provider_id=receipt.provider_id,
    )
    record(delivery, outcome, outcome.attempt(receipt.reply, told_by=receipt))


def _delay_of_deferred(delivery: Delivery, refused: Mapping[str, Reply]) -> int | None:
    deferred = _deferred(refused)
    if not deferred:
        return None
    if others_come_next(refused):
        return 0
    return _delay(delivery, TransportError.from_reply(deferred[0], stage=Stage.RCPT))


def others_come_next(refused: Mapping[str, Reply]) -> bool:
    """Say whether some were merely too many: they do not wait for those who were put off for their own sake.

    Each attempt reaches some of them, so that it ends.
    """
    return any(reply.is_about_number for reply in refused.values())


def _deferred(refused: Mapping[str, Reply]) -> list[Reply]:
    return [reply for reply in refused.values() if not reply.permanent]


def record_error(delivery: Delivery, error: TransportError) -> None:
    """Record that the mail was not accepted, or that nobody knows."""
    name = Attempt.Outcome.FAILED if error.permanent else Attempt.Outcome.DEFERRED
    if error.outcome_unknown:
        name = Attempt.Outcome.UNKNOWN
    outcome = Outcome(
        name,
        stage=error.stage,
        states={address: _refused(reply) for address, reply in error.refused.items()},
        said=_said_to_all(delivery, error) | error.refused,
        delay=_delay(delivery, error),
        reason="" if error.scope == Scope.RECIPIENT else error.text,  # then each recipient says its own
        spends_try=retry.spends_try(error),
    )
    reply = Reply(error.code, error.text, error.enhanced_code)
    record(delivery, outcome, outcome.attempt(reply, told_by=error))


def record_nobody_left(delivery: Delivery) -> None:
    """End a mail that nobody is left to send to: no attempt was made, each recipient says why."""
    record(delivery, Outcome(Attempt.Outcome.FAILED, stage="", spends_try=False), None)


def record_given_up(delivery: Delivery) -> None:
    """End a mail whose time is over. No attempt was made: what the last one left unknown stays so."""
    reason = f"Given up: its time was over before it could be sent. {delivery.reason}".strip()
    record(delivery, Outcome(Attempt.Outcome.FAILED, stage="", reason=reason, spends_try=False), None)


def _said_to_all(delivery: Delivery, error: TransportError) -> dict[str, Reply]:
    """A refusal of the message concerns everybody whom it was for.

    Where nobody heard the answer, nothing of before counts any more: whom the transport had named, it knows best.
    """
    reply = Reply(None, "") if error.outcome_unknown else error.reply
    if reply is None or not (error.outcome_unknown or error.scope == Scope.MESSAGE):
        return {}
    return {row.address: reply for row in delivery.recipients.all() if row.state in Recipient.OPEN}


def _delay(delivery: Delivery, error: TransportError) -> int | None:
    scatter, left = secrets.randbelow(1000) / 1000, delivery.give_up_at - clock.now()
    return retry.next_delay(error, attempt=delivery.tries + 1, scatter=scatter, left=left)


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
    provider_id: str = ""
    spends_try: bool = True

    def attempt(self, reply: Reply, *, told_by: Receipt | TransportError) -> Attempt:
        return Attempt(
            at=clock.now(),
            provider=told_by.provider,
            stage=self.stage,
            outcome=self.name,
            code=reply.code,
            enhanced_code=reply.enhanced,
            reply=reply.text,
            tls=told_by.tls,
            milliseconds=told_by.milliseconds,
            transcript=told_by.transcript,
        )


def record(delivery: Delivery, outcome: Outcome, attempt: Attempt | None) -> None:
    """Write an outcome under the delivery's lease; where the lease was lost, write nothing."""
    provider = attempt.provider if attempt else ""
    due = _next_attempt(delivery, outcome)
    held = due is not None and delivery.hold_unknown and outcome.name == Attempt.Outcome.UNKNOWN
    recipients = _new_states(delivery, outcome, ended=due is None)
    state = Delivery.State.HELD if held else _new_state(delivery, recipients, outcome, ended=due is None)
    values: dict[str, Any] = {"state": state, "reason": outcome.reason or _without_the_mail(delivery)}
    values |= {"provider": provider or delivery.provider, "sent_from": outcome.sent_from or delivery.sent_from}
    if attempt and outcome.name == Attempt.Outcome.ACCEPTED:
        values |= {"accepted_at": attempt.at, "provider_id": outcome.provider_id}
    values |= {"next_attempt_at": None if held else due, "tries": F("tries") + int(outcome.spends_try), **RELEASED}
    # The relay's answer was heard and must not be forgotten. A repeat is harmless: where the first write had come
    # through after all, the lease is gone.
    write = partial(_write, delivery, values, attempt=attempt, recipients=recipients)
    stubbornly(write, what=f"delivery {delivery.pk}: its outcome")
    logger.info("delivery %s: %s through %s", delivery.pk, state, provider or "nobody")


def _bring_numbers(delivery: Delivery) -> None:
    """Where a mail is sent from memory, its recipients have not heard yet which numbers the database gave them."""
    if any(row.pk is None for row in delivery.recipients.all()):
        numbers = dict(Recipient.objects.filter(delivery=delivery).values_list("address", "pk"))
        for row in delivery.recipients.all():
            row.pk = numbers.get(row.address)


def _write(delivery: Delivery, values: dict[str, Any], *, attempt: Attempt | None, recipients: list[Recipient]) -> None:
    with transaction.atomic():
        if not Delivery.objects.filter(pk=delivery.pk, lease=delivery.lease).update(**values):
            logger.warning("delivery %s: the lease was lost, nothing is recorded", delivery.pk)
            return
        if attempt:
            attempt.pk, attempt.delivery = None, delivery
            attempt.save(force_insert=True)
        _bring_numbers(delivery)
        _write_recipients(recipients)
        if values["state"] in Delivery.FINAL:
            run_ends.settle(delivery.run_id)
        if attempt:
            _follow_up(delivery, attempt, recipients)


def _follow_up(delivery: Delivery, attempt: Attempt, recipients: list[Recipient]) -> None:
    """Remember whom the relay does not know; where nobody heard the answer, an event may have told it already."""
    suppression.enlist_refused(delivery, recipients, provider=attempt.provider)
    if attempt.outcome == Attempt.Outcome.UNKNOWN:
        told.resolve([delivery.pk])


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
    due = clock.now() + timedelta(seconds=outcome.delay)
    return due if due <= delivery.give_up_at else None


def _new_states(delivery: Delivery, outcome: Outcome, *, ended: bool) -> list[Recipient]:
    """Return the recipients of this attempt with what is known of them now, and those whom it spared."""
    spared = [recipient for recipient in delivery.recipients.all() if recipient.state == Recipient.State.SUPPRESSED]
    recipients = [recipient for recipient in delivery.recipients.all() if recipient.state in Recipient.OPEN]
    for recipient in recipients:
        recipient.state = outcome.states.get(recipient.address, recipient.state)
        reply = outcome.said.get(recipient.address)
        if reply:
            recipient.code, recipient.enhanced_code, recipient.reply = reply.code, reply.enhanced, reply.text
        if ended and recipient.state in Recipient.OPEN:
            recipient.state = Recipient.State.FAILED
    return recipients + spared


def _new_state(delivery: Delivery, tried: list[Recipient], outcome: Outcome, *, ended: bool) -> str:
    if not ended:
        return Delivery.State.UNKNOWN if outcome.name == Attempt.Outcome.UNKNOWN else Delivery.State.DEFERRED
    if not tried:
        return Delivery.State.FAILED
    states = {recipient.state for recipient in delivery.recipients.all()} | {row.state for row in tried}
    return Delivery.State.ACCEPTED if Recipient.State.ACCEPTED in states else Delivery.State.FAILED


def _without_the_mail(delivery: Delivery) -> str:
    """Say who did not get the mail, in this attempt or before, and why, in the server's words."""
    without = [row for row in delivery.recipients.all() if row.state != Recipient.State.ACCEPTED]
    told = [f"{row.address} {row.state}: {row.said}" for row in without if not row.comes_next]
    others = len(without) - len(told)
    return "; ".join([*told, f"{others} more come next"] if others else told)


def unknown(text: str) -> TransportError:
    text += " The mail may have been accepted."
    return TransportError(text, stage=Stage.DATA, scope=Scope.MESSAGE, outcome_unknown=True)
