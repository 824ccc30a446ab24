"""One mail over an open session: MAIL, RCPT, DATA, and what the replies mean."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
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


# Relays must take 100 recipients in one transaction (RFC 5321 section 4.5.3.1.8); some refuse a mail with more than 50
# for good (SES), and Postfix hangs up after too many refusals of those beyond its limit.
TOGETHER = 50
FLIGHT_BYTES = 8 * 1024  # more could fill both sides' buffers, each waiting for the other (RFC 2920 section 3.1)


@dataclass(frozen=True, slots=True)
class Command:
    """One line for the relay, and the stage that its reply belongs to."""

    line: str
    stage: Stage

    @property
    def verb(self) -> str:
        return self.line.split(" ")[0]


class Transaction:
    """Made by `begin`, which is the part that may be repeated over a fresh session.

    Where the relay offers PIPELINING, MAIL, every RCPT and DATA leave in one flight (RFC 2920), and the
    replies are heard afterwards; otherwise each command waits for the reply to the one before.
    """

    def __init__(self, session: SmtpSession, *, mail: Mail) -> None:
        self.session = session
        self.mail = mail
        self.utf8 = mail.needs_utf8 and "smtputf8" in session.features
        self.unfit = dict(mail.refused) | self._beyond_ascii()  # whom it cannot be sent to, whatever the relay says
        self.refused = dict(self.unfit)
        fit = [address for address in mail.recipients if address not in self.refused]
        self.named = fit[:TOGETHER]
        self.later = dict.fromkeys(fit[TOGETHER:], Reply(None, "Others come first", "4.5.3"))  # in the next attempt
        self.reply = Reply(None, "")  # to MAIL FROM
        self._last = ""  # the recipient whose reply was heard last
        self._flights: deque[list[Command]] = deque()
        self._unanswered: deque[Command] = deque()  # of the flight that has left

    @classmethod
    def begin(cls, session: SmtpSession, *, mail: Mail) -> Transaction:
        """Say MAIL FROM, if the relay can take the mail at all."""
        transaction = cls(session, mail=mail)
        transaction._check_sender()
        transaction._check_size()
        if mail.recipients and not transaction.named:
            raise envelope.all_refused(transaction.refused)
        transaction._flights.extend(_flights(transaction._commands(), together="pipelining" in session.features))
        transaction.reply = transaction._next_reply()
        if not _positive(transaction.reply):
            transaction._refuse(transaction.reply, stage=Stage.MAIL)
        return transaction

    @property
    def left_out(self) -> dict[str, Reply]:
        """Return whom this transaction does not reach, each with the reason."""
        return self.refused | self.later

    def finish(self) -> Reply:
        """Name the recipients, send the content, and return the reply to the final dot."""
        try:
            self._name_recipients()
            reply = self._next_reply()
        except TransportError as error:
            self._blame(error)
            raise
        if reply.code != 354:
            self._demand_step(Stage.DATA)
            self._refuse(reply, stage=Stage.DATA)
        if self.session.has_unheard:  # it is no reply to the content, and must not be taken for its acceptance
            raise self._out_of_step(self.session.last_words())
        self._send_content()
        reply = self._hear_outcome()
        if not _positive(reply):
            self._refuse(reply, stage=Stage.DATA)
        return reply

    def _commands(self) -> list[Command]:
        """Return the whole envelope; a mail for nobody ends behind MAIL FROM, as the connection check does."""
        recipients = [Command(f"RCPT TO:<{self.mail.recipients[address]}>", Stage.RCPT) for address in self.named]
        data = [Command("DATA", Stage.DATA)] if recipients else []
        return [Command(self._mail_command(), Stage.MAIL), *recipients, *data]

    def _next_reply(self) -> Reply:
        """Return the reply to the next command, after its flight has left."""
        if not self._unanswered:
            if self.reply.code:  # before the first flight, the transport has looked itself
                self._demand_step(self._flights[0][0].stage)
            self._unanswered.extend(self._flights.popleft())
            lines = [command.line for command in self._unanswered]
            self.session.tell(*lines, stage=self._unanswered[0].stage, to=self._unanswered[0].verb)
        command = self._unanswered.popleft()
        self.session.clock.allow(self.session.settings.reply_seconds)
        return self.session.hear(command.stage, to=command.verb)

    def _beyond_ascii(self) -> dict[str, Reply]:
        """Return the recipients that need SMTPUTF8, where the relay does not offer it."""
        if self.utf8:
            return {}
        reply = Reply(None, "The relay takes no addresses with letters beyond ASCII", "5.6.7")
        return {address: reply for address, wire in self.mail.recipients.items() if not wire.isascii()}

    def _send_content(self) -> None:
        """A relay may refuse the mail before it has all of it, and hang up; then it gets no dot."""
        early = self.session.tell_content(envelope.dot_stuffed(self.mail.content))
        if early is None:
            return self.session.transcript.sent(f"[{len(self.mail.content)} octets of message]", ".")
        self.session.transcript.note("The message was broken off.")
        if not _negative(early):
            raise self._out_of_step(early)
        self._refuse(early, stage=Stage.DATA)
        return None

    def _out_of_step(self, reply: Reply | None, *, stage: Stage = Stage.DATA) -> TransportError:
        """There was a reply too many, nobody knows which: so none of a recipient's counts."""
        self.session.drop()
        said = f"said '{reply.quote}' without being asked" if reply and reply.text else "said too much, or hung up,"
        text = f"The relay {said} before it had the mail. It is out of step."
        return TransportError(text, stage=stage, scope=Scope.PROVIDER, refused=self.unfit)

    def _demand_step(self, stage: Stage) -> None:
        """Behind the last reply there must not be another one."""
        if self.session.alive and self.session.has_said_more:
            raise self._out_of_step(self.session.last_words(), stage=stage)

    def _check_sender(self) -> None:
        if not self.utf8 and not self.mail.sender.isascii():
            text = f"The relay takes no sender address with letters beyond ASCII: {self.mail.sender}"
            raise envelope.unfit(text, enhanced="5.6.7")

    def _check_size(self) -> None:
        limit, size = self.session.features.get("size", ""), len(self.mail.content)
        if limit.isdecimal() and len(limit) < 20 and 0 < int(limit) < size:
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
        taken, doubtful = False, None
        for number, address in enumerate(self.named):
            if taken and self._is_late:
                return self._put_off(self.named[number:])
            reply = self._next_reply()
            self._last = address
            if _positive(reply):
                taken = True
                continue
            if classify(reply, stage=Stage.RCPT).scope is Scope.PROVIDER:
                if not _may_be_about_one(reply):
                    self._give_up(reply)
                doubtful = doubtful or reply
            self.refused[address] = reply
        if not taken:
            self._catch_up()
            self._demand_step(Stage.RCPT)
            if doubtful:
                self._give_up(doubtful)
            raise envelope.all_refused(self.left_out)
        return None

    def _give_up(self, reply: Reply) -> NoReturn:
        """End a session that is no good for anybody. A DATA in flight gets no dot, so nothing is accepted."""
        if self._unanswered:
            self.session.drop()
        else:
            self.session.quit()
        self._refuse(reply, stage=Stage.RCPT)

    def _blame(self, error: TransportError) -> None:
        """Remember who was refused before the connection broke, so that the next attempt goes without them.

        Where it ended right behind a refusal, that was meant for one recipient, and the relay is well: Exim's 'drop'
        and Haraka's DENYDISCONNECT do so.
        """
        if error.reply or not isinstance(error.__cause__, OSError):
            return
        error.refused = dict(self.refused)
        if self._last in self.refused and not isinstance(error.__cause__, TimeoutError):
            hung_up = Reply(None, "The relay hung up when it had refused another one", "4.4.2")
            self.later |= {address: hung_up for address in self.named if address not in self.refused}
            raise envelope.all_refused(self.left_out) from error

    @property
    def _is_late(self) -> bool:
        """Between two flights: whether the rest of the time is needed for the content."""
        return not self._unanswered and self.session.clock.total_left() < self.session.settings.total_seconds / 2

    def _put_off(self, addresses: list[str]) -> None:
        """Send to those who were taken; the relay is slow, and the others come next time."""
        self.later |= dict.fromkeys(addresses, Reply(None, "No time was left to name this one", "4.5.3"))
        self._flights = deque([[Command("DATA", Stage.DATA)]])

    def _catch_up(self) -> None:
        """Hear the rest of the flight that was in vain, so that the next reply belongs to the next command."""
        taken = False
        with suppress(TransportError):
            while self._unanswered and self.session.alive:
                is_data = self._unanswered[0].stage is Stage.DATA
                reply = self._next_reply()
                taken = taken or _positive(reply)
                if reply.code == 354 and is_data:
                    self._end_in_vain(taken=taken)
                elif not (_positive(reply) or _negative(reply)):
                    self.session.drop()

    def _end_in_vain(self, *, taken: bool) -> None:
        """Answer a 354 that came although nobody was accepted: with a lone dot (RFC 2920 section 3.1).

        A relay that took a recipient in a refused transaction would deliver that emptiness: it gets no dot.
        """
        if taken:
            return self.session.drop()
        self.session.tell_content(b".\r\n")
        self.session.transcript.sent(".")
        self.session.hear(Stage.DATA, to="the lone dot")
        return None

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
            f"{text.rstrip('.')}. Whether it took the mail is unknown.",
            stage=Stage.DATA,
            scope=Scope.PROVIDER,
            outcome_unknown=True,
            refused=self.left_out,
        )

    def _refuse(self, reply: Reply, *, stage: Stage) -> NoReturn:
        if not _negative(reply):
            self.session.alive = False  # the next reply would belong to this command
        self._catch_up()
        error = TransportError.from_reply(reply, stage=stage)
        error.refused = dict(self.refused if _negative(reply) else self.unfit)
        raise error


def _flights(commands: list[Command], *, together: bool) -> Iterator[list[Command]]:
    """Yield the commands in the groups that leave together."""
    flight: list[Command] = []
    size = 0
    for command in commands:
        size += len(command.line.encode()) + 2
        if flight and (not together or size > FLIGHT_BYTES):
            yield flight
            flight, size = [], len(command.line.encode()) + 2
        flight.append(command)
    yield flight


def _positive(reply: Reply) -> bool:
    """220 and 221 are about the channel, not about a mail (RFC 5321 section 4.2.3)."""
    return reply.code is not None and 250 <= reply.code < 260


def _negative(reply: Reply) -> bool:
    return reply.code is not None and 400 <= reply.code < 600


def _may_be_about_one(reply: Reply) -> bool:
    """Tell what sounds like a word about us, and is none where the relay takes another recipient of the mail."""
    return reply.code is not None and 400 <= reply.code < 500 and reply.code != 421
