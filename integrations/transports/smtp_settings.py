"""The settings of an SMTP connection: three switches of a form become one word, here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class TlsMode(Enum):
    """How a connection is protected; the value is for people."""

    IMPLICIT = "implicit TLS: encrypted from the first byte"
    STARTTLS_REQUIRED = "STARTTLS required: encrypted, or not sent at all"
    STARTTLS_OPPORTUNISTIC = "STARTTLS if offered: otherwise in clear text"
    CLEARTEXT = "clear text: not encrypted"

    @property
    def label(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """One relay and how we speak to it.

    `domain` is the EHLO name, empty for this machine's own. `ca_certificates` is PEM text, trusted
    besides the system's CAs. The four time limits are seconds: one for each step of its kind, and
    `total_seconds` over everything before the final dot of a mail. A session is ended after `session_mails`
    or `session_seconds`, before the relay does it; after `noop_seconds` of idling it is tried by NOOP first.
    """

    host: str
    port: int = 587
    domain: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    authentication: str = "plain"
    ssl: bool = True
    starttls: bool = False
    starttls_auto: bool = True
    verify: str = "none"
    ca_certificates: str = field(default="", repr=False)
    allow_clear_text_auth: bool = False
    allow_private_networks: bool = True
    connect_seconds: float = 10
    reply_seconds: float = 30
    final_reply_seconds: float = 60
    total_seconds: float = 100
    session_mails: int = 100
    session_seconds: float = 300
    noop_seconds: float = 5

    @property
    def tls_mode(self) -> TlsMode:
        if self.ssl:
            return TlsMode.IMPLICIT
        if self.starttls:
            return TlsMode.STARTTLS_REQUIRED
        if self.starttls_auto:
            return TlsMode.STARTTLS_OPPORTUNISTIC
        return TlsMode.CLEARTEXT

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"
