"""A local SMTP server that stands for the company's relay: AUTH required, STARTTLS, a throw-away CA."""

from __future__ import annotations

import hmac
import logging
import secrets
import ssl
from dataclasses import dataclass, field
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from rootmail import state

USER_NAME = "incidents@example.com"


@dataclass(frozen=True, slots=True)
class Arrived:
    """One mail as the relay received it."""

    recipients: tuple[str, ...]
    content: bytes


@dataclass
class CompanyRelay:
    """Listens on a free loopback port while it is started; `arrived` is its ledger."""

    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    arrived: list[Arrived] = field(default_factory=list)
    host: str = "localhost"
    port: int = field(default_factory=state.free_port)

    def __post_init__(self) -> None:
        logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd tells the whole conversation
        authority = trustme.CA(organization_name="Throw-away CA of the rootmail demonstration")
        self.ca_certificate = authority.cert_pem.bytes().decode()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=self.port,
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=self._authenticate,
            server_hostname="relay.example.com",
            ident="ESMTP of the demonstration",
        )

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop(no_assert=True)

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        known = isinstance(data, LoginPassword) and data.login == USER_NAME.encode()
        right = known and hmac.compare_digest(data.password, self.password.encode())
        return AuthResult(success=right, handled=right)  # a refusal that claims to be handled leaves the client hanging

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self.arrived.append(Arrived(tuple(envelope.rcpt_tos), content))
        return f"250 2.0.0 Ok: queued as {secrets.token_hex(5).upper()}"
