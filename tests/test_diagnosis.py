"""The connection check: what it says must be true, on the very code that sends."""

from __future__ import annotations

import datetime
import socket
from typing import Any

import pytest
import trustme

from integrations.diagnosis import Diagnosis, Step, diagnose_sendgrid, diagnose_smtp
from integrations.transports.sendgrid import SendGridSettings
from integrations.transports.smtp import SmtpSettings

from .fake_relay import FakeRelay, authority, authority_pem, certificate
from .fake_sendgrid import FakeSendGrid, refuse

CLEAR = {"ssl": False, "starttls_auto": False}
AUTO = {"ssl": False, "starttls_auto": True}
REQUIRED = {"ssl": False, "starttls": True}
LOGIN = {"username": "user", "password": "s3cret-pass"}
ACCOUNT = {"user": "user", "password": "s3cret-pass"}


def check(relay: FakeRelay, *, sender: str = "a@x.test", **changes: Any) -> Diagnosis:
    usual: dict[str, Any] = {"host": relay.host, "port": relay.port, "domain": "me.test", "reply_seconds": 2}
    return diagnose_smtp(SmtpSettings(**{**usual, **changes}), sender=sender)


def outline(found: Diagnosis) -> list[tuple[str, bool]]:
    return [(step.name, step.ok) for step in found.steps]


def finding(found: Diagnosis) -> tuple[bool, str, str, dict[str, Any]]:
    return found.ok, found.steps[-1].name, found.field, dict(found.proposal)


def test_a_good_connection_shows_every_step_with_the_relays_own_words() -> None:
    with FakeRelay(tls="starttls", **ACCOUNT) as relay:
        found = check(relay, **REQUIRED, **LOGIN, verify="peer", ca_certificates=authority_pem())
    assert (found.ok, found.mode, found.cause, found.field) == (
        True,
        "STARTTLS required: encrypted, or not sent at all",
        "",
        "",
    )
    assert [(step.name, step.ok, step.said) for step in found.steps] == [
        ("resolve", True, ""),
        ("connect", True, ""),
        ("greeting", True, "220 relay.test ESMTP"),
        ("tls", True, "220 2.0.0 ready"),
        ("ehlo", True, "250 relay.test 8BITMIME ENHANCEDSTATUSCODES AUTH PLAIN LOGIN CRAM-MD5"),
        ("auth", True, "235 2.7.0 welcome"),
        ("mail", True, "250 2.1.0 ok"),
        ("quit", True, "221 2.0.0 bye"),
    ]
    details = {step.name: step.detail for step in found.steps}
    assert details["resolve"] == details["connect"] == "127.0.0.1"
    assert details["tls"].startswith("TLSv1.3, TLS_")
    assert "valid until" in details["tls"]
    assert [name for name, detail in details.items() if detail] == ["resolve", "connect", "tls"]
    assert relay.transcript[-3:] == ["MAIL FROM:<a@x.test>", "RSET", "QUIT"]
    assert relay.ledger == []


def test_with_implicit_tls_the_handshake_comes_before_the_greeting() -> None:
    with FakeRelay(tls="implicit") as relay:
        found = check(relay, ssl=True, verify="peer", ca_certificates=authority_pem())
    names = ["resolve", "connect", "tls", "greeting", "ehlo", "mail", "quit"]
    assert outline(found) == [(name, True) for name in names]


def test_the_document_for_scripts() -> None:
    step = Step("connect", False, 7, "", "nothing listens there")
    document = Diagnosis(False, "mode", (step,), "cause", "port", {"port": 587}).as_dict()
    assert document == {
        "ok": False,
        "mode": "mode",
        "steps": [{"name": "connect", "ok": False, "milliseconds": 7, "said": "", "detail": "nothing listens there"}],
        "cause": "cause",
        "field": "port",
        "proposal": {"port": 587},
        "certificate": None,
    }
    assert Diagnosis.from_dict(document).as_dict() == document


def test_offers_verification_where_the_certificate_would_pass() -> None:
    with FakeRelay(tls="implicit") as relay:
        found = check(relay, ssl=True, verify="none", ca_certificates=authority_pem())
        assert finding(found) == (True, "quit", "openssl_verify_mode", {"openssl_verify_mode": "peer"})
        assert finding(check(relay, ssl=True, verify="none")) == (True, "quit", "", {})


# The wrong mode


def test_tls_to_a_clear_text_port_that_offers_starttls() -> None:
    with FakeRelay(tls="starttls") as relay:
        found = check(relay, ssl=True)
    assert finding(found) == (False, "tls", "ssl", {"ssl": False, "enable_starttls": True})
    assert found.cause == f"Port {relay.port} begins in clear text and offers STARTTLS."


def test_tls_to_a_port_with_clear_text_only() -> None:
    with FakeRelay() as relay:
        assert finding(check(relay, ssl=True)) == (False, "tls", "port", {})


@pytest.mark.parametrize("mode", [CLEAR, AUTO, REQUIRED])
def test_clear_text_to_a_tls_port(mode: dict[str, Any]) -> None:
    with FakeRelay(tls="implicit") as relay:
        found = check(relay, **mode, reply_seconds=1)
    assert (found.ok, found.steps[-1].name, found.field, found.proposal["ssl"]) == (False, "greeting", "ssl", True)
    assert found.cause == (f"Port {relay.port} expects TLS from the first byte, and the settings begin in clear text.")


def test_silence_in_place_of_a_greeting_is_not_taken_for_tls() -> None:
    with FakeRelay(hang=["CONNECT"]) as relay:
        found = check(relay, **CLEAR, reply_seconds=0.4)
    assert finding(found) == (False, "greeting", "port", {})
    assert found.cause == (
        f"127.0.0.1:{relay.port} sent no greeting within 0.4 s. "
        "Is this an SMTP port? Check the port, and whether a firewall is between."
    )


def test_a_greeting_that_refuses_us_is_quoted() -> None:
    with FakeRelay(replies={"CONNECT": "554 5.7.1 you are blocked"}) as relay:
        found = check(relay, **CLEAR)
    assert finding(found) == (False, "greeting", "address", {})
    assert found.steps[-1].said == "554 5.7.1 you are blocked"


def test_starttls_that_is_not_offered_is_not_given_up_by_proposal() -> None:
    with FakeRelay() as relay:
        found = check(relay, **REQUIRED)
    assert finding(found) == (False, "tls", "enable_starttls", {})
    assert found.cause.startswith("The relay offers no STARTTLS on port")


# Certificates


def expired_certificate() -> trustme.LeafCert:
    return authority().issue_cert("localhost", not_after=datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC))


@pytest.mark.parametrize(
    ("leaf", "known", "field", "words"),
    [
        (certificate("localhost"), False, "ca_certificates", "comes from a CA that this machine does not know"),
        (certificate("mail.other.test", "192.0.2.7"), True, "address", "for mail.other.test, 192.0.2.7, not for loc"),
        (expired_certificate(), True, "", "has expired"),
    ],
    ids=["unknown issuer", "wrong host", "expired"],
)
def test_names_the_fault_of_a_certificate_and_never_proposes_not_to_look(
    leaf: trustme.LeafCert, known: bool, field: str, words: str
) -> None:
    with FakeRelay(tls="implicit", leaf=leaf) as relay:
        pem = authority_pem() if known else ""
        found = check(relay, host="localhost", ssl=True, verify="peer", ca_certificates=pem)
    assert finding(found) == (False, "tls", field, {})
    assert words in found.cause


def test_ca_certificates_that_cannot_be_read_are_the_fault() -> None:
    with FakeRelay(tls="implicit") as relay:
        found = check(relay, ssl=True, verify="peer", ca_certificates="no PEM")
    assert finding(found) == (False, "tls", "ca_certificates", {})


# AUTH


@pytest.mark.parametrize(
    ("mechanisms", "authentication", "proposal"),
    [
        (("LOGIN",), "plain", {"authentication": "login"}),
        (("PLAIN", "LOGIN"), "cram_md5", {"authentication": "plain"}),
        (("XOAUTH2", "LOGIN"), "plain", {"authentication": "login"}),
    ],
)
def test_proposes_a_mechanism_that_is_offered(
    mechanisms: tuple[str, ...], authentication: str, proposal: dict[str, str]
) -> None:
    with FakeRelay(tls="implicit", mechanisms=mechanisms, **ACCOUNT) as relay:
        found = check(relay, ssl=True, authentication=authentication, **LOGIN)
    assert finding(found) == (False, "auth", "authentication", proposal)


def test_a_relay_with_mechanisms_that_we_do_not_have_offers_no_choice() -> None:
    with FakeRelay(tls="implicit", mechanisms=("XOAUTH2", "OAUTHBEARER"), **ACCOUNT) as relay:
        found = check(relay, ssl=True, **LOGIN)
    assert finding(found) == (False, "auth", "address", {})
    assert found.cause == (
        "The relay offers XOAUTH2, OAUTHBEARER, and none of these is supported yet. "
        "Use a relay that offers PLAIN, LOGIN, CRAM-MD5, or remove the username."
    )


@pytest.mark.parametrize("mode", [CLEAR, AUTO])
@pytest.mark.parametrize("account", [ACCOUNT, {}], ids=["offers AUTH", "offers nothing"])
def test_no_advice_to_turn_on_what_the_relay_does_not_offer(mode: dict[str, Any], account: dict[str, str]) -> None:
    with FakeRelay(mechanisms=("PLAIN",), **account) as relay:
        found = check(relay, **mode, **LOGIN)
    assert finding(found) == (False, "auth", "port", {})
    assert "STARTTLS on port" in found.cause
    assert "use another port (465 with 'SSL' or 587 with 'StartTLS')" in found.cause.replace("Use", "use")
    assert "Turn on" not in found.cause


def test_the_safer_mechanism_is_proposed_with_its_reason() -> None:
    with FakeRelay(mechanisms=("PLAIN", "CRAM-MD5"), **ACCOUNT) as relay:
        found = check(relay, **AUTO, **LOGIN)
    assert found.cause == (
        "The connection is not encrypted: PLAIN would show the password, CRAM-MD5 does not. Choose CRAM-MD5."
    )


def test_auth_only_after_tls() -> None:
    with FakeRelay(tls="starttls", auth_needs_tls=True, **ACCOUNT) as relay:
        found = check(relay, **CLEAR, **LOGIN)
    assert finding(found) == (False, "auth", "enable_starttls", {"enable_starttls": True})


def test_a_relay_that_refuses_auth_before_tls() -> None:
    replies: dict[str, str | list[str]] = {"AUTH": "538 5.7.11 encryption required"}
    with FakeRelay(tls="starttls", replies=replies, **ACCOUNT) as relay:
        found = check(relay, **CLEAR, **LOGIN, allow_clear_text_auth=True)
    assert finding(found) == (False, "auth", "enable_starttls", {"enable_starttls": True})


@pytest.mark.parametrize(
    ("mechanisms", "field", "proposal"),
    [
        (("PLAIN", "LOGIN"), "port", {}),
        (("LOGIN",), "port", {}),
        (("PLAIN", "CRAM-MD5"), "authentication", {"authentication": "cram_md5"}),
    ],
)
def test_credentials_in_clear_text(mechanisms: tuple[str, ...], field: str, proposal: dict[str, str]) -> None:
    with FakeRelay(mechanisms=mechanisms, **ACCOUNT) as relay:
        assert finding(check(relay, **AUTO, **LOGIN)) == (False, "auth", field, proposal)


def test_a_relay_without_auth() -> None:
    with FakeRelay(tls="implicit") as relay:
        assert finding(check(relay, ssl=True, **LOGIN)) == (False, "auth", "user_name", {})


@pytest.mark.parametrize(
    ("reply", "field"),
    [
        ("535 5.7.8 invalid", "password"),
        ("535 5.7.8 Error: app-specific password required.", "password"),
        ("534 5.7.9 Application-specific password required.", "password"),
        ("535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.", ""),
        ("535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.", "password"),
        ("534 5.7.9 mechanism too weak", "authentication"),
        ("504 5.5.4 not this one", "authentication"),
        ("503 5.5.1 not now", "user_name"),
    ],
)
def test_a_refused_auth_names_the_field(reply: str, field: str) -> None:
    with FakeRelay(tls="implicit", replies={"AUTH": reply}, **ACCOUNT) as relay:
        found = check(relay, ssl=True, **LOGIN)
    assert finding(found) == (False, "auth", field, {})
    assert found.steps[-1].said == reply
    assert LOGIN["password"] not in str(found.as_dict())


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (
            "534 5.7.9 Application-specific password required. For more information..",
            "Make an app password in the account's settings and enter it here as password.",
        ),
        (
            "535 5.7.8 Not accepted. For more information.",
            "Check username, password and authentication.",
        ),
    ],
)
def test_a_refused_auth_says_what_to_do(reply: str, advice: str) -> None:
    with FakeRelay(tls="implicit", replies={"AUTH": reply}, **ACCOUNT) as relay:
        found = check(relay, ssl=True, **LOGIN)
    assert found.cause == f"The relay refused the credentials: {reply.rstrip('.')}. {advice}"


@pytest.mark.parametrize("password", [" s3cret-pass", "s3cret-pass\n", "s3cret-pass\u00a0"])
def test_a_password_that_was_pasted_with_a_blank_is_told(password: str) -> None:
    with FakeRelay(tls="implicit", **ACCOUNT) as relay:
        found = check(relay, ssl=True, **LOGIN | {"password": password})
    assert finding(found) == (False, "auth", "password", {})
    assert "The password begins or ends with a blank" in found.cause
    assert password.strip() not in str(found.as_dict())


def test_auth_that_is_disabled_is_no_question_of_credentials() -> None:
    reply = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."
    with FakeRelay(tls="implicit", replies={"AUTH": reply}, **ACCOUNT) as relay:
        found = check(relay, ssl=True, **LOGIN)
    assert found.cause == (
        f"SMTP AUTH is disabled for this mailbox or its whole organisation: {reply} "
        "Other credentials cannot help. An administrator there has to allow it, or use another relay."
    )


def test_the_servers_words_stand_in_one_place_of_a_step() -> None:
    with FakeRelay(tls="implicit", replies={"AUTH": "535 5.7.8 no"}, **ACCOUNT) as relay:
        found = check(relay, ssl=True, **LOGIN)
    assert (found.steps[-1].said, found.steps[-1].detail) == ("535 5.7.8 no", "")


@pytest.mark.parametrize("point", ["CONNECT", "EHLO", "AUTH", "MAIL"])
def test_a_busy_relay_blames_no_field(point: str) -> None:
    replies: dict[str, str | list[str]] = {point: "421 4.7.0 too many connections"}
    with FakeRelay(tls="implicit", replies=replies, **ACCOUNT) as relay:
        found = check(relay, ssl=True, **LOGIN)
    assert (found.ok, found.field, dict(found.proposal)) == (False, "", {})
    assert found.cause == "The relay takes no connection just now: 421 4.7.0 too many connections. Try again later."


@pytest.mark.parametrize("switches", [{"ssl": True, "starttls": False}, REQUIRED])
def test_a_421_that_blames_the_greeting_names_the_field_of_its_name(switches: dict[str, Any]) -> None:
    said = "421-4.7.0 Try again later, closing connection. (EHLO)\n421 4.7.0  For more information, go to"
    with FakeRelay(tls="implicit" if switches["ssl"] else "starttls", replies={"EHLO": said}) as relay:
        found = check(relay, **switches)
    assert (found.ok, found.field, dict(found.proposal)) == (False, "domain", {})
    assert "or it does not accept the name that we greet with: 421 4.7.0 Try again later" in found.cause


@pytest.mark.parametrize(
    ("point", "reply", "field", "words"),
    [
        ("AUTH", "454 4.7.0 Temporary authentication failure", "", "cannot check credentials just now"),
        ("AUTH", "502 5.5.2 what?", "user_name", "did not take AUTH"),
        ("EHLO", "451 4.3.0 later", "", "this will pass"),
        ("CONNECT", "HTTP/1.1 400 Bad Request", "port", "This is no SMTP server: it said 'HTTP/1.1 400 Bad Request'."),
        ("STARTTLS", "454 4.7.0 TLS not available", "", "this will pass"),
        ("STARTTLS", "554 5.7.3 no", "", "The relay answered 554 5.7.3 no"),
    ],
)
def test_what_is_no_wrong_setting_blames_no_field(point: str, reply: str, field: str, words: str) -> None:
    with FakeRelay(tls="starttls", replies={point: reply}, **ACCOUNT) as relay:
        found = check(relay, **REQUIRED, **LOGIN)
    assert (found.ok, found.field, dict(found.proposal)) == (False, field, {})
    assert words in found.cause


@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_an_ehlo_that_is_not_answered_is_no_wrong_name(fault: str) -> None:
    with FakeRelay(**{fault: ["EHLO"]}) as relay:
        assert finding(check(relay, **CLEAR, reply_seconds=0.4)) == (False, "ehlo", "", {})


def test_an_unreadable_challenge_is_a_matter_of_the_mechanism() -> None:
    with FakeRelay(tls="implicit", replies={"RESPONSE": "334 ???"}, **ACCOUNT) as relay:
        found = check(relay, ssl=True, authentication="cram_md5", **LOGIN)
    assert finding(found) == (False, "auth", "authentication", {})


def test_a_relay_that_greets_late_is_a_good_relay() -> None:
    with FakeRelay(slow={"CONNECT": 1.5}) as relay:
        assert check(relay, **CLEAR, reply_seconds=5).ok


def test_silence_at_auth_is_explained() -> None:
    with FakeRelay(tls="implicit", hang=["AUTH"], **ACCOUNT) as relay:
        found = check(relay, ssl=True, reply_seconds=1, **LOGIN)
    assert finding(found) == (False, "auth", "password", {})
    assert "answer wrong credentials with silence" in found.cause


# The sender, and the way there


@pytest.mark.parametrize(
    ("mail_reply", "tls_offered", "field", "proposal"),
    [
        ("550 5.7.60 not your sender", "", "default_from", {}),
        ("530 5.7.0 authentication required", "", "user_name", {}),
        (
            "530 5.7.0 Must issue a STARTTLS command first",
            "starttls",
            "enable_starttls",
            {"enable_starttls": True},
        ),
        ("550 TLS required", "starttls", "enable_starttls", {"enable_starttls": True}),  # usual in ACLs of Exim
        ("550 5.7.1 Authentication required", "", "user_name", {}),
        ("451 5.7.3 Require basic authentication", "", "user_name", {}),
        (
            "451 5.7.3 STARTTLS is required to send mail",
            "starttls",
            "enable_starttls",
            {"enable_starttls": True},
        ),
        ("454 4.7.0 Temporary authentication failure", "", "", {}),
        ("554 5.7.1 <host[10.1.1.1]>: Client host rejected: Access denied", "", "", {}),
        ("451 4.3.0 try later", "", "", {}),
        ("452 4.3.1 no room", "", "", {}),
    ],
)
def test_a_refused_sender(mail_reply: str, tls_offered: str, field: str, proposal: dict[str, Any]) -> None:
    with FakeRelay(tls=tls_offered, replies={"MAIL": mail_reply}) as relay:
        assert finding(check(relay, **CLEAR)) == (False, "mail", field, proposal)


def test_a_sender_that_is_no_address() -> None:
    with FakeRelay() as relay:
        assert finding(check(relay, sender="nobody", **CLEAR)) == (False, "mail", "default_from", {})


@pytest.mark.parametrize("reply", ["250 ok", "550 5.7.60 not this one", "451 4.3.0 later"])
def test_without_a_from_the_empty_one_is_tried_and_means_little(reply: str) -> None:
    """Every action may name its own From; the connection is good all the same."""
    with FakeRelay(replies={"MAIL": reply}) as relay:
        found = check(relay, sender="", **CLEAR)
    assert (found.ok, [step.name for step in found.steps]) == (
        True,
        ["resolve", "connect", "greeting", "ehlo", "quit"],
    )
    assert relay.transcript[-3:] == ["MAIL FROM:<>", "RSET", "QUIT"]


def test_a_relay_that_wants_a_log_in_is_found_out_without_a_from() -> None:
    with FakeRelay(tls="implicit", **ACCOUNT) as relay:
        found = check(relay, sender="", ssl=True)
    assert finding(found) == (False, "mail", "user_name", {})
    assert found.cause == "The relay wants a username and a password: 530 5.7.0 authentication required"


@pytest.mark.parametrize(
    "reply",
    ["550 Authentication required", "550 5.7.9 Mail to submission port must be authenticated"],  # Haraka, chasquid
)
def test_the_demand_for_a_log_in_is_known_by_its_words_too(reply: str) -> None:
    with FakeRelay(replies={"MAIL": reply}) as relay:
        found = check(relay, sender="", **CLEAR)
    assert finding(found) == (False, "mail", "user_name", {})


def test_a_connection_that_breaks_blames_no_field() -> None:
    with FakeRelay(drop=["MAIL"]) as relay:
        assert finding(check(relay, **CLEAR)) == (False, "mail", "", {})


def test_a_bad_ehlo_name() -> None:
    with FakeRelay(replies={"EHLO": "550 5.7.1 bad name"}) as relay:
        assert finding(check(relay, **CLEAR)) == (False, "ehlo", "domain", {})


def test_a_refusal_in_clear_text_before_tls_is_no_wrong_port() -> None:
    with FakeRelay(replies={"CONNECT": "421 Too many concurrent SMTP connections."}) as relay:
        found = check(relay, ssl=True)
    assert finding(found) == (False, "tls", "", {})
    assert found.cause == (
        "The relay takes no connection just now: 421 Too many concurrent SMTP connections. Try again later."
    )


def test_a_port_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = diagnose_smtp(SmtpSettings("127.0.0.1", port), sender="a@x.test")
    assert finding(found) == (False, "connect", "port", {})


def test_an_address_that_is_refused() -> None:
    found = diagnose_smtp(SmtpSettings("169.254.169.254"), sender="a@x.test")
    assert finding(found) == (False, "resolve", "address", {})


# SendGrid


def test_a_good_key() -> None:
    with FakeSendGrid() as fake:
        found = diagnose_sendgrid(SendGridSettings("SG.key", base_url=fake.base_url))
    assert [(step.name, step.ok, step.said, step.detail) for step in found.steps] == [
        ("connect", True, "", "127.0.0.1"),
        ("tls", True, "", "TLSv1.3"),
        ("scopes", True, "200", "1 scopes"),
        ("mail.send", True, "", ""),
    ]
    assert (found.ok, found.cause, found.field, dict(found.proposal)) == (True, "", "", {})
    assert fake.requests == ["GET /v3/scopes"]


def test_a_failure_on_the_way_to_sendgrid_stands_at_its_own_step() -> None:
    with FakeSendGrid(trusted=False) as fake:
        found = [diagnose_sendgrid(SendGridSettings("SG.key", base_url=fake.base_url))]
    found.append(diagnose_sendgrid(SendGridSettings("SG.key", base_url=fake.base_url)))
    assert [[(step.name, step.ok) for step in one.steps] for one in found] == [
        [("connect", True), ("tls", False)],
        [("connect", False)],
    ]
    assert {one.field for one in found} == {"base_url"}


@pytest.mark.parametrize(
    ("fake", "step", "field"),
    [
        (FakeSendGrid(api_key="SG.another"), "scopes", "api_key"),
        (FakeSendGrid(answer=refuse(403, "access forbidden")), "scopes", "api_key"),
        (FakeSendGrid(scopes=["alerts.read"]), "mail.send", "api_key"),
        (FakeSendGrid(scopes=[]), "mail.send", "api_key"),
        (FakeSendGrid(answer=(404, "", {})), "scopes", "base_url"),
        (FakeSendGrid(answer=(200, "<html>", {})), "scopes", "base_url"),
        (FakeSendGrid(answer=(503, "", {})), "scopes", ""),
        (FakeSendGrid(answer=(429, "", {})), "scopes", ""),
    ],
)
def test_names_the_field_for_sendgrid(fake: FakeSendGrid, step: str, field: str) -> None:
    with fake:
        found = diagnose_sendgrid(SendGridSettings("SG.key", base_url=fake.base_url))
    assert finding(found) == (False, step, field, {})
    assert "SG.key" not in str(found.as_dict())
