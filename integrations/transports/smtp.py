"""Hand mails to an SMTP relay: one transaction a mail (RFC 5321), many over one session."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic

from . import envelope
from .base import Receipt, Stage, Submission, TransportError
from .network import Clock
from .smtp_session import SmtpSession
from .smtp_settings import SmtpSettings, TlsMode
from .smtp_transaction import Mail, Transaction

__all__ = ["SmtpSettings", "SmtpTransport", "TlsMode"]


BRIEF_SECONDS = 5.0  # for NOOP and QUIT: nothing is lost where the relay does not answer them


class SmtpTransport:
    """Sends over one session, opened by the first mail and kept for the next. Not for two threads at once."""

    def __init__(self, settings: SmtpSettings) -> None:
        self.settings = settings
        self._clock = Clock(settings.total_seconds)
        self._session: SmtpSession | None = None
        self._mails = 0  # sent or refused over this session
        self._opened_at = self._used_at = 0.0

    def send(self, submission: Submission) -> Receipt:
        started = monotonic()
        self._clock = Clock(self.settings.total_seconds)
        try:
            transaction = self._begin(Mail.of(submission))
            reply = transaction.finish()
            transcript = self._transcript()
        except TransportError as error:
            error.milliseconds, error.tls = _milliseconds(started), error.tls or self._tls
            error.transcript = self._transcript(error)
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
        if self._session:
            self._session.clock = self._brief_clock()
            self._session.quit()
        self._session = None

    def _begin(self, mail: Mail) -> Transaction:
        """Begin the mail. A kept session that has died meanwhile is replaced, once."""
        kept = self._kept_session()
        if kept:
            try:
                return Transaction.begin(kept, mail=mail)
            except TransportError:
                if kept.alive:
                    raise
            self._drop()
        return Transaction.begin(self._open_session(), mail=mail)

    def _open_session(self) -> SmtpSession:
        self._session = SmtpSession(self.settings, clock=self._clock)
        self._session.open()
        self._mails, self._opened_at = 0, monotonic()
        return self._session

    def _kept_session(self) -> SmtpSession | None:
        """Return the session of the mail before, if it may carry another one."""
        if self._session and self._is_worn():
            self.close()
        if self._session is None:
            return None
        if self._session.has_unheard:  # 421 or an end that came meanwhile, or a reply too many: the next would be wrong
            self._drop()
            return None
        if monotonic() - self._used_at > self.settings.noop_seconds and not self._answers(self._session):
            self._drop()
            return None
        self._session.clock = self._clock
        return self._session

    def _is_worn(self) -> bool:
        old = monotonic() - self._opened_at > self.settings.session_seconds
        return old or self._mails >= self.settings.session_mails

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
        self._session = None

    def _transcript(self, error: TransportError | None = None) -> str:
        """Return what was said for the present mail; an error without a reply is the last line."""
        ending = error.text if error and error.code is None else ""
        return self._session.transcript.text(ending) if self._session else ""

    @property
    def _tls(self) -> str:
        return self._session.tls if self._session else ""


def _milliseconds(started: float) -> int:
    return round((monotonic() - started) * 1000)
