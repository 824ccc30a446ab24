"""What the connection check tells about a relay's certificate: its facts, and whether Peer would accept it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

from . import probing
from .transports import tls
from .transports.base import TransportError
from .transports.smtp_session import SmtpSession

EXPIRES_SOON = 14  # days


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """`verifies`: it comes from a trusted CA (the admin's own included), fits the address and is valid; else `problem`
    says why not. `valid_until` is an ISO 8601 date and time in UTC, `sha256` the fingerprint.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    valid_until: str
    days_left: int
    sha256: str
    verifies: bool
    problem: str = ""

    @property
    def expires_soon(self) -> bool:
        return 0 <= self.days_left < EXPIRES_SOON


def inspect(session: SmtpSession, error: TransportError | None) -> CertificateReport | None:
    """Report on the certificate of a session that is over, successful or not; None where it showed none.

    Where the session did not verify it, a second one does, without credentials.
    """
    cause = error.__cause__ if error else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        shown = probing.probe(session.settings, {"openssl_verify_mode": "none"}).session.certificate
        return _report(shown, problem=tls.certificate_problem(cause, host=session.settings.host))
    if session.certificate and session.settings.verify == "none":
        return _report(session.certificate, problem=_problem_with_peer(session))
    return _report(session.certificate, problem="")


def _problem_with_peer(session: SmtpSession) -> str:
    met = probing.probe(session.settings, {"openssl_verify_mode": "peer"})
    if met.certificate_error:
        return tls.certificate_problem(met.certificate_error, host=session.settings.host)
    return met.error.text if met.error else ""


def _report(encoded: bytes, *, problem: str) -> CertificateReport | None:
    found = tls.Certificate.read(encoded)
    if found is None:
        return None
    return CertificateReport(
        subject=found.subject,
        issuer=found.issuer,
        names=found.names,
        valid_until=found.valid_until.isoformat(timespec="seconds"),
        days_left=(found.valid_until - datetime.now(UTC)).days,
        sha256=found.sha256,
        verifies=not problem,
        problem=problem,
    )
