"""What the connection check advises: why a step failed, the form field to change, and to what."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .transports import smtp_auth, tls
from .transports.base import Reply, Stage, TransportError
from .transports.network import Clock
from .transports.smtp import SmtpSettings, TlsMode
from .transports.smtp_session import SmtpSession

PROBE_SECONDS = 5  # a second look at the same port, to say what it really speaks
NAMED = 5  # so many names of a certificate are told

USE_STARTTLS = {"ssl": False, "enable_starttls": True}
USE_IMPLICIT_TLS = {"ssl": True, "enable_starttls": False}


@dataclass(frozen=True, slots=True)
class Hint:
    """Why it failed, the form field to change, and the new values where they can be known."""

    cause: str = ""
    field: str = ""
    proposal: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def after_success(session: SmtpSession) -> Hint:
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


def after_failure(error: TransportError, *, session: SmtpSession, step: str) -> Hint:
    """Return the advice for the step that failed; a relay that is busy is nobody's wrong setting."""
    if error.code == 421 or (step == "greeting" and 400 <= (error.code or 0) < 500):
        return Hint("The relay takes no connection just now. Try again later, or connect without the check.")
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
        return _certificate_hint(error, error.__cause__, settings=settings)
    if not _ca_certificates_readable(settings):
        return Hint(error.text, "ca_certificates")
    if settings.tls_mode is TlsMode.IMPLICIT:
        return _clear_text_port_hint(error, settings=settings)
    if error.stage is Stage.EHLO:
        return Hint(error.text, "domain")
    return Hint(error.text, "enable_starttls" if settings.starttls else "enable_starttls_auto")


def _certificate_hint(error: TransportError, cause: ssl.SSLCertVerificationError, *, settings: SmtpSettings) -> Hint:
    if cause.verify_code in tls.WRONG_HOST:
        return _wrong_host_hint(error, settings=settings)
    by_ca = cause.verify_code == tls.SELF_SIGNED or cause.verify_code in tls.UNKNOWN_ISSUER
    return Hint(error.text, "ca_certificates" if by_ca else "openssl_verify_mode")


def _wrong_host_hint(error: TransportError, *, settings: SmtpSettings) -> Hint:
    """Name the host names to choose from; never as a proposal, for an impostor has a good certificate too."""
    probe = _probe(settings, verify="none")
    names = tls.names_in(probe.certificate) if probe else []
    if not names:
        return Hint(error.text, "address")
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
    text = f"The certificate of {settings.place} was issued for {listed}, not for {settings.host}"
    return Hint(f"{text}: enter the name of your relay as the certificate has it.", "address")


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
    return Hint(error.text, _refused_field(error.reply) if error.reply else "password")


def _refused_field(reply: Reply) -> str:
    if smtp_auth.is_auth_disabled(reply):
        return ""
    if smtp_auth.wants_app_password(reply):
        return "password"
    return {503: "user_name", 504: "authentication", 534: "authentication"}.get(reply.code or 0, "password")


def _auth_not_tried_hint(error: TransportError, session: SmtpSession) -> Hint:
    """Explain why AUTH was not even tried: not offered, or not in clear text."""
    names = smtp_auth.offered(session)
    if not session.tls and "starttls" in session.features:
        return Hint("The connection is not encrypted, but the relay offers STARTTLS.", "enable_starttls", USE_STARTTLS)
    other = _usable_mechanism(names, session=session)
    if other:
        return _other_mechanism_hint(error, other=other, session=session)
    if not names:
        return Hint(error.text, "user_name" if session.tls else "port")
    return Hint(error.text, "port" if set(names) & set(smtp_auth.MECHANISMS.values()) else "address")


def _other_mechanism_hint(error: TransportError, *, other: str, session: SmtpSession) -> Hint:
    chosen, better = smtp_auth.MECHANISMS[session.settings.authentication], smtp_auth.MECHANISMS[other]
    text = error.text
    if chosen in smtp_auth.offered(session):  # and yet not taken: it would go over the wire in clear
        text = f"The connection is not encrypted: {chosen} would show the password, {better} does not. Choose {better}."
    return Hint(text, "authentication", {"authentication": other})


def _usable_mechanism(names: list[str], *, session: SmtpSession) -> str:
    """Return another mechanism that the relay offers and this connection allows, or ''."""
    for key, name in smtp_auth.MECHANISMS.items():
        chosen = key == session.settings.authentication
        if not chosen and name in names and smtp_auth.is_protected(session, mechanism=name):
            return key
    return ""


def _mail_hint(error: TransportError, session: SmtpSession) -> Hint:
    words = (error.reply.text if error.reply else "").lower()
    if not session.tls and "starttls" in words and "starttls" in session.features:
        return Hint(f"The relay wants TLS first: {error.reply}", "enable_starttls", USE_STARTTLS)
    if error.code == 530 or error.enhanced_code == "5.7.57":
        return Hint(f"The relay wants a username and a password: {error.reply}", "user_name")
    if error.reply is None or (error.code is None and not error.enhanced_code):
        return Hint(error.text)  # the connection broke, or that was no SMTP: no field is to blame
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
