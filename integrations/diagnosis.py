"""The connection check: the very steps that send a mail, each timed, and what to change when one fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any

from . import diagnosis_hints
from .diagnosis_hints import Hint
from .transports import envelope
from .transports.base import Scope, Stage, TransportError
from .transports.network import Clock
from .transports.sendgrid import SendGridSettings, SendGridTransport
from .transports.smtp import SmtpSettings
from .transports.smtp_session import SmtpSession
from .transports.smtp_transaction import Mail, Transaction

REPLY_SECONDS = 10  # somebody sits before the page and waits


@dataclass(frozen=True, slots=True)
class Step:
    """`said` are the server's own words, `detail` are ours and do not repeat them."""

    name: str
    ok: bool
    milliseconds: int
    said: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    ok: bool
    mode: str
    steps: tuple[Step, ...]
    cause: str = ""
    field: str = ""
    proposal: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        document = asdict(self)
        document["steps"] = [asdict(step) for step in self.steps]
        return document


@dataclass
class Recorder:
    """Times the steps and keeps what was said."""

    steps: list[Step] = dataclasses.field(default_factory=list)

    def take(self, name: str, act: Callable[[], str], *, detail: Callable[[], str] = str) -> None:
        started = monotonic()
        try:
            said = act()
        except TransportError as error:
            spoken = error.reply is not None and error.reply.code is not None
            self._add(name, False, started, str(error.reply) if spoken else "", "" if spoken else error.text)
            raise
        self._add(name, True, started, said, detail())

    def _add(self, name: str, ok: bool, started: float, said: str, detail: str) -> None:
        self.steps.append(Step(name, ok, round((monotonic() - started) * 1000), said, detail))

    def diagnosis(self, mode: str, *, hint: Hint) -> Diagnosis:
        ok = all(step.ok for step in self.steps)
        return Diagnosis(ok, mode, tuple(self.steps), hint.cause, hint.field, dict(hint.proposal))


def diagnose_smtp(settings: SmtpSettings, *, sender: str) -> Diagnosis:
    """Go through the whole conversation up to MAIL FROM; no mail is sent.

    Without a `sender` the conversation ends before it: every action may name its own From.
    """
    recorder = Recorder()
    settings = replace(settings, reply_seconds=min(settings.reply_seconds, REPLY_SECONDS))
    session = SmtpSession(settings, clock=Clock(settings.total_seconds))
    try:
        session.open(lambda name, act: recorder.take(name, act, detail=lambda: session.detail))
        if sender:
            recorder.take("mail", lambda: _mail_from(session, sender=sender))
        recorder.take("quit", session.quit)
        hint = diagnosis_hints.after_success(session)
    except TransportError as error:
        session.quit()
        hint = diagnosis_hints.after_failure(error, session=session, step=recorder.steps[-1].name)
    return recorder.diagnosis(settings.tls_mode.label, hint=hint)


def _mail_from(session: SmtpSession, *, sender: str) -> str:
    mail = Mail(sender=envelope.wire_sender(sender), recipients={}, refused={}, content=b"")
    said = str(Transaction.begin(session, mail=mail).reply)
    session.ask("RSET", stage=Stage.MAIL)
    return said


def diagnose_sendgrid(settings: SendGridSettings) -> Diagnosis:
    """Ask what the key may do; nothing is sent and no credit is used."""
    recorder = Recorder()
    transport = SendGridTransport(settings)
    scopes: list[str] = []
    hint = Hint()
    try:
        recorder.take("scopes", lambda: _ask_scopes(transport, scopes), detail=lambda: f"{len(scopes)} scopes")
        recorder.take("mail.send", lambda: _check_scope(scopes))
    except TransportError as error:
        hint = Hint(error.text, _sendgrid_field(error, step=recorder.steps[-1].name))
    finally:
        transport.close()
    return recorder.diagnosis("HTTPS: the v3 API", hint=hint)


def _sendgrid_field(error: TransportError, *, step: str) -> str:
    if step == "mail.send" or error.code in (401, 403) or "API key" in error.text:
        return "api_key"
    return "" if error.code == 429 or (error.code or 0) >= 500 else "base_url"


def _ask_scopes(transport: SendGridTransport, scopes: list[str]) -> str:
    scopes.extend(transport.scopes())
    return "200"


def _check_scope(scopes: list[str]) -> str:
    if "mail.send" not in scopes:
        text = "The API key is valid but may not send mail: give it the permission 'Mail Send'."
        raise TransportError(text, stage=Stage.HTTP, scope=Scope.PROVIDER)
    return ""
