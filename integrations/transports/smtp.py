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


class SmtpTransport:
    """Sends over one session, opened by the first mail and kept for the next. Not for two threads."""

    def __init__(self, settings: SmtpSettings) -> None:
        self.settings = settings
        self._clock = Clock(settings.total_seconds)
        self._session: SmtpSession | None = None

    def send(self, submission: Submission) -> Receipt:
        started = monotonic()
        self._clock = Clock(self.settings.total_seconds)
        try:
            transaction = self._begin(Mail.of(submission))
            reply = transaction.finish()
        except TransportError as error:
            error.milliseconds, error.tls = _milliseconds(started), error.tls or self._tls
            self._recover()
            raise
        except BaseException:
            self._drop()  # half a conversation cannot be continued
            raise
        return Receipt(
            reply=reply,
            message_id=envelope.message_id_of(submission.content),
            milliseconds=_milliseconds(started),
            tls=self._tls,
            refused=transaction.refused,
        )

    def close(self) -> None:
        if self._session:
            self._session.clock = Clock(self.settings.reply_seconds)
            self._session.quit()
        self._session = None

    def _begin(self, mail: Mail) -> Transaction:
        """Say MAIL FROM. A kept session that has died meanwhile is replaced, once."""
        kept = self._session
        if kept:
            kept.clock = self._clock
            try:
                return Transaction.begin(kept, mail=mail)
            except TransportError:
                if kept.alive:
                    raise
            self._drop()
        self._session = SmtpSession(self.settings, clock=self._clock)
        self._session.open()
        return Transaction.begin(self._session, mail=mail)

    def _recover(self) -> None:
        """Make the session fit for the next mail, or let it go."""
        session = self._session
        if session is None or not session.alive:
            return self._drop()
        with suppress(TransportError):
            if session.ask("RSET", stage=Stage.MAIL).code == 250:
                return None
        return self._drop()

    def _drop(self) -> None:
        if self._session:
            self._session.drop()
        self._session = None

    @property
    def _tls(self) -> str:
        return self._session.tls if self._session else ""


def _milliseconds(started: float) -> int:
    return round((monotonic() - started) * 1000)
