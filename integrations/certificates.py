"""What the connection check tells about a relay's certificate: its facts, and whether Peer would accept it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import probing
from .transports import tls
from .transports.base import TransportError
from .transports.smtp_session import SmtpSession

EXPIRES_SOON = 14  # days
NAMED = 5  # so many names are told; there can be thousands


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """`verifies`: it comes from a trusted CA (the admin's own included), fits the address and is valid; where it does
    not, `problem` says why; None where that could not be tried. `valid_until` is an ISO 8601 date and time in UTC,
    `sha256` the fingerprint.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    valid_until: str
    days_left: int
    sha256: str
    verifies: bool | None
    problem: str = ""

    @property
    def expires_soon(self) -> bool:
        return 0 <= self.days_left < EXPIRES_SOON

    @property
    def expiry(self) -> str:
        """What a sentence about it ends with: 'expires in 12 days'."""
        days = "1 day" if self.days_left == 1 else f"{self.days_left} days"
        return f"expires in {days}" if self.days_left else "expires today"

    @property
    def whom(self) -> str:
        """For whom it was issued: the first of its names, and how many more there are."""
        more = len(self.names) - NAMED
        return ", ".join(self.names[:NAMED]) + (f" and {more} more" if more > 0 else "") or self.subject


def sentence(shown: Mapping[str, Any]) -> str:
    """Tell about a report (as a dictionary) in one line."""
    report = CertificateReport(**{**shown, "names": tuple(shown["names"])})
    valid = "was" if report.days_left < 0 else "is"
    text = f"The certificate was issued for {report.whom} and {valid} valid until {report.valid_until[:10]}."
    if report.verifies:
        return f"{text} It passes Peer."
    if report.verifies is None:
        return f"{text} Whether it passes Peer could not be tried just now."
    return f"{text} It does not pass Peer: it {report.problem} Its SHA-256 is {report.sha256}."


def inspect(session: SmtpSession, error: TransportError | None) -> CertificateReport | None:
    """Report on the certificate of a session that is over, successful or not; None where it showed none.

    Where the session did not verify it, a second one does, without credentials.
    """
    cause = error.__cause__ if error else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        shown = probing.probe(session.settings, {"openssl_verify_mode": "none"}).session.certificate
        return _report(shown, verifies=False, problem=tls.certificate_problem(cause, host=session.settings.host))
    if session.certificate and session.settings.verify == "none":
        return _judged_by_peer(session)
    return _report(session.certificate, verifies=True)


def _judged_by_peer(session: SmtpSession) -> CertificateReport | None:
    """Try Peer. A relay that then fails for another reason has shown, or not shown, its certificate before."""
    met = probing.probe(session.settings, {"openssl_verify_mode": "peer"})
    if met.certificate_error:
        problem = tls.certificate_problem(met.certificate_error, host=session.settings.host)
        return _report(session.certificate, verifies=False, problem=problem)
    return _report(session.certificate, verifies=True if met.session.certificate else None)


def _report(encoded: bytes, *, verifies: bool | None, problem: str = "") -> CertificateReport | None:
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
        verifies=verifies,
        problem=problem,
    )
