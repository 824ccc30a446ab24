"""Detect settings: given only a host name, find the port, the TLS mode, the mechanism and the verify mode."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

from . import probing
from .probing import Probe
from .transports import smtp_auth, tls
from .transports.smtp import SmtpSettings, TlsMode
from .transports.smtp_session import SmtpSession

# In order of preference: submissions, submission, its usual substitute, and the port between servers (RFC 8314, 6409).
PORTS: tuple[int, ...] = (465, 587, 2525, 25)
IMPLICIT = {"ssl": True, "enable_starttls": False, "enable_starttls_auto": True}
STARTTLS = {"ssl": False, "enable_starttls": True, "enable_starttls_auto": True}
CLEAR = {"ssl": False, "enable_starttls": False, "enable_starttls_auto": True}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one port speaks. `mode` is empty where no session came about, and `said` then tells why.

    `problem`: why the certificate does not verify. `switches`: the TLS fields of the form that fit.
    """

    port: int
    mode: str = ""
    refused: bool = False  # it is SMTP, and took no session just now
    mechanisms: tuple[str, ...] = ()
    problem: str = ""
    said: str = ""
    milliseconds: int = 0
    switches: dict[str, bool] = field(default_factory=dict)

    @property
    def mechanism(self) -> str:
        """The mechanism to choose, as the form names it; '' where none can be used."""
        encrypted = self.mode != "clear text"
        for key, name in smtp_auth.MECHANISMS.items():
            if name in self.mechanisms and (encrypted or name in smtp_auth.SAFE_IN_CLEAR):
                return key
        return ""

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """What is better compares higher; the order of the ports decides the rest."""
        return self.mode != "clear text", bool(self.mechanism), not self.problem


@dataclass(frozen=True, slots=True)
class Detection:
    """What to fill in, with the reason for each field; `cause` says why there is nothing to propose."""

    ok: bool
    ports: tuple[Finding, ...]
    proposal: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    cause: str = ""

    def as_dict(self) -> dict[str, Any]:
        hidden = ("switches", "refused")
        rows = [{name: value for name, value in asdict(row).items() if name not in hidden} for row in self.ports]
        return asdict(self) | {"ports": [row | {"mechanisms": list(row["mechanisms"])} for row in rows]}


def detect(settings: SmtpSettings) -> Detection:
    """Ask the usual ports of `settings.host`, all at once; the other settings count only where they limit us."""
    findings = look(settings, PORTS)
    best = best_of(findings)
    if best is None:
        return Detection(False, findings, cause=_nothing(settings.host, findings))
    proposal, reasons = _proposal(best)
    return Detection(True, findings, proposal, reasons)


def look(settings: SmtpSettings, ports: Iterable[int]) -> tuple[Finding, ...]:
    """Return what each port speaks, in the order given."""
    ports = tuple(ports)
    with ThreadPoolExecutor(max_workers=max(len(ports), 1), thread_name_prefix="detect") as threads:
        return tuple(threads.map(lambda port: _look_at(settings, port), ports))


def best_of(findings: Iterable[Finding]) -> Finding | None:
    """Return the finding to choose: encrypted before clear, with AUTH before without; of equals the first."""
    return max((one for one in findings if one.mode), key=lambda one: one.rank, default=None)


def _look_at(settings: SmtpSettings, port: int) -> Finding:
    """Try the mode that belongs to the port, then the other one where the port answers, but differently."""
    started, said = monotonic(), ""
    for switches in (IMPLICIT, CLEAR) if port == 465 else (CLEAR, IMPLICIT):
        met, problem = _open(settings, {"port": port, **switches})
        if met.error is None:
            return _finding(met.session, problem=problem, started=started)
        if met.error.code is not None:
            return Finding(port, refused=True, said=met.error.text, milliseconds=_since(started))
        said = said or met.error.text
        if met.session.step not in ("tls", "greeting"):
            break
    return Finding(port, said=said, milliseconds=_since(started))


def _open(settings: SmtpSettings, values: dict[str, Any]) -> tuple[Probe, str]:
    """Return a probe, and why the certificate does not verify ('' where it does)."""
    met = probing.probe(settings, {**values, "openssl_verify_mode": "peer"})
    if met.certificate_error is None:
        return met, ""
    problem = tls.certificate_problem(met.certificate_error, host=settings.host)
    return probing.probe(settings, {**values, "openssl_verify_mode": "none"}), problem


def _finding(session: SmtpSession, *, problem: str, started: float) -> Finding:
    settings = session.settings
    if settings.tls_mode is TlsMode.IMPLICIT:
        mode, switches = "implicit TLS", IMPLICIT
    elif session.tls:
        mode, switches = "STARTTLS", STARTTLS
    else:
        mode, switches = "clear text", CLEAR
    mechanisms = tuple(dict.fromkeys(smtp_auth.offered(session)))
    return Finding(
        settings.port,
        mode,
        mechanisms=mechanisms,
        problem=problem,
        said=session.greeting,
        milliseconds=_since(started),
        switches=switches,
    )


def _proposal(best: Finding) -> tuple[dict[str, Any], dict[str, str]]:
    proposal: dict[str, Any] = {"port": best.port, **best.switches}
    reasons = {"port": _port_reason(best), "ssl" if best.switches["ssl"] else "enable_starttls": _mode_reason(best)}
    reasons["authentication"] = _mechanism_reason(best)
    if best.mechanism:
        proposal["authentication"] = best.mechanism
    if best.mode != "clear text":
        proposal["openssl_verify_mode"] = "none" if best.problem else "peer"
        reasons["openssl_verify_mode"] = _verify_reason(best)
    return proposal, reasons


def _port_reason(best: Finding) -> str:
    return f"Port {best.port} answers and speaks {best.mode}: the best that was found."


def _mode_reason(best: Finding) -> str:
    return {
        "implicit TLS": "The connection is encrypted from the first byte.",
        "STARTTLS": "The relay offers STARTTLS; demanding it means that nobody can take the offer away.",
        "clear text": "The relay offers no TLS: nothing can be demanded.",
    }[best.mode]


def _mechanism_reason(best: Finding) -> str:
    if not best.mechanisms:
        return "The relay offers no authentication: leave Username and Password empty."
    listed = ", ".join(best.mechanisms)
    if not best.mechanism:
        return f"The relay offers {listed}, and none of these can be used here."
    if best.mode == "clear text":
        return f"The relay offers {listed}: CRAM-MD5 does not show the password, and this connection is not encrypted."
    return f"The relay offers {listed}."


def _verify_reason(best: Finding) -> str:
    if best.problem:
        return f"Not verified! The certificate {best.problem} Then choose Peer."
    return "The certificate comes from a trusted CA and fits the address."


def _nothing(host: str, findings: tuple[Finding, ...]) -> str:
    for finding in findings:
        if finding.refused:
            return f"Port {finding.port} takes no session just now: {finding.said}"
    words = list(dict.fromkeys(finding.said for finding in findings))
    if len(words) == 1:
        return words[0]
    ports = ", ".join(str(finding.port) for finding in findings)
    return f"{host} speaks SMTP on none of the ports {ports}. Check the address, or ask for the port."


def _since(started: float) -> int:
    return round((monotonic() - started) * 1000)
