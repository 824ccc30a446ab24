"""A second look at a relay: other settings, no credentials, nothing sent."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .transports.base import TransportError
from .transports.network import Clock
from .transports.smtp import SmtpSettings
from .transports.smtp_session import SmtpSession

CONNECT_SECONDS = 5.0
REPLY_SECONDS = 10.0  # many relays greet late on purpose, to see who cannot wait

# field of the form -> of the settings, where they are called differently
_SETTINGS = {"enable_starttls": "starttls", "enable_starttls_auto": "starttls_auto", "openssl_verify_mode": "verify"}


def changed(settings: SmtpSettings, values: Mapping[str, Any]) -> SmtpSettings:
    """Return the settings with these fields of the form filled in."""
    return replace(settings, **{_SETTINGS.get(name, name): value for name, value in values.items()})


@dataclass(frozen=True, slots=True)
class Probe:
    """What a probe met. The session is over, and tells what it learned: features, TLS, certificate, last step."""

    session: SmtpSession
    error: TransportError | None

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def certificate_error(self) -> ssl.SSLCertVerificationError | None:
        cause = self.error.__cause__ if self.error else None
        return cause if isinstance(cause, ssl.SSLCertVerificationError) else None


def probe(settings: SmtpSettings, values: Mapping[str, Any] | None = None) -> Probe:
    """Open a session as far as EHLO, with these fields of the form changed, and end it."""
    connect, reply = min(CONNECT_SECONDS, settings.connect_seconds), min(REPLY_SECONDS, settings.reply_seconds)
    limits: dict[str, Any] = {"connect_seconds": connect, "reply_seconds": reply, "total_seconds": connect + 2 * reply}
    limits |= dict.fromkeys(("username", "password"), "")  # a probe does not log in
    chosen = replace(changed(settings, values or {}), **limits)
    session = SmtpSession(chosen, clock=Clock(chosen.total_seconds))
    try:
        session.open()
    except TransportError as error:
        return Probe(session, error)
    session.quit()
    return Probe(session, None)
