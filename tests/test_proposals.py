"""What the check proposes: applied, it makes the next check pass; and looking for it shows no credentials twice."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations import detection
from integrations.diagnosis import Diagnosis, diagnose_smtp
from integrations.probing import changed
from integrations.transports.smtp import SmtpSettings
from tests.effort import examples

from .fake_relay import FakeRelay, authority_pem, certificate

PASSWORD = "s3cret-pass"
SECRETS = [PASSWORD, *(base64.b64encode(text.encode()).decode() for text in (PASSWORD, f"\0user\0{PASSWORD}"))]
IMPLICIT = {"ssl": True}
REQUIRED = {"ssl": False, "enable_starttls": True}
AUTO = {"ssl": False, "enable_starttls": False, "enable_starttls_auto": True}
CLEAR = {"ssl": False, "enable_starttls": False, "enable_starttls_auto": False}
SWITCHES = [IMPLICIT, REQUIRED, AUTO, CLEAR]
VERIFIED = {"openssl_verify_mode": "peer", "ca_certificates": authority_pem()}


def form(relay: FakeRelay, **values: Any) -> SmtpSettings:
    usual = SmtpSettings("localhost", relay.port, domain="me.test", username="user", password=PASSWORD, reply_seconds=1)
    return changed(usual, values)


def check(chosen: SmtpSettings) -> Diagnosis:
    return diagnose_smtp(chosen, sender="a@x.test")


@settings(max_examples=examples(40), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    tls=st.sampled_from(["", "starttls", "implicit"]),
    mechanisms=st.sampled_from([("PLAIN", "LOGIN", "CRAM-MD5"), ("LOGIN",), ("CRAM-MD5",), ("XOAUTH2",), ()]),
    auth_needs_tls=st.booleans(),
    switches=st.sampled_from(SWITCHES),
    authentication=st.sampled_from(["plain", "login", "cram_md5"]),
    verify=st.sampled_from([{}, VERIFIED, {"openssl_verify_mode": "peer"}]),
)
def test_an_applied_proposal_makes_the_next_check_pass(
    tls: str, mechanisms: tuple[str, ...], auth_needs_tls: bool, switches: Any, authentication: str, verify: Any
) -> None:
    user = "user" if mechanisms else ""
    relay = FakeRelay(
        tls=tls, user=user, password=PASSWORD, mechanisms=mechanisms, auth_needs_tls=auth_needs_tls,
        extensions=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"),
    )  # fmt: skip
    with relay:
        chosen = form(relay, **switches, authentication=authentication, **verify)
        found = check(chosen)
        assert said_in_clear(relay) == []
        assert tries(relay) <= 1
        if not found.proposal:
            return
        after = check(changed(chosen, found.proposal))
        assert (after.ok, after.cause) == (True, "") or "can be verified" in after.cause, found
        assert said_in_clear(relay) == []


def tries(relay: FakeRelay) -> int:
    return len([line for line in relay.transcript if line.startswith("AUTH")])


def said_in_clear(relay: FakeRelay) -> list[str]:
    """Return the lines with a form of the password that went over a connection before its TLS began."""
    if relay.tls == "implicit":
        return []
    encrypted, found = False, []
    for line in relay.transcript:
        encrypted = (encrypted or line == "(TLS)") and line != "QUIT"
        found += [line for secret in SECRETS if secret in line and not encrypted]
    return found


@pytest.mark.parametrize(
    ("relay", "values"),
    [
        ({"tls": "starttls"}, IMPLICIT),
        ({"tls": "implicit"}, REQUIRED),
        ({"tls": "implicit"}, AUTO),
        ({"tls": "implicit", "mechanisms": ("LOGIN",)}, CLEAR),
        ({"tls": "starttls", "mechanisms": ("LOGIN",)}, IMPLICIT),
        ({"tls": "starttls", "auth_needs_tls": True}, CLEAR),
        ({"tls": "implicit", "mechanisms": ("CRAM-MD5",)}, IMPLICIT),
        ({"mechanisms": ("PLAIN", "CRAM-MD5")}, AUTO),
    ],
)
def test_these_faults_have_a_proposal(relay: dict[str, Any], values: dict[str, Any]) -> None:
    with FakeRelay(user="user", password=PASSWORD, **relay) as server:
        chosen = form(server, **values, **VERIFIED)
        found = check(chosen)
        assert not found.ok
        assert check(changed(chosen, found.proposal)).ok


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (IMPLICIT, "port"),  # the port speaks clear text only
        (REQUIRED, "port"),  # and offers no STARTTLS
        (AUTO, "port"),  # and so PLAIN is not tried
    ],
)
def test_another_port_of_the_same_host_is_found(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], field: str
) -> None:
    account: dict[str, Any] = {"user": "user", "password": PASSWORD}
    with FakeRelay(mechanisms=("PLAIN",), **account) as poor, FakeRelay(tls="starttls", **account) as good:
        monkeypatch.setattr(detection, "PORTS", (poor.port, good.port))
        chosen = form(poor, **values, **VERIFIED)
        found = check(chosen)
        assert (found.field, found.proposal["port"]) == (field, good.port)
        assert found.cause.endswith(f"Port {good.port} speaks STARTTLS.")
        assert check(changed(chosen, found.proposal)).ok
        assert said_in_clear(poor) == []


def test_a_port_where_nobody_listens_leads_to_one_where_somebody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeRelay(tls="implicit", user="user", password=PASSWORD) as good:
        monkeypatch.setattr(detection, "PORTS", (good.port,))
        with FakeRelay() as gone:
            pass
        found = check(form(gone, **AUTO, **VERIFIED))
        assert (found.field, found.proposal["port"], found.proposal["ssl"]) == ("port", good.port, True)


@pytest.mark.parametrize(
    "values",
    [
        {**IMPLICIT, "openssl_verify_mode": "peer"},  # the CA is unknown
        {**REQUIRED, "openssl_verify_mode": "peer"},
    ],
)
def test_what_would_fail_at_the_certificate_is_explained_and_not_proposed(values: dict[str, Any]) -> None:
    """TLS from the first byte to a port with STARTTLS, whose certificate would not verify either."""
    other = "starttls" if values["ssl"] else "implicit"
    with FakeRelay(tls=other, user="user", password=PASSWORD) as relay:
        found = check(form(relay, **values))
    assert dict(found.proposal) == {}
    assert "After that: The certificate of localhost:" in found.cause
    assert tries(relay) == 0


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("fault", ["wrong host", "unknown issuer", "TLS refused"])
def test_a_fault_of_certificate_or_mode_never_leads_to_auth_or_clear_text(tls: str, fault: str) -> None:
    leaf = certificate("other.test") if fault == "wrong host" else certificate("localhost")
    known = VERIFIED if fault == "wrong host" else {"openssl_verify_mode": "peer"}
    replies: dict[str, str | list[str]] = {"STARTTLS": "454 4.7.0 not now"} if fault == "TLS refused" else {}
    if (tls, fault) == ("implicit", "TLS refused"):
        tls = ""
    with FakeRelay(tls=tls, leaf=leaf, replies=replies, user="user", password=PASSWORD) as relay:
        found = check(form(relay, **(IMPLICIT if tls in ("", "implicit") else AUTO), **known))
    assert not found.ok
    assert tries(relay) == 0
    assert not [line for line in relay.transcript if line.startswith("MAIL")]


def test_a_name_that_cannot_be_resolved_is_not_looked_for_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "look", pytest.fail)
    found = diagnose_smtp(SmtpSettings("no.such.host.invalid"), sender="a@x.test")
    assert (found.field, dict(found.proposal), found.steps[-1].name) == ("address", {}, "resolve")
