"""One mail over an open session: MAIL, RCPT, DATA, and what the replies mean."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import NoReturn, Self

from . import envelope
from .base import Reply, Scope, Stage, TransportError, classify
from .smtp_envelope import Command, Envelope, Mail
from .smtp_session import SmtpSession


class Transaction:
    """May be repeated over a fresh session up to `open`. Raises TransportError where the relay cannot take the mail.

    Where the relay offers PIPELINING, MAIL, every RCPT and DATA leave in one flight (RFC 2920), and the
    replies are heard afterwards; otherwise each command waits for the reply to the one before. That flight may
    also leave ahead, behind the content of the mail before: `leave_ahead`, then `is_in_step`, then `open`.
    """

    def __init__(self, session: SmtpSession, *, mail: Mail) -> None:
        self.session = session
        self.mail = mail
        asked = Envelope(mail, features=session.features)
        self.unfit, self.named, self.later = asked.unfit, asked.named, asked.later
        self.refused = dict(self.unfit)
        self.reply = Reply(None, "")  # to MAIL FROM
        self._last = ""  # the recipient whose reply was heard last
        self._flights = deque(asked.flights())
        self._unanswered: deque[Command] = deque()  # of the flight that has left
        self._heard: deque[Reply] = deque()  # replies to the first of them

    @classmethod
    def begin(cls, session: SmtpSession, *, mail: Mail) -> Self:
        """Say MAIL FROM, if the relay can take the mail at all."""
        return cls(session, mail=mail).open()

    def open(self) -> Self:
        """Say MAIL FROM, unless it has left ahead, and hear what the relay thinks of it."""
        self.reply = self._next_reply()
        if not _positive(self.reply):
            self._refuse(self.reply, stage=Stage.MAIL)
        return self

    @property
    def may_go_ahead(self) -> bool:
        """Tell whether the whole envelope is one flight."""
        return bool(self.named) and len(self._flights) == 1

    def leave_ahead(self) -> None:
        """Send the envelope behind the content of the mail before it (RFC 2920 section 3.1)."""
        self._unanswered.extend(self._flights.popleft())
        self.session.tell_ahead(*(command.line for command in self._unanswered))

    @property
    def has_left(self) -> bool:
        return bool(self._unanswered)

    @property
    def was_sent_away(self) -> bool:
        """Tell whether the relay ended the session in order, instead of taking the envelope."""
        return bool(self._heard) and self._heard[-1].code == 421

    @property
    def was_refused(self) -> bool:
        """Tell whether the relay refused MAIL, maybe for having left ahead: Haraka says 503 to each of its commands."""
        return bool(self._heard) and not _positive(self._heard[0])

    def is_in_step(self) -> bool:
        """Hear the replies to an envelope that left ahead, and tell whether they can be those to its commands.

        It left before anybody could see a reply too many to the mail before, which would shift all of them. A relay
        that has hung up meanwhile, because the content did not come in time, is out of step, too.
        """
        self.session.transcript.sent(*(command.line for command in self._unanswered))
        with suppress(TransportError):
            for command in self._unanswered:
                self._heard.append(self._hear(command))
            return self.session.alive and _fit_together(*self._heard) and not self.session.has_unheard
        return False

    @property
    def left_out(self) -> dict[str, Reply]:
        """Return whom this transaction does not reach, each with the reason."""
        return self.refused | self.later

    def finish(self, *, ahead: Transaction | None = None) -> Reply:
        """Name the recipients, send the content and behind it what goes `ahead`; return the reply to the final dot."""
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
        self._send_with(ahead)
        reply = self._hear_outcome()
        if not _positive(reply):
            self._refuse(reply, stage=Stage.DATA)
        return reply

    def _next_reply(self) -> Reply:
        """Return the reply to the next command, after its flight has left."""
        if not self._unanswered:
            if self.reply.code:  # before the first flight, the transport has looked itself
                self._demand_step(self._flights[0][0].stage)
            self._unanswered.extend(self._flights.popleft())
            lines = [command.line for command in self._unanswered]
            self.session.tell(*lines, stage=self._unanswered[0].stage, to=self._unanswered[0].verb)
        command = self._unanswered.popleft()
        return self._heard.popleft() if self._heard else self._hear(command)

    def _hear(self, command: Command) -> Reply:
        self.session.clock.allow(self.session.settings.reply_seconds)
        return self.session.hear(command.stage, to=command.verb)

    def _send_with(self, ahead: Transaction | None) -> None:
        if not ahead:
            return self._send_content()
        with self.session.in_one_piece():
            self._send_content()
            ahead.leave_ahead()
        return None

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


def _positive(reply: Reply) -> bool:
    """220 and 221 are about the channel, not about a mail (RFC 5321 section 4.2.3)."""
    return reply.code is not None and 250 <= reply.code < 260


def _negative(reply: Reply) -> bool:
    return reply.code is not None and 400 <= reply.code < 600


def _may_be_about_one(reply: Reply) -> bool:
    """Tell what sounds like a word about us, and is none where the relay takes another recipient of the mail."""
    return reply.code is not None and 400 <= reply.code < 500 and reply.code != 421


def _fit_together(mail: Reply, *others: Reply) -> bool:
    *recipients, data = others
    if not _positive(mail):
        return all(map(_negative, (mail, *others)))
    taken = any(map(_positive, recipients))
    return data.code == 354 if taken else all(map(_negative, recipients)) and (data.code == 354 or _negative(data))
