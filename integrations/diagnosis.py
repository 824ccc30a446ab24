"""The connection check: the very steps that send a mail, each timed, and what to change when one fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from . import certificates, diagnosis_hints
from .certificates import CertificateReport
from .diagnosis_hints import Fault, Hint
from .transports import envelope, tls
from .transports.base import Scope, Stage, TransportError, demands_login, storable
from .transports.network import Clock
from .transports.sendgrid import SendGridSettings, SendGridTransport
from .transports.smtp import SmtpSettings
from .transports.smtp_envelope import Mail
from .transports.smtp_session import SmtpSession
from .transports.smtp_transaction import Transaction


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
    """What the check found. `certificate` is what a relay's TLS showed, None without any."""

    ok: bool
    mode: str
    steps: tuple[Step, ...]
    cause: str = ""
    field: str = ""
    proposal: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    certificate: Mapping[str, Any] | None = None

    @property
    def certificate_sentence(self) -> str:
        return certificates.sentence(self.certificate) if self.certificate else ""

    @property
    def certificate_until(self) -> datetime | None:
        return datetime.fromisoformat(self.certificate["valid_until"]) if self.certificate else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"steps": [asdict(step) for step in self.steps]}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Diagnosis:
        """Read what `as_dict` wrote, as a worker's report brings it."""
        return cls(**{**document, "steps": tuple(Step(**step) for step in document["steps"])})

    @classmethod
    def failed(cls, step: str, cause: str, *, milliseconds: int = 0) -> Diagnosis:
        """Make the finding that the check itself could not be carried out."""
        return cls(False, "", (Step(step, False, milliseconds, detail=cause),), cause)


Watch = Callable[[Sequence[Step]], None]


def unwatched(steps: Sequence[Step]) -> None:
    """Let the steps pass."""


@dataclass
class Recorder:
    """Times the steps and keeps what was said; `watch` sees them after each one."""

    watch: Watch = unwatched
    steps: list[Step] = dataclasses.field(default_factory=list)
    since: float = dataclasses.field(default_factory=monotonic)  # when the present step began

    def take(self, name: str, act: Callable[[], str], *, detail: Callable[[], str] = str) -> None:
        self.since = monotonic()
        try:
            said = act()
        except TransportError as error:
            self.fail(name, error)
            raise
        self.add(name, True, said, detail())

    def fail(self, name: str, error: TransportError) -> None:
        spoken = error.reply is not None and error.reply.code is not None
        self.add(name, False, str(error.reply) if spoken else "", "" if spoken else error.text)

    def add(self, name: str, ok: bool, said: str = "", detail: str = "") -> None:
        """Note a step that ends now; the next one begins."""
        now = monotonic()
        self.steps.append(Step(name, ok, round((now - self.since) * 1000), said, storable(detail)))
        self.since = now
        self.watch(self.steps)

    def diagnosis(self, mode: str, *, hint: Hint, certificate: CertificateReport | None = None) -> Diagnosis:
        ok = all(step.ok for step in self.steps)
        shown = {**asdict(certificate), "names": list(certificate.names)} if certificate else None
        return Diagnosis(ok, mode, tuple(self.steps), hint.cause, hint.field, dict(hint.proposal), shown)


def diagnose_smtp(settings: SmtpSettings, *, sender: str, watch: Watch = unwatched) -> Diagnosis:
    """Go through the whole conversation up to MAIL FROM; no mail is sent.

    Without a `sender` (every action may name its own) the empty one is tried, to see whether the relay demands a
    log-in; another refusal of it means nothing. Whatever is found, credentials are shown to the relay once at the
    most: looking closer is done without them.
    """
    recorder = Recorder(watch)
    session = SmtpSession(settings, clock=Clock(settings.total_seconds))
    error = _converse(session, recorder, sender=sender)
    certificate = certificates.inspect(session, error)
    if error:
        fault = Fault(error, session, certificate)
        hint = diagnosis_hints.after_failure(fault, step=recorder.steps[-1].name)
    else:
        hint = diagnosis_hints.after_success(session, certificate)
    return recorder.diagnosis(settings.tls_mode.label, hint=hint, certificate=certificate)


def _converse(session: SmtpSession, recorder: Recorder, *, sender: str) -> TransportError | None:
    """Take the steps; return what ended them early."""
    try:
        session.open(lambda name, act: recorder.take(name, act, detail=lambda: _detail(session)))
        if sender:
            recorder.take("mail", lambda: _mail_from(session, sender=sender))
        elif demand := _demand_for_auth(session):
            recorder.take("mail", demand)
        recorder.take("quit", session.quit)
    except TransportError as error:
        session.quit()
        return error
    return None


def _detail(session: SmtpSession) -> str:
    certificate = tls.Certificate.read(session.certificate) if session.step == "tls" else None
    return ", ".join(text for text in (session.detail, str(certificate or "")) if text)


def _demand_for_auth(session: SmtpSession) -> Callable[[], str] | None:
    """Try the empty sender; return what raises the relay's demand for a log-in, or None where it has none."""
    reply = session.ask("MAIL FROM:<>", stage=Stage.MAIL)
    session.ask("RSET", stage=Stage.MAIL)
    if not demands_login(reply):
        return None

    def refuse() -> str:
        raise TransportError.from_reply(reply, stage=Stage.MAIL)

    return refuse


def _mail_from(session: SmtpSession, *, sender: str) -> str:
    mail = Mail(sender=envelope.wire_sender(sender), recipients={}, refused={}, content=b"")
    said = str(Transaction.begin(session, mail=mail).reply)
    session.ask("RSET", stage=Stage.MAIL)
    return said


def diagnose_sendgrid(settings: SendGridSettings, *, watch: Watch = unwatched) -> Diagnosis:
    """Ask what the key may do; nothing is sent and no credit is used."""
    recorder = Recorder(watch)
    transport = SendGridTransport(settings)
    hint = Hint()
    try:
        scopes = _ask_scopes(transport, recorder)
        recorder.take("mail.send", lambda: _check_scope(scopes))
    except TransportError as error:
        hint = Hint(error.text, _sendgrid_field(error, step=recorder.steps[-1].name))
    finally:
        transport.close()
    return recorder.diagnosis("HTTPS: the v3 API", hint=hint)


_UNDER_WAY = {"connection.connect_tcp.complete": "connect", "connection.start_tls.complete": "tls"}  # httpcore's words


def _ask_scopes(transport: SendGridTransport, recorder: Recorder) -> list[str]:
    """Return the key's scopes; what happens on the way to the answer are steps of their own."""

    def hear(event: str, info: Mapping[str, Any]) -> None:
        if event in _UNDER_WAY:
            recorder.add(_UNDER_WAY[event], True, detail=_met(info["return_value"]))

    try:
        scopes = transport.scopes(trace=hear)
    except TransportError as error:
        recorder.fail({Stage.CONNECT: "connect", Stage.TLS: "tls"}.get(error.stage, "scopes"), error)
        raise
    recorder.add("scopes", True, "200", f"{len(scopes)} scopes")
    return scopes


def _met(stream: Any) -> str:
    """Say what was connected to: the protocol where it is encrypted, else the address."""
    encrypted = stream.get_extra_info("ssl_object")
    return str(encrypted.version()) if encrypted else str((stream.get_extra_info("server_addr") or [""])[0])


def _sendgrid_field(error: TransportError, *, step: str) -> str:
    if step == "mail.send" or error.code in (401, 403) or "API key" in error.text:
        return "api_key"
    return "" if error.scope is Scope.MACHINE or error.code == 429 or (error.code or 0) >= 500 else "base_url"


def _check_scope(scopes: list[str]) -> str:
    if "mail.send" not in scopes:
        text = "The API key is valid but may not send mail: give it the permission 'Mail Send'."
        raise TransportError(text, stage=Stage.HTTP, scope=Scope.PROVIDER)
    return ""
