"""What is told of a relay's certificate, however odd it is."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from integrations.certificates import CertificateReport, sentence
from integrations.diagnosis import Diagnosis, diagnose_smtp
from integrations.transports.smtp import SmtpSettings, SmtpTransport
from integrations.transports.tls import Certificate

from .fake_relay import FakeRelay, authority, authority_pem
from .test_smtp import mail

SAN_WITH_X400 = bytes.fromhex("3004a3023000")


def served(tmp_path: Path, *, name: str = "localhost", extension: bytes = b"", days: int = 30) -> ssl.SSLContext:
    """Return a server's context with a self-signed certificate of its own making."""
    key = ec.generate_private_key(ec.SECP256R1())
    whom = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(whom).issuer_name(whom).public_key(key.public_key())
    now = datetime.datetime.now(datetime.UTC)
    builder = builder.serial_number(7).not_valid_before(now - datetime.timedelta(days=90))
    builder = builder.not_valid_after(now + datetime.timedelta(days=days, hours=1))
    if extension:
        odd = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, extension)
        builder = builder.add_extension(odd, critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "both.pem").write_bytes(private + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    return context


def settings_for(relay: FakeRelay, **changes: Any) -> SmtpSettings:
    return SmtpSettings(**{"host": "localhost", "port": relay.port, "domain": "me.test", "reply_seconds": 2, **changes})


def check(relay: FakeRelay, **changes: Any) -> Diagnosis:
    return diagnose_smtp(settings_for(relay, **changes), sender="a@x.test")


def test_a_certificate_that_no_library_reads_stops_neither_check_nor_mail(tmp_path: Path) -> None:
    with FakeRelay(tls="implicit", context=served(tmp_path, extension=SAN_WITH_X400)) as relay:
        found = check(relay)
        SmtpTransport(settings_for(relay)).send(mail())
    assert (found.ok, found.certificate, found.certificate_sentence) == (True, None, "")
    assert len(relay.ledger) == 1


@pytest.mark.parametrize("encoded", [b"", b"no DER", b"\x30\x00", b"\x30" * 500])
def test_what_is_no_certificate_is_none(encoded: bytes) -> None:
    assert Certificate.read(encoded) is None


def test_a_name_cannot_command_a_terminal(tmp_path: Path) -> None:
    name = "ev\x1b[31mRED\x07\x9b2J\u202e"
    with FakeRelay(tls="implicit", context=served(tmp_path, name=name)) as relay:
        found = check(relay)
    told = str(found.as_dict()) + found.certificate_sentence
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(told)
    assert "RED" in told


@pytest.mark.parametrize(
    ("days", "cause"),
    [(1, "expires in 1 day"), (5, "expires in 5 days"), (0, "expires today"), (40, "")],
)
def test_a_certificate_that_ends_soon_is_told_before_anything_else(tmp_path: Path, days: int, cause: str) -> None:
    with FakeRelay(tls="implicit", context=served(tmp_path, days=days)) as relay:
        found = check(relay)
    assert found.ok
    assert found.cause == (f"The relay's certificate {cause}: have it renewed there." if cause else "")


def test_an_expiry_is_not_hidden_by_the_offer_of_peer() -> None:
    leaf = authority().issue_cert(
        "localhost", not_after=datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, hours=1)
    )
    with FakeRelay(tls="implicit", leaf=leaf) as relay:
        found = check(relay, ca_certificates=authority_pem())
    assert found.cause.startswith("The relay's certificate expires in 3 days")
    assert dict(found.proposal) == {"openssl_verify_mode": "peer"}


@pytest.mark.parametrize(
    ("trouble", "verifies", "words"),
    [
        ({"CONNECT": ["220 ok", "421 4.7.0 one connection at a time"]}, True, "It passes Peer."),
        ({"STARTTLS": ["220 go", "454 not twice"]}, None, "Whether it passes Peer could not be tried just now."),
    ],
)
def test_a_second_look_that_fails_for_another_reason_is_no_verdict(
    trouble: dict[str, Any], verifies: bool | None, words: str
) -> None:
    implicit = "CONNECT" in trouble
    with FakeRelay(tls="implicit" if implicit else "starttls", replies=trouble) as relay:
        found = check(relay, ssl=implicit, starttls=not implicit, ca_certificates=authority_pem())
    assert found.certificate is not None
    assert found.certificate["verifies"] is verifies
    assert found.certificate_sentence.endswith(words)


def report(**values: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "subject": "CN=relay", "issuer": "CN=ca", "names": ["a.test"], "valid_until": "2026-12-24T00:00:00+00:00",
        "days_left": 29, "sha256": "ab", "verifies": True, "problem": "",
    }  # fmt: skip
    return usual | values


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "The certificate was issued for a.test and is valid until 2026-12-24. It passes Peer."),
        (
            {"names": [], "days_left": -3},
            "issued for CN=relay and was valid until 2026-12-24. It passes",
        ),
        ({"names": [f"{n}.test" for n in range(60)]}, "for 0.test, 1.test, 2.test, 3.test, 4.test and 55 more and is"),
        (
            {"verifies": False, "problem": "is self-signed."},
            "not pass Peer: it is self-signed. Its SHA-256 is ab.",
        ),
    ],
)
def test_one_sentence_tells_it_all(values: dict[str, Any], told: str) -> None:
    assert told in sentence(report(**values))
    assert CertificateReport(**report(**values)).expires_soon is False
