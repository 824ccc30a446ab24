"""Connect, check and disconnect an integration."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from integrations import services, stored
from integrations.diagnosis import Diagnosis
from integrations.fields import Undecryptable
from integrations.models import AuditEvent, SendGridIntegration, SmtpIntegration

from .damage import lose_key_of
from .fake_relay import FakeRelay, authority_pem
from .fake_sendgrid import FakeSendGrid

pytestmark = pytest.mark.django_db

SMTP = {
    "address": "smtp.example.com",
    "port": 465,
    "user_name": "user@example.com",
    "password": "right horse",
    "default_from": "Desk <desk@example.com>",
}
SENDGRID = {"api_key": "SG.right-key", "base_url": "https://api.sendgrid.com", "default_from": "desk@example.com"}
GOOD = Diagnosis(ok=True, mode="", steps=())


def connect(kind: str, values: dict[str, Any], *, actor: str = "ada", check: bool = False) -> Diagnosis | None:
    return services.connect(kind, values, actor=actor, check=check)


def problems(kind: str, values: dict[str, Any]) -> dict[str, list[str]]:
    """Return the message of each field that a connect is refused for."""
    with pytest.raises(ValidationError) as caught:
        connect(kind, values)
    return caught.value.message_dict


def audited() -> list[tuple[str, str, dict[str, Any]]]:
    return [(event.actor, event.action, event.details) for event in AuditEvent.objects.order_by("pk")]


# Connect


def test_connects_smtp_after_a_check_of_the_real_connection(relay: FakeRelay) -> None:
    values = {
        "address": "127.0.0.1",
        "port": relay.port,
        "user_name": "user",
        "password": "right horse",
        "default_from": "Desk <desk@example.com>",
        "ssl": False,
        "allow_clear_text_auth": True,
    }
    found = connect("smtp", values, check=True)
    assert found is not None
    assert [step.name for step in found.steps if step.ok] == [
        *("resolve", "connect", "greeting", "tls", "ehlo", "auth", "mail", "quit"),
    ]
    assert relay.transcript[-3:] == ["MAIL FROM:<desk@example.com>", "RSET", "QUIT"]
    assert relay.ledger == []
    row = SmtpIntegration.objects.get()
    assert {name: getattr(row, name) for name in values} == values
    assert (row.connected, row.connected_by) == (True, "ada")
    assert row.connected_at is not None
    assert abs(row.connected_at - datetime.now(UTC)).total_seconds() < 10


def test_connects_sendgrid_after_asking_what_the_key_may_do(sendgrid_api: FakeSendGrid) -> None:
    values = {"api_key": "SG.key", "base_url": sendgrid_api.base_url, "default_from": ""}
    found = connect("sendgrid", values, check=True)
    assert found is not None
    assert found.ok
    assert sendgrid_api.requests == ["GET /v3/scopes"]
    row = SendGridIntegration.objects.get()
    assert (row.connected, row.connected_by, row.api_key) == (True, "ada", "SG.key")


def test_without_the_check_nobody_is_asked(relay: FakeRelay) -> None:
    assert connect("smtp", SMTP | {"address": "127.0.0.1", "port": relay.port}) is None
    assert relay.transcript == []
    assert stored.is_connected("smtp")


def test_a_failed_check_saves_nothing(relay: FakeRelay) -> None:
    values = SMTP | {"address": "127.0.0.1", "port": relay.port, "ssl": False, "allow_clear_text_auth": True}
    with pytest.raises(services.CheckFailed) as caught:
        connect("smtp", values, check=True)
    found = caught.value.diagnosis
    assert (found.ok, found.field, found.steps[-1].name) == (False, "password", "auth")
    assert str(caught.value) == found.cause != ""
    assert (SmtpIntegration.objects.count(), AuditEvent.objects.count()) == (0, 0)


def test_a_failed_check_leaves_what_is_in_force(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    with pytest.raises(services.CheckFailed):
        connect("smtp", {"password": "wrong horse"}, check=True)
    smtp.refresh_from_db()
    assert (smtp.connected, smtp.password) == (True, "right horse")


def test_the_check_uses_the_stored_secret_where_none_is_entered(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    connect("smtp", {"password": "", "domain": "me.test"}, check=True)
    assert "EHLO me.test" in relay.transcript
    assert SmtpIntegration.objects.get().domain == "me.test"


# Validation


WRONG = {
    "address": ("", "smtp://relay.test", "relay.test:25", "relay test", "-x.test", "relay.test/x", "user@relay.test"),
    "port": (0, 65536, -1, None, "abc"),
    "domain": ("not a name", "me.test\r\nRSET", "http://me.test"),
    "user_name": ("",),
    "password": ("", None),
    "authentication": ("xoauth2", ""),
    "openssl_verify_mode": ("perhaps",),
    "default_from": ("nobody", "a@b.test, c@d.test", "a@rootmail.example"),
    "ca_certificates": ("nonsense", "-----BEGIN CERTIFICATE-----\nx\n"),
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_field_that_is_wrong_has_its_own_message(field: str, value: object) -> None:
    found = problems("smtp", SMTP | {field: value})
    assert list(found) == [field]
    assert all(found[field])
    assert SmtpIntegration.objects.count() == 0


NO_ADDRESSES = ("a\r\nb.test", "a..b", "1.2.3", "123", "[::1]", "...", "relay.test\n")


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_only_looks_like_an_address_is_refused(address: str) -> None:
    assert list(problems("smtp", SMTP | {"address": address})) == ["address"]


@pytest.mark.parametrize(
    "values",
    [
        *(
            {"address": address}
            for address in ("localhost", "relay", "relay.test.", "10.0.0.1", "::1", "bücher.example")
        ),
        {"port": 1},
        {"port": 65535},
        {"domain": "me.test"},
        {"user_name": "", "password": ""},
        {"ca_certificates": authority_pem()},
        {"ssl": False, "enable_starttls": True},
        {"ssl": False, "enable_starttls": False, "enable_starttls_auto": False},
        {"default_from": "Example Inc. <desk@example.com>"},
    ],
)
def test_a_field_that_is_right_is_saved(values: dict[str, Any]) -> None:
    connect("smtp", SMTP | values)
    row = SmtpIntegration.objects.get()
    expected = {name: None if name in ("user_name", "password") else value for name, value in values.items()}
    assert {name: getattr(row, name) for name in values} == expected


def test_ssl_and_starttls_together_are_refused_with_what_to_turn_off() -> None:
    text = "SSL and StartTLS exclude each other. Turn off SSL (port 587) or turn off StartTLS (port 465)."
    assert problems("smtp", SMTP | {"enable_starttls": True}) == {"ssl": [text], "enable_starttls": [text]}


def test_credentials_come_in_pairs() -> None:
    assert problems("smtp", SMTP | {"password": ""}) == {"password": ["Enter the password of this username."]}
    text = "Enter the username that belongs to this password."
    assert problems("smtp", SMTP | {"user_name": ""}) == {"user_name": [text]}


def test_a_private_key_has_no_place_among_the_certificates() -> None:
    pem = authority_pem() + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    text = "Leave the private key out: only certificates belong here."
    assert problems("smtp", SMTP | {"ca_certificates": pem}) == {"ca_certificates": [text]}


WRONG_URLS = ("", "api.sendgrid.com", "http://api.sendgrid.com", "ftp://localhost", "http://localhost.evil.test")
WRONG_URLS += (
    "https://api.sendgrid.com/v3",
    "https://api.sendgrid.com?x=1",
    "https://a:b@api.sendgrid.com",
    "https://[::1",
)


@pytest.mark.parametrize(
    ("field", "value"),
    [("api_key", ""), ("default_from", "a@rootmail.example"), *(("base_url", url) for url in WRONG_URLS)],
)
def test_a_sendgrid_field_that_is_wrong_has_its_own_message(field: str, value: str) -> None:
    assert list(problems("sendgrid", SENDGRID | {field: value})) == [field]


@pytest.mark.parametrize("url", ["https://api.eu.sendgrid.com", "https://api.sendgrid.com/", "http://127.0.0.1:8080"])
def test_a_good_api_address_is_saved(url: str) -> None:
    connect("sendgrid", SENDGRID | {"base_url": url})
    assert SendGridIntegration.objects.get().base_url == url


# A stored secret


def test_a_blank_secret_keeps_the_stored_one() -> None:
    connect("smtp", SMTP)
    connect("smtp", SMTP | {"password": "", "default_from": "new@example.com", "user_name": "other@example.com"})
    row = SmtpIntegration.objects.get()
    assert (row.password, row.default_from, row.user_name) == ("right horse", "new@example.com", "other@example.com")
    connect("sendgrid", SENDGRID)
    connect("sendgrid", SENDGRID | {"api_key": "", "default_from": "new@example.com"})
    assert SendGridIntegration.objects.get().api_key == "SG.right-key"


def test_a_new_secret_replaces_the_stored_one() -> None:
    connect("smtp", SMTP)
    connect("smtp", SMTP | {"password": "new horse"})
    assert SmtpIntegration.objects.get().password == "new horse"


def test_without_a_username_the_stored_password_is_erased() -> None:
    connect("smtp", SMTP)
    connect("smtp", SMTP | {"user_name": "", "password": ""})
    row = SmtpIntegration.objects.get()
    assert (row.user_name, row.password) == (None, None)


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({"address": "evil.test"}, "Address"),
        ({"port": 25}, "Port"),
        ({"ssl": False}, "SSL"),
        ({"ssl": False, "enable_starttls": True}, "StartTLS, SSL"),
        ({"enable_starttls_auto": False}, "StartTLS Auto"),
        ({"openssl_verify_mode": "peer"}, "SSL Verify Mode"),
        ({"ca_certificates": authority_pem()}, "CA certificates"),
        ({"allow_clear_text_auth": True}, "Allow credentials without TLS"),
        ({"address": "evil.test", "port": 25}, "Address, Port"),
    ],
)
def test_a_stored_password_goes_to_no_other_place_and_by_no_weaker_road(changes: dict[str, Any], labels: str) -> None:
    connect("smtp", SMTP)
    text = f"You changed {labels}: enter the Password again, so that it goes nowhere by mistake."
    assert problems("smtp", SMTP | {"password": ""} | changes) == {"password": [text]}
    assert SmtpIntegration.objects.get().address == "smtp.example.com"
    connect("smtp", SMTP | changes)
    row = SmtpIntegration.objects.get()
    assert {name: getattr(row, name) for name in changes} == changes


def test_a_stored_key_goes_to_no_other_place() -> None:
    connect("sendgrid", SENDGRID)
    moved = SENDGRID | {"base_url": "https://evil.test"}
    text = "You changed API address: enter the API key again, so that it goes nowhere by mistake."
    assert problems("sendgrid", moved | {"api_key": ""}) == {"api_key": [text]}
    connect("sendgrid", moved)
    assert SendGridIntegration.objects.get().base_url == "https://evil.test"


def test_without_a_stored_password_the_address_may_change() -> None:
    nobody = SMTP | {"user_name": "", "password": ""}
    connect("smtp", nobody)
    connect("smtp", nobody | {"address": "other.example.com"})
    assert SmtpIntegration.objects.get().address == "other.example.com"


# A row that no key decrypts


def test_an_unreadable_row_can_be_entered_anew() -> None:
    connect("smtp", SMTP)
    lose_key_of(SmtpIntegration.objects.get(), "address", "user_name", "password")
    assert stored.row_of("smtp") is None
    assert stored.problem("smtp").startswith("The stored Address of SMTP cannot be decrypted.")
    assert problems("smtp", SMTP | {"password": ""}) == {"password": ["Enter the password of this username."]}
    connect("smtp", SMTP)
    row = SmtpIntegration.objects.get()
    assert (row.address, row.password, row.connected) == ("smtp.example.com", "right horse", True)
    assert stored.problem("smtp") == ""


def test_an_unreadable_row_can_be_disconnected() -> None:
    connect("sendgrid", SENDGRID)
    lose_key_of(SendGridIntegration.objects.get(), "api_key")
    with pytest.raises(Undecryptable):
        stored.demand_connected("sendgrid")
    assert services.disconnect("sendgrid", actor="ada") is True
    assert SendGridIntegration.objects.get().api_key is None


# Two people at once


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let somebody else act while the check is under way."""

    def check(*_: object, **__: object) -> Diagnosis:
        monkeypatch.undo()
        act()
        return GOOD

    monkeypatch.setattr(services, "_check", check)


TOO_LATE = ["Somebody else connected or disconnected it meanwhile, and nothing was saved. Look at it again."]


@pytest.mark.parametrize("stored_before", [False, True])
def test_of_two_connects_at_once_the_first_one_counts(monkeypatch: pytest.MonkeyPatch, stored_before: bool) -> None:
    if stored_before:
        connect("smtp", SMTP)
        services.disconnect("smtp", actor="ada")
    meanwhile(monkeypatch, lambda: connect("smtp", SMTP | {"address": "first.example.com"}, actor="bob"))
    with pytest.raises(ValidationError) as caught:
        connect("smtp", SMTP | {"address": "second.example.com"}, check=True)
    assert caught.value.messages == TOO_LATE
    row = SmtpIntegration.objects.get()
    assert (row.address, row.connected_by) == ("first.example.com", "bob")
    assert audited()[-1][:2] == ("bob", "smtp connected")


def test_an_edit_does_not_bring_back_what_somebody_erased_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    connect("smtp", SMTP)
    meanwhile(monkeypatch, lambda: services.disconnect("smtp", actor="bob"))
    with pytest.raises(ValidationError) as caught:
        connect("smtp", SMTP | {"password": "", "default_from": "new@example.com"}, check=True)
    assert caught.value.messages == TOO_LATE
    row = SmtpIntegration.objects.get()
    assert (row.connected, row.user_name, row.password) == (False, None, None)
    assert audited()[-1][:2] == ("bob", "smtp disconnected")


# Disconnect


def test_disconnect_erases_the_credentials_and_keeps_the_rest() -> None:
    connect("smtp", SMTP)
    connect("sendgrid", SENDGRID)
    assert services.disconnect("smtp", actor="bob") is True
    row = SmtpIntegration.objects.get()
    assert (row.connected, row.connected_at, row.connected_by) == (False, None, "")
    assert (row.user_name, row.password) == (None, None)
    assert (row.address, row.port, row.default_from) == ("smtp.example.com", 465, "Desk <desk@example.com>")
    assert stored.is_connected("sendgrid")
    assert services.disconnect("sendgrid", actor="bob") is True
    assert SendGridIntegration.objects.get().api_key is None


def test_a_second_disconnect_does_nothing() -> None:
    connect("smtp", SMTP)
    services.disconnect("smtp", actor="ada")
    assert services.disconnect("smtp", actor="bob") is False
    assert services.disconnect("sendgrid", actor="bob") is False
    assert [action for _, action, _ in audited()] == ["smtp connected", "smtp disconnected"]


def test_what_was_disconnected_is_connected_again_in_the_same_row() -> None:
    connect("smtp", SMTP)
    services.disconnect("smtp", actor="ada")
    assert problems("smtp", SMTP | {"password": ""}) == {"password": ["Enter the password of this username."]}
    connect("smtp", SMTP, actor="bob")
    assert SmtpIntegration.objects.get().connected_by == "bob"


# Audit, and what may be shown


def test_the_audit_log_names_who_did_what_and_no_secret() -> None:
    connect("smtp", SMTP, actor="ada")
    connect("smtp", SMTP | {"password": "new horse"}, actor="bob")
    connect("smtp", SMTP | {"password": "", "default_from": ""}, actor="bob")
    services.disconnect("smtp", actor="cleo")
    connect("sendgrid", SENDGRID, actor="ada")
    desk = "default_from: empty → Desk <desk@example.com>"
    changed = ["address", desk, "password", "port: 587 → 465", "user_name"]
    assert audited() == [
        ("ada", "smtp connected", {"changed": changed, "checked": False}),
        ("bob", "smtp connected", {"changed": ["password"], "checked": False}),
        ("bob", "smtp connected", {"changed": ["default_from: Desk <desk@example.com> → empty"], "checked": False}),
        ("cleo", "smtp disconnected", {}),
        (
            *("ada", "sendgrid connected"),
            {"changed": ["api_key", "default_from: empty → desk@example.com"], "checked": False},
        ),
    ]
    rows = json.dumps(list(AuditEvent.objects.values("actor", "action", "details")))
    assert [word for word in ("horse", "SG.", "smtp.example.com", "user@example.com") if word in rows] == []


def test_switches_and_long_texts_are_told_in_a_word(relay: FakeRelay) -> None:
    connect("smtp", SMTP)
    connect("smtp", {**SMTP, "ssl": False, "ca_certificates": authority_pem(), "openssl_verify_mode": "peer"})
    assert audited()[-1][2]["changed"] == ["ca_certificates", "openssl_verify_mode: none → peer", "ssl: on → off"]


def test_a_check_is_in_the_audit_log(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    services.check("smtp", actor="ada")
    services.begin_check("smtp", None, actor="bob")
    assert audited() == [("ada", "smtp checked", {}), ("bob", "smtp checked", {})]


def test_nothing_is_saved_where_the_audit_entry_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("integrations.audit.record", fail)
    with pytest.raises(RuntimeError):
        connect("smtp", SMTP)
    assert SmtpIntegration.objects.count() == 0


def test_describe_shows_everything_but_the_secret() -> None:
    assert stored.describe("smtp") == {"connected": False}
    connect("smtp", SMTP)
    row = SmtpIntegration.objects.get()
    assert stored.describe("smtp") == {
        "connected": True,
        "default_from": "Desk <desk@example.com>",
        "rate_limit": None,
        "rate_per": "second",
        "session_limit": None,
        "address": "smtp.example.com",
        "port": 465,
        "domain": "",
        "user_name": "user@example.com",
        "password": "stored",
        "authentication": "plain",
        "enable_starttls": False,
        "enable_starttls_auto": True,
        "ssl": True,
        "openssl_verify_mode": "none",
        "ca_certificates": "",
        "allow_clear_text_auth": False,
        "connected_at": str(row.connected_at),
        "connected_by": "ada",
    }
    connect("smtp", SMTP | {"user_name": "", "password": ""})
    assert stored.describe("smtp")["password"] is None
    connect("sendgrid", SENDGRID)
    assert stored.describe("sendgrid")["api_key"] == "stored"


def test_after_connect_it_says_what_is_in_force_now() -> None:
    connect("sendgrid", SENDGRID)
    assert services.after_connect("sendgrid") == ("SendGrid is connected. The next mail leaves through it.", "")
    connect("smtp", SMTP)
    said = "SendGrid is connected. Mail still leaves through SMTP: disconnect that to use SendGrid."
    assert services.after_connect("sendgrid") == (said, "")


def test_after_connect_it_warns_where_a_blank_from_would_fail() -> None:
    connect("smtp", SMTP | {"default_from": "", "user_name": "ada"})
    warning = "Actions that leave From blank will fail until you fill in 'Default From'."
    assert services.after_connect("smtp")[1] == warning
    connect("smtp", SMTP | {"default_from": "", "user_name": "ada@example.com"})
    assert services.after_connect("smtp")[1] == ""


def test_what_is_not_connected_cannot_be_checked() -> None:
    with pytest.raises(stored.NotConnected, match="SMTP is not connected"):
        stored.demand_connected("smtp")
