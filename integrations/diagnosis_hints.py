"""What the connection check advises: why a step failed, the form field to change, and to what.

A proposal is tried before it is made, without credentials and as far as EHLO: applied, it gets the next check past
the step that failed, and as far as anybody can know, through.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import detection
from .certificates import CertificateReport
from .probing import changed, probe
from .transports import smtp_auth, tls
from .transports.base import Reply, Scope, Stage, TransportError, demands_login, demands_tls
from .transports.smtp import SmtpSettings, TlsMode
from .transports.smtp_session import SmtpSession

USE_STARTTLS = {"ssl": False, "enable_starttls": True}


@dataclass(frozen=True, slots=True)
class Hint:
    """Why it failed, the form field to change, and the new values where they can be known."""

    cause: str = ""
    field: str = ""
    proposal: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """What there is to go by: the error, the session that met it, and the certificate it saw."""

    error: TransportError
    session: SmtpSession
    certificate: CertificateReport | None = None

    @property
    def settings(self) -> SmtpSettings:
        return self.session.settings


def after_success(session: SmtpSession, certificate: CertificateReport | None) -> Hint:
    """Warn before a certificate expires; offer certificate verification where it would pass."""
    if certificate is None:
        return Hint()
    soon = f"The relay's certificate {certificate.expiry}: have it renewed there. " if certificate.expires_soon else ""
    if certificate.verifies and session.settings.verify == "none":
        cause = f"{soon}The relay's certificate is good: it can be verified from now on."
        return Hint(cause, "openssl_verify_mode", {"openssl_verify_mode": "peer"})
    return Hint(soon.strip())


def after_failure(fault: Fault, *, step: str) -> Hint:
    """Return the advice for the step that failed; what passes by itself is nobody's wrong setting."""
    code = fault.error.code or 0
    if fault.error.scope is Scope.MACHINE:
        return Hint(fault.error.text)
    if code == 421 and _blames_greeting(fault.error):
        both = "The relay takes no connection just now, or it does not accept the name that we greet with"
        return Hint(f"{both}: {fault.error.reply}", "domain")
    if code == 421 or (step == "greeting" and 400 <= code < 500):
        said = str(fault.error.reply).rstrip(". ")
        return Hint(f"The relay takes no connection just now: {said}. Try again later.")
    if 400 <= code < 500 and not (step == "mail" and _wants_other_settings(fault)):
        return Hint(f"{fault.error.text.rstrip('.')}. The relay says that this will pass: try again later.")
    return _HINTS[step](fault)


def _blames_greeting(error: TransportError) -> bool:
    """Google writes behind a 421 which command it is about; at EHLO it is nearly always the name."""
    return error.stage is Stage.EHLO and error.reply is not None and "(EHLO)" in error.reply.text


def _proposing(fault: Fault, cause: str, field: str, values: Mapping[str, Any]) -> Hint:
    """Return a hint that proposes these values, if they work, with a mechanism that the relay then offers."""
    met = probe(fault.settings, values)
    if met.error:
        return Hint(f"{cause.rstrip('.')}. After that: {met.error.text}", field)
    mechanism = _mechanism(met.session, chosen=fault.settings.authentication)
    if fault.settings.username and not mechanism:
        return Hint(cause, field)
    changes_it = fault.settings.username and mechanism != fault.settings.authentication
    proposal = {**values, **({"authentication": mechanism} if changes_it else {})}
    new = {name: value for name, value in proposal.items() if _differs(fault.settings, name, value)}
    return Hint(cause, field, new)


def _differs(settings: SmtpSettings, name: str, value: Any) -> bool:
    return changed(settings, {name: value}) != settings


def _mechanism(session: SmtpSession, *, chosen: str) -> str:
    """Return the chosen mechanism where the relay offers it and the connection allows it, else another, else ''."""
    names = smtp_auth.offered(session)
    keys = [chosen, *(key for key in smtp_auth.MECHANISMS if key != chosen)]
    usable = (key for key in keys if (name := smtp_auth.MECHANISMS[key]) in names and _protected(session, name))
    return next(usable, "")


def _protected(session: SmtpSession, mechanism: str) -> bool:
    return smtp_auth.is_protected(session, mechanism=mechanism)


def _elsewhere(fault: Fault, cause: str, field: str) -> Hint:
    """Look for a better port of the same host: encrypted, and with AUTH where there is a username."""
    ports = [port for port in detection.PORTS if port != fault.settings.port]
    best = detection.best_of(detection.look(fault.settings, ports))
    if best is None or best.mode == "clear text" or (fault.settings.username and not best.mechanism):
        return Hint(cause, field)
    found = f"{cause} Port {best.port} speaks {best.mode}."
    return _proposing(fault, found, "port", {"port": best.port, **best.switches})


def _connect_hint(fault: Fault) -> Hint:
    if fault.error.stage is Stage.RESOLVE:
        return Hint(fault.error.text, "address")
    refused = isinstance(fault.error.__cause__, ConnectionRefusedError)
    return _elsewhere(fault, fault.error.text, "port" if refused else "address")


def _greeting_hint(fault: Fault) -> Hint:
    """Recognise a port that waits for TLS while we wait for its greeting."""
    error, settings = fault.error, fault.settings
    if settings.tls_mode is not TlsMode.IMPLICIT and not _is_smtp_refusal(error) and _speaks_tls(settings):
        cause = f"Port {settings.port} expects TLS from the first byte, and the settings begin in clear text."
        return _proposing(fault, cause, "ssl", {"ssl": True, "enable_starttls": False})
    if _is_smtp_refusal(error):
        return Hint(error.text, "address")
    return _elsewhere(fault, error.text, "port")


def _is_smtp_refusal(error: TransportError) -> bool:
    return error.code is not None and 400 <= error.code < 600


def _speaks_tls(settings: SmtpSettings) -> bool:
    return probe(settings, {**detection.IMPLICIT, "openssl_verify_mode": "none", "ca_certificates": ""}).ok


def _tls_hint(fault: Fault) -> Hint:
    error, settings = fault.error, fault.settings
    if isinstance(error.__cause__, ssl.SSLCertVerificationError):
        return _certificate_hint(fault, error.__cause__)
    if not _ca_certificates_readable(settings):
        return Hint(error.text, "ca_certificates")
    if settings.tls_mode is TlsMode.IMPLICIT:
        return _clear_text_port_hint(fault)
    if error.stage is Stage.EHLO:
        return _ehlo_hint(fault)
    if settings.starttls and "starttls" not in fault.session.features:
        return _elsewhere(fault, error.text, "enable_starttls")
    return Hint(error.text)  # refused or disturbed: to do without TLS is no advice


def _certificate_hint(fault: Fault, cause: ssl.SSLCertVerificationError) -> Hint:
    if cause.verify_code in tls.WRONG_HOST:
        return _wrong_host_hint(fault)
    by_ca = cause.verify_code == tls.SELF_SIGNED or cause.verify_code in tls.UNKNOWN_ISSUER
    return Hint(fault.error.text, "ca_certificates" if by_ca else "")


def _wrong_host_hint(fault: Fault) -> Hint:
    """Name the host names to choose from; never as a proposal, for an impostor has a good certificate too."""
    listed = fault.certificate.whom if fault.certificate else ""
    if not listed:
        return Hint(fault.error.text, "address")
    text = f"The certificate of {fault.settings.place} was issued for {listed}, not for {fault.settings.host}"
    return Hint(f"{text}: enter the name of your relay as the certificate has it.", "address")


def _ca_certificates_readable(settings: SmtpSettings) -> bool:
    try:
        tls.client_context(settings.verify, ca_certificates=settings.ca_certificates)
    except TransportError:
        return False
    return True


def _clear_text_port_hint(fault: Fault) -> Hint:
    """Ask the same port in clear text what it speaks."""
    port = fault.settings.port
    clear = probe(fault.settings, {"ssl": False, "enable_starttls": False, "enable_starttls_auto": False})
    if not clear.ok:
        return _elsewhere(fault, fault.error.text, "ssl")
    if "starttls" in clear.session.features:
        return _proposing(fault, f"Port {port} begins in clear text and offers STARTTLS.", "ssl", USE_STARTTLS)
    return _elsewhere(fault, f"Port {port} speaks clear text only, without STARTTLS.", "port")


def _ehlo_hint(fault: Fault) -> Hint:
    """The name that we greet with is to blame where the relay says so, or where it cannot even be sent."""
    broken = fault.error.reply is None and fault.error.__cause__ is not None
    return Hint(fault.error.text, "" if broken else "domain")


def _auth_hint(fault: Fault) -> Hint:
    error, session = fault.error, fault.session
    if error.reply is None and error.__cause__ is None:
        return _auth_not_tried_hint(fault)
    if isinstance(error.__cause__, TimeoutError):
        cause = f"{error.text} Some relays, Microsoft 365 among them, answer wrong credentials with silence."
        return Hint(cause, "password")
    if not session.tls and error.code in (530, 538) and "starttls" in session.features:
        return _proposing(fault, f"The relay wants TLS before AUTH: {error.reply}", "enable_starttls", USE_STARTTLS)
    if error.reply is None:  # the exchange broke, or could not be gone through with
        return Hint(error.text, "authentication" if isinstance(error.__cause__, ValueError) else "")
    field = _refused_field(error.reply)
    return Hint(f"{error.text}{_blank(fault.settings.password)}" if field == "password" else error.text, field)


def _blank(password: str) -> str:
    return " The password begins or ends with a blank: was it pasted with it?" if password != password.strip() else ""


def _refused_field(reply: Reply) -> str:
    if smtp_auth.is_auth_disabled(reply):
        return ""
    if smtp_auth.wants_app_password(reply):
        return "password"
    fields = {500: "user_name", 502: "user_name", 503: "user_name", 504: "authentication", 534: "authentication"}
    return fields.get(reply.code or 0, "password")


def _auth_not_tried_hint(fault: Fault) -> Hint:
    """Explain why AUTH was not even tried: not offered, or not in clear text."""
    error, session = fault.error, fault.session
    if not session.tls and "starttls" in session.features:
        cause = "The connection is not encrypted, but the relay offers STARTTLS."
        return _proposing(fault, cause, "enable_starttls", USE_STARTTLS)
    other = _mechanism(session, chosen=session.settings.authentication)
    if other and session.tls:
        return _other_mechanism_hint(fault, other=other)
    encrypted = _elsewhere(fault, error.text, "port") if not session.tls else Hint()
    if encrypted.proposal:
        return encrypted
    if other:
        return _other_mechanism_hint(fault, other=other)
    names = smtp_auth.offered(session)
    if session.tls and not names:
        return _elsewhere(fault, error.text, "user_name")
    known = set(names) & set(smtp_auth.MECHANISMS.values())
    field = "port" if known or not names else "address"
    return _elsewhere(fault, error.text, field) if session.tls else Hint(encrypted.cause, field)


def _other_mechanism_hint(fault: Fault, *, other: str) -> Hint:
    chosen, better = smtp_auth.MECHANISMS[fault.settings.authentication], smtp_auth.MECHANISMS[other]
    text = fault.error.text
    if chosen in smtp_auth.offered(fault.session):  # and yet not taken: it would go over the wire in clear
        text = f"The connection is not encrypted: {chosen} would show the password, {better} does not. Choose {better}."
    return Hint(text, "authentication", {"authentication": other})


def _wants_other_settings(fault: Fault) -> bool:
    """Exchange says 451 where it wants TLS or a log-in first: that does not pass."""
    return _wants_starttls(fault) or _wants_login(fault)


def _wants_starttls(fault: Fault) -> bool:
    session = fault.session
    return not session.tls and _said(fault, demands_tls) and "starttls" in session.features


def _wants_login(fault: Fault) -> bool:
    return _said(fault, demands_login)


def _said(fault: Fault, what: Callable[[Reply], bool]) -> bool:
    return fault.error.reply is not None and what(fault.error.reply)


def _words(fault: Fault) -> str:
    return (fault.error.reply.text if fault.error.reply else "").lower()


def _mail_hint(fault: Fault) -> Hint:
    error, words = fault.error, _words(fault)
    if _wants_starttls(fault):
        return _proposing(fault, f"The relay wants TLS first: {error.reply}", "enable_starttls", USE_STARTTLS)
    if _wants_login(fault):
        return Hint(f"The relay wants a username and a password: {error.reply}", "user_name")
    if any(word in words for word in ("client host", "access denied", "relaying denied", "blocked", "blacklist")):
        return Hint(f"The relay does not let this machine send: {error.reply}. Its operator has to allow it.")
    if error.reply is None or (error.code is None and not error.enhanced_code):
        return Hint(error.text)  # the connection broke, or that was no SMTP: no field is to blame
    if error.code is None:
        return Hint(error.text, "default_from")
    return Hint(f"The relay does not take this sender: {error.reply}", "default_from")


_HINTS: dict[str, Callable[[Fault], Hint]] = {
    "resolve": _connect_hint,
    "connect": _connect_hint,
    "greeting": _greeting_hint,
    "tls": _tls_hint,
    "ehlo": _ehlo_hint,
    "auth": _auth_hint,
    "mail": _mail_hint,
}
