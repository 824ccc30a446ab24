"""One mail over an open session: MAIL, RCPT, DATA, and what the replies mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from . import envelope
from .base import Reply, Scope, Stage, Submission, TransportError, classify
from .smtp_session import SmtpSession


@dataclass(frozen=True, slots=True)
class Mail:
    """A submission in the form in which it goes over the wire; `refused` no relay could take."""

    sender: str
    recipients: Mapping[str, str]  # as submitted -> for the wire
    refused: Mapping[str, Reply]
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, submission: Submission) -> Mail:
        recipients, refused = envelope.wire_recipients(submission.recipients)
        return cls(
            envelope.wire_sender(submission.sender), recipients, refused, envelope.normalised(submission.content)
        )

    @property
    def needs_utf8(self) -> bool:
        """Tell whether an address or a header holds more than ASCII (RFC 6531)."""
        addresses = (self.sender, *self.recipients.values())
        return not (all(map(str.isascii, addresses)) and envelope.headers_of(self.content).isascii())


class Transaction:
    """Made by `begin`, which is the part that may be repeated over a fresh session."""

    def __init__(self, session: SmtpSession, *, mail: Mail) -> None:
        self.session = session
        self.mail = mail
        self.utf8 = mail.needs_utf8 and "smtputf8" in session.features
        self.refused = dict(mail.refused)
        self.reply = Reply(None, "")  # to MAIL FROM

    @classmethod
    def begin(cls, session: SmtpSession, *, mail: Mail) -> Transaction:
        """Say MAIL FROM, if the relay can take the mail at all."""
        transaction = cls(session, mail=mail)
        transaction._check_sender()
        transaction._check_size()
        transaction.reply = session.ask(transaction._mail_command(), stage=Stage.MAIL)
        if not _positive(transaction.reply):
            transaction._refuse(transaction.reply, stage=Stage.MAIL)
        return transaction

    def finish(self) -> Reply:
        """Name the recipients, send the content, and return the reply to the final dot."""
        self._name_recipients()
        reply = self.session.ask("DATA", stage=Stage.DATA)
        if reply.code != 354:
            self._refuse(reply, stage=Stage.DATA)
        self.session.tell_content(envelope.dot_stuffed(self.mail.content))
        reply = self._hear_outcome()
        if not _positive(reply):
            self._refuse(reply, stage=Stage.DATA)
        return reply

    def _check_sender(self) -> None:
        if not self.utf8 and not self.mail.sender.isascii():
            text = f"The relay takes no sender address with letters beyond ASCII: {self.mail.sender}"
            raise envelope.unfit(text, enhanced="5.6.7")

    def _check_size(self) -> None:
        limit, size = self.session.features.get("size", ""), len(self.mail.content)
        if limit.isdecimal() and 0 < int(limit) < size:
            text = f"The mail has {size} bytes, and the relay takes {int(limit)} at most."
            raise envelope.unfit(text, enhanced="5.3.4")

    def _mail_command(self) -> str:
        features, content = self.session.features, self.mail.content
        parameters = [
            f" SIZE={len(content)}" if "size" in features else "",
            # Without 8BITMIME the bytes go as they are: rewriting a stored mail would be worse.
            " BODY=8BITMIME" if "8bitmime" in features and not content.isascii() else "",
            " SMTPUTF8" if self.utf8 else "",
        ]
        return f"MAIL FROM:<{self.mail.sender}>" + "".join(parameters)

    def _name_recipients(self) -> None:
        for address, wire in self.mail.recipients.items():
            reply = self._reply_to(wire)
            if not _positive(reply):
                self.refused[address] = reply
        if all(address in self.refused for address in self.mail.recipients):
            raise envelope.all_refused(self.refused)

    def _reply_to(self, wire: str) -> Reply:
        """Name one recipient; a refusal that is not about the recipient ends the session."""
        if not (self.utf8 or wire.isascii()):
            return Reply(None, "The relay takes no addresses with letters beyond ASCII", "5.6.7")
        reply = self.session.ask(f"RCPT TO:<{wire}>", stage=Stage.RCPT)
        if not _positive(reply) and classify(reply, stage=Stage.RCPT).scope is Scope.PROVIDER:
            self.session.quit()
            self._refuse(reply, stage=Stage.RCPT)
        return reply

    def _hear_outcome(self) -> Reply:
        """Wait for the reply to the final dot; without one nobody can know the outcome (RFC 1047)."""
        self.session.clock.allow_beyond(self.session.settings.final_reply_seconds)
        try:
            reply = self.session.hear(Stage.DATA, to="the final dot")
        except TransportError as error:
            raise self._unknown(error.text) from error
        if not (_positive(reply) or _negative(reply)):
            self.session.alive = False
            raise self._unknown(f"The relay answered the final dot with {reply.quote}.")
        return reply

    def _unknown(self, text: str) -> TransportError:
        return TransportError(
            f"{text} Whether it took the mail is unknown.",
            stage=Stage.DATA,
            scope=Scope.PROVIDER,
            outcome_unknown=True,
            refused=self.refused,
        )

    def _refuse(self, reply: Reply, *, stage: Stage) -> NoReturn:
        if not _negative(reply):
            self.session.alive = False  # out of step: the next reply would belong to this command
        error = TransportError.from_reply(reply, stage=stage)
        error.refused = dict(self.refused)
        raise error


def _positive(reply: Reply) -> bool:
    return reply.code is not None and 200 <= reply.code < 300


def _negative(reply: Reply) -> bool:
    return reply.code is not None and 400 <= reply.code < 600
