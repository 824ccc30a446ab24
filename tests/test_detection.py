"""Detect settings: what several ports of one host speak, and what is proposed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from integrations import detection, probing
from integrations.detection import Detection, detect
from integrations.diagnosis import diagnose_smtp
from integrations.probing import changed
from integrations.transports.smtp import SmtpSettings

from .fake_relay import FakeRelay, authority_pem, certificate

USUAL = detection.PORTS  # read before the tests take them away
ACCOUNT: dict[str, Any] = {"user": "user", "password": "s3cret-pass"}
IMPLICIT = {"ssl": True, "enable_starttls": False, "enable_starttls_auto": True}
STARTTLS = {"ssl": False, "enable_starttls": True, "enable_starttls_auto": True}
CLEAR = {"ssl": False, "enable_starttls": False, "enable_starttls_auto": True}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that puts relays on the ports that are asked, in order of preference."""
    with ExitStack() as stack:

        def start(*relays: FakeRelay) -> list[int]:
            ports = [stack.enter_context(relay).port for relay in relays]
            monkeypatch.setattr(detection, "PORTS", tuple(ports))
            return ports

        yield start


def found_at(host: str = "localhost", *, ca_certificates: str = "") -> Detection:
    return detect(SmtpSettings(host, domain="me.test", ca_certificates=ca_certificates))


def test_implicit_tls_with_auth_and_a_good_certificate(serve: Any) -> None:
    smtps, submission = serve(FakeRelay(tls="implicit", **ACCOUNT), FakeRelay(tls="starttls", **ACCOUNT))
    found = found_at(ca_certificates=authority_pem())
    assert found.proposal == {"port": smtps, **IMPLICIT, "authentication": "plain", "openssl_verify_mode": "peer"}
    assert [(one.port, one.mode, one.mechanisms, one.problem) for one in found.ports] == [
        (smtps, "implicit TLS", ("PLAIN", "LOGIN", "CRAM-MD5"), ""),
        (submission, "STARTTLS", ("PLAIN", "LOGIN", "CRAM-MD5"), ""),
    ]
    assert list(found.reasons) == ["port", "ssl", "authentication", "openssl_verify_mode"]
    assert found.reasons["authentication"] == "The relay offers PLAIN, LOGIN, CRAM-MD5."


@pytest.mark.parametrize(
    ("relays", "chosen", "proposal"),
    [
        # encrypted beats clear text, whatever the order of the ports
        ([{}, {"tls": "starttls"}], 1, {**STARTTLS, "openssl_verify_mode": "peer"}),
        # with AUTH beats without
        (
            [{"tls": "implicit"}, {"tls": "starttls", **ACCOUNT, "mechanisms": ("LOGIN",)}],
            1,
            {**STARTTLS, "authentication": "login", "openssl_verify_mode": "peer"},
        ),
        # AUTH that is offered only after TLS is seen
        (
            [{"tls": "starttls", "auth_needs_tls": True, **ACCOUNT}],
            0,
            {**STARTTLS, "authentication": "plain", "openssl_verify_mode": "peer"},
        ),
        # a good certificate beats a bad one
        (
            [{"tls": "implicit", "leaf": certificate("other.test")}, {"tls": "starttls"}],
            1,
            {**STARTTLS, "openssl_verify_mode": "peer"},
        ),
        # clear text: only what does not show the password
        ([{**ACCOUNT}], 0, {**CLEAR, "authentication": "cram_md5"}),
        ([{**ACCOUNT, "mechanisms": ("PLAIN",)}], 0, CLEAR),
        ([{}], 0, CLEAR),
        # mechanisms that we do not have
        ([{"tls": "implicit", **ACCOUNT, "mechanisms": ("XOAUTH2",)}], 0, {**IMPLICIT, "openssl_verify_mode": "peer"}),
    ],
)
def test_proposes_the_best(serve: Any, relays: list[dict[str, Any]], chosen: int, proposal: dict[str, Any]) -> None:
    ports = serve(*(FakeRelay(**relay) for relay in relays))
    found = found_at(ca_certificates=authority_pem())
    assert found.ok
    assert found.proposal == {"port": ports[chosen], **proposal}


def test_tls_on_a_port_that_usually_begins_in_clear_text_is_found(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "REPLY_SECONDS", 0.5)
    [port] = serve(FakeRelay(tls="implicit"))
    assert found_at(ca_certificates=authority_pem()).proposal["port"] == port


def test_starttls_on_the_port_of_implicit_tls_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """On 465 TLS comes first; a relay that begins in clear text there is recognised by its answer."""
    with FakeRelay(tls="starttls") as relay:
        settings = SmtpSettings("localhost", domain="me.test", ca_certificates=authority_pem())
        monkeypatch.setattr(detection, "IMPLICIT", {**IMPLICIT, "port": relay.port})
        monkeypatch.setattr(detection, "CLEAR", {**CLEAR, "port": relay.port})
        [finding] = detection.look(settings, [465])
    assert finding.mode == "STARTTLS"


def test_a_certificate_that_does_not_verify_is_told_with_its_reason(serve: Any) -> None:
    serve(FakeRelay(tls="implicit"))
    found = found_at()
    assert found.proposal["openssl_verify_mode"] == "none"
    assert found.reasons["openssl_verify_mode"] == (
        "Not verified! The certificate comes from a CA that this machine does not know: paste that CA's certificate. "
        "Then choose Peer."
    )


def test_what_is_proposed_passes_the_check(serve: Any) -> None:
    serve(FakeRelay(**ACCOUNT), FakeRelay(tls="starttls", **ACCOUNT, mechanisms=("CRAM-MD5",)))
    found = found_at(ca_certificates=authority_pem())
    settings = changed(SmtpSettings("localhost", domain="me.test", ca_certificates=authority_pem()), found.proposal)
    named = changed(settings, {"username": "user", "password": "s3cret-pass"})
    assert diagnose_smtp(named, sender="a@x.test").ok


def test_silence_everywhere_takes_a_few_seconds_and_says_so(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "REPLY_SECONDS", 0.3)
    ports = serve(*(FakeRelay(hang=["CONNECT"]) for _ in range(4)))
    started = time.monotonic()
    found = found_at("127.0.0.1")
    assert time.monotonic() - started < 3, "one after the other they would take 4 times 0.6 seconds, and more"
    listed = ", ".join(map(str, ports))
    assert (found.ok, found.proposal) == (False, {})
    assert found.cause == (
        f"127.0.0.1 speaks SMTP on none of the ports {listed}. Check the address, or ask for the port."
    )


@pytest.mark.parametrize("reply", ["421 4.7.0 too many connections", "554 5.7.1 you are blocked"])
def test_a_port_that_speaks_smtp_and_takes_no_session_is_quoted(serve: Any, reply: str) -> None:
    [port] = serve(FakeRelay(replies={"CONNECT": reply}))
    found = found_at("127.0.0.1")
    assert found.cause == f"Port {port} takes no session just now: The relay answered {reply}"


def test_ports_where_nobody_listens_are_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = (one.getsockname()[1], two.getsockname()[1])
    monkeypatch.setattr(detection, "PORTS", ports)
    found = found_at("127.0.0.1")
    assert [finding.said for finding in found.ports] == [
        f"127.0.0.1:{port} refuses connections: nothing listens there. Check the address and the port."
        for port in ports
    ]


def test_a_name_that_cannot_be_resolved_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "PORTS", (465, 587))
    found = found_at("no.such.host.invalid")
    assert found.cause.startswith("The name no.such.host.invalid cannot be resolved.")


def test_a_refused_address_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "PORTS", (25, 587))
    assert "link-local and cloud metadata addresses are refused" in found_at("169.254.169.254").cause


def test_the_usual_ports_in_order_of_preference() -> None:
    assert USUAL == (465, 587, 2525, 25)


def test_nothing_is_sent_and_no_credentials_are_shown(serve: Any) -> None:
    relays = [FakeRelay(tls="starttls", **ACCOUNT), FakeRelay(**ACCOUNT)]
    serve(*relays)
    found_at(ca_certificates=authority_pem())
    lines = {line.split(" ")[0] for relay in relays for line in relay.transcript}
    assert lines == {"EHLO", "STARTTLS", "(TLS)", "QUIT"}


def test_the_document_for_scripts(serve: Any) -> None:
    [port] = serve(FakeRelay(tls="implicit"))
    document = found_at(ca_certificates=authority_pem()).as_dict()
    document["ports"][0]["milliseconds"] = 7
    assert document == {
        "ok": True,
        "ports": [
            {
                "port": port,
                "mode": "implicit TLS",
                "mechanisms": [],
                "problem": "",
                "said": "220 relay.test ESMTP",
                "milliseconds": 7,
            }
        ],
        "proposal": {"port": port, **IMPLICIT, "openssl_verify_mode": "peer"},
        "reasons": {
            "port": f"Port {port} answers and speaks implicit TLS: the best that was found.",
            "ssl": "The connection is encrypted from the first byte.",
            "authentication": "The relay offers no authentication: leave Username and Password empty.",
            "openssl_verify_mode": "The certificate comes from a trusted CA and fits the address.",
        },
        "cause": "",
    }
