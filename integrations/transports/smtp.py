"""Hand mails to an SMTP relay: one transaction a mail (RFC 5321), many over one session."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from . import envelope
from .base import Receipt, Stage, Submission, TransportError
from .network import Clock
from .smtp_envelope import Mail
from .smtp_session import SmtpSession
from .smtp_settings import SmtpSettings, TlsMode
from .smtp_transaction import Transaction

__all__ = ["SmtpSettings", "SmtpTransport", "TlsMode"]


BRIEF_SECONDS = 5.0  # for NOOP and QUIT: nothing is lost where the relay does not answer them
SPARED_SECONDS = 600.0
_spared: dict[str, float] = {}  # relays that did not take what left ahead, and when this process found that out


class SmtpTransport:
    """Sends over one session, opened by the first mail and kept for the next. Not for two threads at once.

    Where a submission names the one that follows it, and the relay offers PIPELINING, the envelope of that one leaves
    behind the content of this one, which spares a round trip. Its content waits until it is sent in its turn: where it
    is not, the session is dropped, and a relay must not take a mail without its final dot (RFC 5321 section 4.1.1.4).
    """

    def __init__(self, settings: SmtpSettings) -> None:
        self.settings = settings
        self._clock = Clock(settings.total_seconds)
        self._session: SmtpSession | None = None
        self._mails = 0  # sent or refused over this session
        self._ahead: tuple[Submission, Transaction] | None = None
        self._opened_at = self._used_at = 0.0

    def send(self, submission: Submission) -> Receipt:
        started = monotonic()
        self._clock = Clock(self.settings.total_seconds)
        try:
            transaction = self._begin(submission)
            reply = transaction.finish(ahead=self._next_envelope(submission.following))
            transcript = self._transcript()
        except TransportError as error:
            error.milliseconds, error.tls = _milliseconds(started), error.tls or self._tls
            error.transcript = self._transcript(error)
            if error.outcome_unknown and self._ahead:  # maybe the final dot was not seen, with something behind it
                self._spare()
            self._recover()
            raise
        except BaseException:
            self._drop()  # half a conversation cannot be continued
            raise
        finally:
            self._end_mail()
        return Receipt(
            reply=reply,
            message_id=envelope.message_id_of(submission.content),
            milliseconds=_milliseconds(started),
            tls=self._tls,
            refused=transaction.left_out,
            transcript=transcript,
        )

    def close(self) -> None:
        if self._ahead:  # whatever came now would be the content
            self._drop()
        if self._session:
            self._session.clock = self._brief_clock()
            self._session.quit()
        self._session = None

    def _begin(self, submission: Submission) -> Transaction:
        """Begin the mail. A kept session that has died meanwhile is replaced, once."""
        if begun := self._begun_ahead(submission):
            return begun.open()
        mail = Mail.of(submission)
        kept = self._kept_session()
        if kept:
            try:
                return Transaction.begin(kept, mail=mail)
            except TransportError:
                if kept.alive:
                    raise
            self._drop()
        return Transaction.begin(self._open_session(), mail=mail)

    def _begun_ahead(self, submission: Submission) -> Transaction | None:
        """Return the transaction whose envelope has left ahead, if it is this mail's and the relay is in step."""
        ahead, self._ahead = self._ahead, None
        if ahead and self._session:
            of, transaction = ahead
            self._session.clock = self._clock
            if of == submission and not self._has_rested:
                return self._taken(transaction)
            self._drop()
        return None

    def _taken(self, transaction: Transaction) -> Transaction | None:
        """Return what left ahead if the relay took it. A refusal is heard again: it may be about having left ahead."""
        if not transaction.is_in_step():
            self._drop()
        elif not transaction.was_refused:
            return transaction
        if not transaction.was_sent_away:
            self._spare()
        return None

    def _spare(self) -> None:
        """Let nothing leave ahead to this relay for a while: each time would cost a mail time, or its known outcome."""
        _spared[self.settings.place] = monotonic()

    @property
    def _is_spared(self) -> bool:
        return monotonic() - _spared.get(self.settings.place, -SPARED_SECONDS) < SPARED_SECONDS

    def _next_envelope(self, following: Submission | None) -> Transaction | None:
        """Prepare what may leave behind the content of the present mail."""
        if following and self._session and not (self._is_spared or self._is_worn(self._mails + 1)):
            with suppress(TransportError):  # it is told when it is its turn
                transaction = Transaction(self._session, mail=Mail.of(following))
                if transaction.may_go_ahead:
                    self._ahead = following, transaction
                    return transaction
        return None

    def _open_session(self) -> SmtpSession:
        self._session = SmtpSession(self.settings, clock=self._clock)
        self._session.open()
        self._mails, self._opened_at = 0, monotonic()
        return self._session

    def _kept_session(self) -> SmtpSession | None:
        """Return the session of the mail before, if it may carry another one."""
        if self._session and self._is_worn(self._mails):
            self.close()
        if self._session is None:
            return None
        if self._session.has_unheard:  # 421 or an end that came meanwhile, or a reply too many: the next would be wrong
            self._drop()
            return None
        if self._has_rested and not self._answers(self._session):
            self._drop()
            return None
        self._session.clock = self._clock
        return self._session

    @property
    def _has_rested(self) -> bool:
        return monotonic() - self._used_at > self.settings.noop_seconds

    def _is_worn(self, mails: int) -> bool:
        old = monotonic() - self._opened_at > self.settings.session_seconds
        return old or mails >= self.settings.session_mails

    def _answers(self, session: SmtpSession) -> bool:
        session.clock = self._brief_clock()
        with suppress(TransportError):
            return session.ask("NOOP", stage=Stage.MAIL).code == 250
        return False

    def _brief_clock(self) -> Clock:
        return Clock(min(BRIEF_SECONDS, self.settings.reply_seconds))

    def _recover(self) -> None:
        """Make the session fit for the next mail, or let it go."""
        session = self._session
        if session and session.alive and self._ahead and self._ahead[1].has_left:
            return None  # what lies there are replies to the next envelope
        self._ahead = None
        if session is None or not session.alive or session.has_unheard:
            return self._drop()
        with suppress(TransportError):
            if session.ask("RSET", stage=Stage.MAIL).code == 250:
                return None
        return self._drop()

    def _end_mail(self) -> None:
        self._mails, self._used_at = self._mails + 1, monotonic()
        if self._session:
            self._session.transcript.end_mail()

    def _drop(self) -> None:
        if self._session:
            self._session.drop()
        self._session = self._ahead = None

    def _transcript(self, error: TransportError | None = None) -> str:
        """Return what was said for the present mail; an error without a reply is the last line."""
        ending = error.text if error and error.code is None else ""
        return self._session.transcript.text(ending) if self._session else ""

    @property
    def _tls(self) -> str:
        return self._session.tls if self._session else ""


def _milliseconds(started: float) -> int:
    return round((monotonic() - started) * 1000)
