"""The connection check: the very steps that send a mail, each timed, and what to change when one fails."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from time import monotonic
from typing import Any

from .transports import envelope, smtp_auth, tls
from .transports.base import Scope, Stage, TransportError
from .transports.network import Clock
from .transports.sendgrid import SendGridSettings, SendGridTransport
from .transports.smtp import SmtpSettings, TlsMode
from .transports.smtp_session import SmtpSession
from .transports.smtp_transaction import Mail, Transaction

PROBE_SECONDS = 5  # a second look at the same port, to say what it really speaks

USE_STARTTLS = {"ssl": False, "enable_starttls": True}
USE_IMPLICIT_TLS = {"ssl": True, "enable_starttls": False}


@dataclass(frozen=True, slots=True)
class Step:
    """`said` are the server's own words, `detail` are ours."""

    name: str
    ok: bool
    milliseconds: int
    said: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Hint:
    """Why it failed, the form field to change, and the new values where they can be known."""

    cause: str = ""
    field: str = ""
    proposal: Mapping[str, Any] = dataclasses.field(default_factory=dict)


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
            self._add(name, False, started, str(error.reply or ""), error.text)
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
    session = SmtpSession(settings, clock=Clock(settings.total_seconds))
    try:
        session.open(lambda name, act: recorder.take(name, act, detail=lambda: session.detail))
        if sender:
            recorder.take("mail", lambda: _mail_from(session, sender=sender))
        recorder.take("quit", session.quit)
        hint = _success_hint(session)
    except TransportError as error:
        session.quit()
        hint = _failure_hint(error, session=session, step=recorder.steps[-1].name)
    return recorder.diagnosis(settings.tls_mode.label, hint=hint)


def _mail_from(session: SmtpSession, *, sender: str) -> str:
    mail = Mail(sender=envelope.wire_sender(sender), recipients={}, refused={}, content=b"")
    said = str(Transaction.begin(session, mail=mail).reply)
    session.ask("RSET", stage=Stage.MAIL)
    return said


def _success_hint(session: SmtpSession) -> Hint:
    """Offer certificate verification where it would pass."""
    settings = session.settings
    if session.tls and settings.verify == "none" and _probe(settings, verify="peer"):
        cause = "The relay's certificate is good: it can be verified from now on."
        return Hint(cause, "openssl_verify_mode", {"openssl_verify_mode": "peer"})
    return Hint()


def _probe(settings: SmtpSettings, **changes: Any) -> SmtpSession | None:
    """Open a second session with other settings and without credentials; None if that fails."""
    seconds = min(PROBE_SECONDS, settings.connect_seconds, settings.reply_seconds)
    limits: dict[str, Any] = {"connect_seconds": seconds, "reply_seconds": seconds, "total_seconds": 3 * seconds}
    changed = replace(settings, username="", password="", **limits, **changes)
    session = SmtpSession(changed, clock=Clock(changed.total_seconds))
    try:
        session.open()
    except TransportError:
        return None
    session.quit()
    return session


def _failure_hint(error: TransportError, *, session: SmtpSession, step: str) -> Hint:
    return _HINTS[step](error, session)


def _connect_hint(error: TransportError, session: SmtpSession) -> Hint:
    refused = isinstance(error.__cause__, ConnectionRefusedError)
    return Hint(error.text, "port" if refused else "address")


def _greeting_hint(error: TransportError, session: SmtpSession) -> Hint:
    """Recognise a port that waits for TLS while we wait for its greeting."""
    settings = session.settings
    if settings.tls_mode is not TlsMode.IMPLICIT and not _is_smtp_refusal(error) and _speaks_tls(settings):
        cause = f"Port {settings.port} expects TLS from the first byte, and the settings begin in clear text."
        return Hint(cause, "ssl", USE_IMPLICIT_TLS)
    return Hint(error.text, "address" if _is_smtp_refusal(error) else "port")


def _is_smtp_refusal(error: TransportError) -> bool:
    return error.code is not None and 400 <= error.code < 600


def _speaks_tls(settings: SmtpSettings) -> bool:
    return _probe(settings, ssl=True, verify="none", ca_certificates="") is not None


def _tls_hint(error: TransportError, session: SmtpSession) -> Hint:
    settings = session.settings
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return _certificate_hint(error, error.__cause__)
    if not _ca_certificates_readable(settings):
        return Hint(error.text, "ca_certificates")
    if settings.tls_mode is TlsMode.IMPLICIT:
        return _clear_text_port_hint(error, settings=settings)
    if error.stage is Stage.EHLO:
        return Hint(error.text, "domain")
    return Hint(error.text, "enable_starttls" if settings.starttls else "enable_starttls_auto")


def _certificate_hint(error: TransportError, cause: ssl.SSLCertVerificationError) -> Hint:
    by_ca = cause.verify_code == tls.SELF_SIGNED or cause.verify_code in tls.UNKNOWN_ISSUER
    return Hint(error.text, "ca_certificates" if by_ca else "openssl_verify_mode")


def _ca_certificates_readable(settings: SmtpSettings) -> bool:
    try:
        tls.client_context(settings.verify, ca_certificates=settings.ca_certificates)
    except TransportError:
        return False
    return True


def _clear_text_port_hint(error: TransportError, *, settings: SmtpSettings) -> Hint:
    """Ask the same port in clear text what it speaks."""
    port = settings.port
    clear = _probe(settings, ssl=False, starttls=False, starttls_auto=False)
    if clear is None:
        return Hint(error.text, "ssl")
    if "starttls" in clear.features:
        return Hint(f"Port {port} begins in clear text and offers STARTTLS.", "ssl", USE_STARTTLS)
    return Hint(f"Port {port} speaks clear text only, without STARTTLS: another port may offer TLS.", "port")


def _ehlo_hint(error: TransportError, session: SmtpSession) -> Hint:
    return Hint(error.text, "domain")


def _auth_hint(error: TransportError, session: SmtpSession) -> Hint:
    if error.reply is None and error.__cause__ is None:
        return _auth_not_tried_hint(error, session)
    if isinstance(error.__cause__, TimeoutError):
        cause = f"{error.text} Some relays, Microsoft 365 among them, answer wrong credentials with silence."
        return Hint(cause, "password")
    if not session.tls and error.code in (530, 538) and "starttls" in session.features:
        return Hint(f"The relay wants TLS before AUTH: {error.reply}", "enable_starttls", USE_STARTTLS)
    fields = {503: "user_name", 504: "authentication", 534: "authentication", 535: "password"}
    return Hint(error.text, fields.get(error.code or 0, "password"))


def _auth_not_tried_hint(error: TransportError, session: SmtpSession) -> Hint:
    """Explain why AUTH was not even tried: not offered, or not in clear text."""
    names = smtp_auth.offered(session)
    if not session.tls and "starttls" in session.features:
        return Hint("The connection is not encrypted, but the relay offers STARTTLS.", "enable_starttls", USE_STARTTLS)
    other = _usable_mechanism(names, session=session)
    if other:
        return Hint(error.text, "authentication", {"authentication": other})
    if not names:
        return Hint(error.text, "user_name")
    chosen = smtp_auth.MECHANISMS[session.settings.authentication]
    return Hint(error.text, "allow_clear_text_auth" if chosen in names else "authentication")


def _usable_mechanism(names: list[str], *, session: SmtpSession) -> str:
    """Return another mechanism that the relay offers and this connection allows, or ''."""
    settings = session.settings
    protected = bool(session.tls) or settings.allow_clear_text_auth
    for key, name in smtp_auth.MECHANISMS.items():
        if key != settings.authentication and name in names and (protected or name in smtp_auth.SAFE_IN_CLEAR):
            return key
    return ""


def _mail_hint(error: TransportError, session: SmtpSession) -> Hint:
    words = (error.reply.text if error.reply else "").lower()
    if not session.tls and "starttls" in words and "starttls" in session.features:
        return Hint(f"The relay wants TLS first: {error.reply}", "enable_starttls", USE_STARTTLS)
    if error.code == 530 or error.enhanced_code == "5.7.57":
        return Hint(f"The relay wants a username and a password: {error.reply}", "user_name")
    if error.reply is None:
        return Hint(error.text)  # the connection broke: no field is to blame
    if error.code is None:
        return Hint(error.text, "default_from")
    return Hint(f"The relay does not take this sender: {error.reply}", "default_from")


_HINTS: dict[str, Callable[[TransportError, SmtpSession], Hint]] = {
    "resolve": _connect_hint,
    "connect": _connect_hint,
    "greeting": _greeting_hint,
    "tls": _tls_hint,
    "ehlo": _ehlo_hint,
    "auth": _auth_hint,
    "mail": _mail_hint,
}


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
