"""The router: Django's e-mail backend that chooses the provider for each message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from email.utils import getaddresses
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from . import limits, pauses, providers, rechecks, standing
from .redaction import redact_error, redact_receipt
from .senders import Sender, SenderError
from .transports import envelope
from .transports.base import Receipt, Scope, Stage, Submission, TransportError
from .transports.pool import POOL


class EmailBackend(BaseEmailBackend):
    """Send each message through the provider that is in force at that moment: SMTP, else SendGrid, else default.

    Works for any Django mail. Besides the count that Django wants, the Receipt is attached to the message as
    `message.receipt`. Raises TransportError. A failing provider never falls through to the next one: after a fault of
    its own it is paused for every worker, and what is sent meanwhile raises TransportError with `untried`.

    Sessions belong to the pool of the process. Between `open()` and `close()` one of a limited number is kept for the
    messages that follow. A message may name the one that will probably be sent next, as `message.following`: its
    envelope may then leave ahead (see SmtpTransport).
    """

    def __init__(self, fail_silently: bool = False, **_: Any) -> None:
        super().__init__(fail_silently=fail_silently)
        self._session = limits.Session()
        self._kept = False

    def open(self) -> bool:
        """Make ready for several messages; raises TransportError where no mail may leave now."""
        route, admission = _in_force()
        if admission is None:
            pauses.demand_open(route.provider.name)
        limits.demand_turn(route.provider.name, route.limits)
        self._session.take(route.provider.name, route.limits)
        self._kept = True
        return True

    def close(self) -> None:
        self._kept = False
        if self._session.provider:
            POOL.close()  # somebody else may open one now
            self._session.free()

    def sender_of(self, requested: str) -> tuple[str, Sender]:
        """Return the label of the provider in force, and whom a mail with this From would come from.

        Raises TransportError where nobody can say, with the text that a mail would fail with.
        """
        route = providers.active_route()
        return route.provider.label, _sender(route, requested)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        try:
            return sum(self._send_one(message) for message in email_messages if message.recipients())
        finally:
            if not self._kept:
                self.close()

    def _send_one(self, message: EmailMessage) -> int:
        try:
            message.receipt = self._send_when_admitted(message)  # type: ignore[attr-defined]
        except TransportError:
            if not self.fail_silently:
                raise
            return 0
        return 1

    def _send_when_admitted(self, message: EmailMessage) -> Receipt:
        route, admission = self._admitted()
        try:
            receipt = hand_over(message, route=route)
        except TransportError as error:
            pauses.note_error(error, admission)
            raise
        except BaseException:
            pauses.note_nothing(route.provider.name, admission)
            raise
        pauses.note_success(route.provider.name, admission)
        rechecks.note_accepted(route.row, kind=route.provider.name)
        return receipt

    def _admitted(self) -> tuple[providers.Route, pauses.Admission]:
        """Return the way out for one mail, and its admission.

        The settings may change while it waits for its turn: an admission counts for those that were in force
        before and after it was given. Where there is nothing to wait for, both were read at once.
        """
        route, admission = _in_force()
        while True:
            name = route.provider.name
            self._session.take(name, route.limits)
            if admission and not route.limits.interval:
                return route, admission
            limits.take_turn(name, route.limits)
            given = pauses.admit(name)
            before, (route, admission) = route, _in_force()
            if (before.provider, before.settings) == (route.provider, route.settings):
                return route, given
            pauses.note_nothing(name, given)


def _in_force() -> tuple[providers.Route, pauses.Admission | None]:
    try:
        return standing.in_force()
    except TransportError as error:  # its credentials cannot be read
        pauses.note_error(error)
        raise


def hand_over(message: EmailMessage, *, route: providers.Route) -> Receipt:
    """Send one message by this route; raises TransportError. What servers said is redacted in both."""
    host, user_name = getattr(route.settings, "host", ""), getattr(route.settings, "username", "")
    try:
        submission, sender = _submission(message, route=route)
        following = _following(message, route=route)
        if following:
            submission = replace(submission, following=following)
        with POOL.lend(route.settings) as transport:
            receipt = transport.send(submission)
    except TransportError as error:
        error.provider = route.provider.name
        redact_error(error, host=host, user_name=user_name)
        raise
    filled_in = {"provider": route.provider.name, "sender": str(sender.mailbox)}
    return redact_receipt(receipt, host=host, user_name=user_name, **filled_in)


def _sender(route: providers.Route, requested: str) -> Sender:
    try:
        return route.sender(requested)
    except SenderError as error:
        raise TransportError(str(error), stage=Stage.MAIL, scope=Scope.MESSAGE, permanent=True) from error


Prepared = tuple[Submission, Sender]


def _submission(message: EmailMessage, *, route: providers.Route) -> Prepared:
    """Return the message for a transport, and whom it comes from; kept with it, where it was prepared for its turn."""
    sender = _sender(route, message.from_email or "")
    recipients = tuple(_address(recipient) for recipient in message.recipients())
    prepared: Prepared | None = getattr(message, "prepared", None)
    if prepared and (prepared[0].recipients, prepared[1]) == (recipients, sender):
        return prepared
    content = with_sender(message.message().as_bytes(), sender)
    return Submission(sender=sender.mailbox.address, recipients=recipients, content=content), sender


def _following(message: EmailMessage, *, route: providers.Route) -> Submission | None:
    """Prepare the next message, unless it has to wait for a turn of its own."""
    following = getattr(message, "following", None)
    if following is None or route.limits.interval:
        return None
    with suppress(Exception):  # whatever is wrong with it, a defect as well, is told when it is its turn
        following.prepared = _submission(following, route=route)
        return following.prepared[0]  # type: ignore[no-any-return]
    return None


_BARE_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9.-]+")


def _address(recipient: str) -> str:
    """Return the bare address. What is not one mailbox stays whole: the transport refuses it by its name."""
    if _BARE_ADDRESS.fullmatch(recipient):
        return recipient
    found = getaddresses([recipient])
    return found[0][1] if len(found) == 1 and found[0][1] else recipient


# A header field with its folded lines; also a first line that would go on with the From put in front of it.
_NAMES_A_SENDER = re.compile(
    rb"(?:^(?:from|sender|resent-from|resent-sender|return-path|(?:resent-)?bcc)[ \t]*:|\A[ \t]).*\n(?:[ \t].*\n)*",
    re.I | re.M,
)
_REPLY_TO = re.compile(rb"^reply-to[ \t]*:", re.I | re.M)


def with_sender(content: bytes, sender: Sender) -> bytes:
    """Give a message its From. Whatever sender it named before is taken out, so that nothing can be spoofed."""
    # First make line ends what every relay sees: a bare CR or LF could hide a sender until then.
    head, gap, body = envelope.normalised(content).partition(b"\r\n\r\n")
    kept = _NAMES_A_SENDER.sub(b"", head + b"\r\n").removesuffix(b"\r\n")
    fields = [f"From: {sender.mailbox.header_value}\r\n"]
    if sender.reply_to and not _REPLY_TO.search(kept):
        fields.append(f"Reply-To: {sender.reply_to.ascii_value}\r\n")
    return "".join(fields).encode() + kept + gap + body
