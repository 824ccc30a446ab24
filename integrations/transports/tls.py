"""TLS as a client of a relay: the context, and failures in words for people."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from . import machine
from .base import Scope, Stage, TransportError, storable

# X509_V_ERR_* of OpenSSL, as far as people meet them with relays.
EXPIRED, NOT_YET_VALID = 10, 9
SELF_SIGNED = 18
UNKNOWN_ISSUER = frozenset({2, 19, 20, 21})
WRONG_HOST = frozenset({62, 64})

# What OpenSSL says when the other side answers in clear text: it depends on the bytes and on its version.
CLEAR_TEXT_REASONS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"}
)

TOO_OLD_REASONS = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION"})


def client_context(verify: str, *, ca_certificates: str) -> ssl.SSLContext:
    """Return the context for 'none' or 'peer'; TLS 1.2 is the least in both.

    It is kept until the system's file of CAs changes, which OpenSSL reads once for each context.
    """
    return _context(verify, ca_certificates, _state_of_public_cas())


def _state_of_public_cas() -> tuple[str, int]:
    """Return which file holds them and when it was changed. New ones in a folder are found by OpenSSL itself."""
    path = ssl.get_default_verify_paths().cafile
    try:
        return (path, Path(path).stat().st_mtime_ns) if path else ("", 0)
    except OSError:  # it is just being replaced
        return "", 0


def public_context() -> ssl.SSLContext:
    """Return Python's default context; raises TransportError where no file could be opened to read the system's CAs.

    OpenSSL passes over that in silence: the context would know no CA, and be kept.
    """
    context = ssl.create_default_context()
    path = ssl.get_default_verify_paths().cafile
    if path and not context.cert_store_stats()["x509_ca"]:
        try:
            context.load_verify_locations(path)
        except OSError as error:
            if lacking := machine.lack(error, stage=Stage.TLS):
                raise lacking from error
    return context


@lru_cache(maxsize=32)
def _context(verify: str, ca_certificates: str, public_cas: tuple[str, int]) -> ssl.SSLContext:
    context = public_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 began to check X.509 strictly; chains of many real relays and of company CAs fail that.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # An intermediate CA or the relay's own certificate may be all that the admin has.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if verify == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if ca_certificates:
        _trust(context, ca_certificates)
    return context


def _trust(context: ssl.SSLContext, ca_certificates: str) -> None:
    try:
        context.load_verify_locations(cadata=ca_certificates)
    except (ssl.SSLError, ValueError) as error:
        text = "The CA certificates cannot be read: paste them in PEM form, with their BEGIN and END lines."
        raise TransportError(text, stage=Stage.TLS, scope=Scope.PROVIDER) from error


def failure_text(error: OSError, *, place: str, host: str) -> str:
    """Say in words why a handshake failed, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate of {place} {certificate_problem(error, host=host)}"
    if isinstance(error, ssl.SSLError) and speaks_clear_text(error):
        return f"{place} does not speak TLS from the first byte. Turn off 'SSL', or use another port."
    if isinstance(error, ssl.SSLError) and (error.reason or "") in TOO_OLD_REASONS:
        return f"{place} speaks only a TLS older than 1.2, which protects nobody any more. Update the relay."
    if isinstance(error, TimeoutError):
        return f"{place} did not answer the TLS handshake in time."
    return f"The TLS handshake with {place} failed: {error}"


def certificate_problem(error: ssl.SSLCertVerificationError, *, host: str) -> str:
    code = error.verify_code
    if code == EXPIRED:
        return "has expired: it has to be renewed on the relay."
    if code == NOT_YET_VALID:
        return "is not valid yet: check the clocks of both machines."
    if code == SELF_SIGNED:
        return "is self-signed: paste it as CA certificate."
    if code in UNKNOWN_ISSUER:
        return "comes from a CA that this machine does not know: paste that CA's certificate."
    if code in WRONG_HOST:
        return f"was not issued for {host}: use the name it was issued for as address."
    return f"cannot be verified: {error.verify_message}."


def speaks_clear_text(error: ssl.SSLError) -> bool:
    return (error.reason or "") in CLEAR_TEXT_REASONS


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a relay's certificate says of itself. `names` are those it was issued for; `valid_until` is in UTC."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    valid_until: datetime
    sha256: str

    @classmethod
    def read(cls, encoded: bytes) -> Certificate | None:
        """Read DER; None where there is no certificate or it cannot be read."""
        try:
            return cls._of(x509.load_der_x509_certificate(encoded))
        except Exception:  # the library has many kinds of errors for the many ways in which certificates are odd
            return None

    @classmethod
    def _of(cls, found: x509.Certificate) -> Certificate:
        return cls(
            subject=storable(found.subject.rfc4514_string()),
            issuer=storable(found.issuer.rfc4514_string()),
            names=tuple(map(storable, _names_in(found))),
            valid_until=found.not_valid_after_utc,
            sha256=found.fingerprint(hashes.SHA256()).hex(),
        )

    def __str__(self) -> str:
        whom = self.subject or ", ".join(self.names[:3]) or "nobody"
        return f"certificate for {whom} from {self.issuer or 'nobody'}, valid until {self.valid_until:%Y-%m-%d}"


def _names_in(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = found.get_values_for_type(x509.DNSName)
    return [*hosts, *map(str, found.get_values_for_type(x509.IPAddress))]


def session_summary(sock: ssl.SSLSocket) -> str:
    """Describe the session: version and cipher."""
    cipher = sock.cipher()
    return ", ".join(word for word in (sock.version() or "", cipher[0] if cipher else "") if word)
