"""Configuration → Integrations, as an admin, a member and a stranger see it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ValidationError
from django.test import Client

from integrations import services, stored
from integrations.models import AuditEvent, SendGridIntegration, SmtpIntegration

from .damage import lose_key_of
from .fake_relay import FakeRelay
from .fake_sendgrid import FakeSendGrid

pytestmark = pytest.mark.django_db

CATALOGUE = "/configuration/integrations/"
SMTP = "/configuration/integrations/smtp/"
SENDGRID = "/configuration/integrations/sendgrid/"
PAGES = (CATALOGUE, SMTP, SENDGRID)
DISCONNECT = (f"{SMTP}disconnect/", f"{SENDGRID}disconnect/")


@pytest.fixture
def entered(relay: FakeRelay) -> dict[str, str]:
    """Return what a browser sends for the fake relay; a switch that is off is not sent at all."""
    return {
        "address": "127.0.0.1",
        "port": str(relay.port),
        "domain": "",
        "user_name": "user",
        "password": "right horse",
        "authentication": "plain",
        "enable_starttls_auto": "on",
        "openssl_verify_mode": "none",
        "ca_certificates": "",
        "default_from": "Desk <desk@example.com>",
        "allow_clear_text_auth": "on",
    }


def text_of(answer: Any) -> str:
    return unescape(answer.content.decode())


def control(answer: Any, name: str) -> str:
    """Return the tag of one form control."""
    found = re.search(rf'<(?:input|select|textarea)[^>]* name="{name}"[^>]*>', answer.content.decode())
    assert found, f"no control '{name}'"
    return found[0]


def error_beside(answer: Any, name: str) -> str:
    """Return the message that stands in the same field as the control."""
    found = re.search(rf'<p class="error" id="id_{name}_error">([^<]*)</p>', answer.content.decode())
    assert found, f"no error beside '{name}'"
    assert 'aria-invalid="true"' in control(answer, name)
    assert f"id_{name}_error" in control(answer, name)
    return unescape(found[1])


# The way through


def test_what_another_tab_has_saved_is_not_undone(as_admin: Client, relay: FakeRelay, entered: dict[str, str]) -> None:
    as_admin.post(SMTP, entered)
    tabs = [entered | {"password": "", "seen": seen_of(as_admin.get(SMTP))} for _ in range(2)]
    assert as_admin.post(SMTP, tabs[0] | {"default_from": "new@example.com"}).status_code == 302
    answer = as_admin.post(SMTP, tabs[1] | {"session_limit": "3"})
    assert (answer.status_code, "were saved since you opened this form" in text_of(answer)) == (422, True)
    row = SmtpIntegration.objects.get()
    assert (row.default_from, row.session_limit) == ("new@example.com", None)
    assert seen_of(answer) == tabs[1]["seen"], "to save it once more does not help"
    fresh = tabs[1] | {"session_limit": "3", "default_from": "new@example.com", "seen": seen_of(as_admin.get(SMTP))}
    assert as_admin.post(SMTP, fresh).status_code == 302


def test_what_is_saved_while_the_check_runs_is_not_undone(
    relay: FakeRelay, entered: dict[str, str], monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    values = {"address": "127.0.0.1", "port": relay.port, "default_from": "desk@example.com"}
    services.connect("smtp", values, actor="ada", check=False)

    def somebody_saves(*_: Any, **__: Any) -> None:
        SmtpIntegration.objects.update(domain="here.example")

    monkeypatch.setattr(services, "_check", somebody_saves)
    with pytest.raises(ValidationError, match="were saved since"):
        services.connect("smtp", values | {"session_limit": 3}, actor="ada")
    assert SmtpIntegration.objects.get().session_limit is None


def seen_of(answer: Any) -> str:
    found = re.search(r'name="seen" value="([^"]*)"', answer.content.decode())
    assert found
    return found[1]


def test_setup_connect_connected_disconnect(as_admin: Client, relay: FakeRelay, entered: dict[str, str]) -> None:
    assert f'href="{SMTP}">Setup</a>' in text_of(as_admin.get(CATALOGUE))
    assert 'type="submit">Connect</button>' in text_of(as_admin.get(SMTP))

    answer = as_admin.post(SMTP, entered, follow=True)
    assert answer.redirect_chain == [(CATALOGUE, 302)]
    assert "SMTP is connected. The next mail leaves through it." in text_of(answer)
    assert '<a href="/configuration/integrations/smtp/test/">Send a test e-mail</a>' in answer.content.decode()
    row = SmtpIntegration.objects.get()
    assert (row.connected, row.connected_by, row.password, row.ssl) == (True, "ada", "right horse", False)
    assert relay.transcript[-1] == "QUIT"
    assert relay.ledger == []

    revealed = re.search(r'<details class="reveal".*?</details>', text_of(answer), re.S)
    assert revealed
    assert re.search(r"<summary[^>]*>Connected</summary>", revealed[0])
    assert re.search(rf'<a [^>]*href="{SMTP}disconnect/">Disconnect</a>', revealed[0])
    for word in ("Edit", "Check", "Send test e-mail"):
        assert f">{word}</" in revealed[0]

    asked = text_of(as_admin.get(f"{SMTP}disconnect/"))
    assert "Mail will leave through <b>Default sender</b> from now on; nothing is waiting." in asked
    row.refresh_from_db()
    assert row.connected, "a look at the question changes nothing"

    answer = as_admin.post(f"{SMTP}disconnect/", follow=True)
    assert answer.redirect_chain == [(CATALOGUE, 302)]
    assert "SMTP is disconnected and its credentials are erased. Mail leaves through Default sender" in text_of(answer)
    row.refresh_from_db()
    assert (row.connected, row.password) == (False, None)
    assert '<details class="reveal"' not in text_of(answer)
    recorded = AuditEvent.objects.filter(action__startswith="smtp").order_by("pk")
    assert [event.action for event in recorded] == ["smtp connected", "smtp disconnected"]


def test_sendgrid_is_connected_in_the_same_way(as_admin: Client, sendgrid_api: FakeSendGrid) -> None:
    entered = {"api_key": " SG.key\n", "base_url": sendgrid_api.base_url, "default_from": ""}
    answer = as_admin.post(SENDGRID, entered, follow=True)
    assert "SendGrid is connected. The next mail leaves through it." in text_of(answer)
    assert SendGridIntegration.objects.get().api_key == "SG.key"


def test_an_api_address_without_https_gets_it(as_admin: Client) -> None:
    entered = {"api_key": "SG.key", "base_url": "api.eu.sendgrid.com", "skip_check": "on"}
    assert as_admin.post(SENDGRID, entered).status_code == 302
    assert SendGridIntegration.objects.get().base_url == "https://api.eu.sendgrid.com"


def test_the_form_has_every_documented_field_with_its_default(as_admin: Client) -> None:
    answer = as_admin.get(SMTP)
    labels = re.findall(
        r"<label[^>]*>(?:<input[^>]*> <span>)?([^<]*?)(?: <span class=\"required\">|</)", text_of(answer)
    )
    assert labels == [
        *("Address", "Port", "Domain", "Username", "Password", "Authentication", "StartTLS", "StartTLS Auto", "SSL"),
        *("SSL Verify Mode", "CA certificates", "Default From", "Allow credentials without TLS"),
        *("Mails at the most", "Within a", "Simultaneous sessions", "Connect without the check"),
    ]
    assert 'value="587"' in control(answer, "port")
    switches = ("enable_starttls", "enable_starttls_auto", "ssl", "allow_clear_text_auth", "skip_check")
    assert ["checked" in control(answer, name) for name in switches] == [False, True, True, False, False]
    assert '<option value="plain" selected>plain</option>' in text_of(answer)
    assert '<option value="none" selected>None</option>' in text_of(answer)
    for name in ("plain", "login", "cram_md5", "none", "peer"):
        assert f'<option value="{name}"' in text_of(answer)


def test_every_help_text_belongs_to_its_control(as_admin: Client) -> None:
    for page in (SMTP, SENDGRID):
        answer = as_admin.get(page)
        helps = re.findall(r'<div class="help" id="(id_(\w+)_helptext)">', answer.content.decode())
        assert len(helps) >= 4
        for identifier, name in helps:
            assert f'aria-describedby="{identifier}"' in control(answer, name)


def test_an_edit_shows_what_is_stored_and_keeps_the_password(as_admin: Client, smtp: SmtpIntegration) -> None:
    answer = as_admin.get(SMTP)
    assert f'value="{smtp.port}"' in control(answer, "port")
    assert 'value="127.0.0.1"' in control(answer, "address")
    assert 'value="user"' in control(answer, "user_name")
    assert "Stored. Leave it blank to keep it, unless you change Address, Port or anything about TLS." in text_of(
        answer
    )
    assert 'type="submit">Save</button>' in text_of(answer)
    entered = {
        "address": "127.0.0.1",
        "port": smtp.port,
        "user_name": "user",
        "password": "",
        "authentication": "login",
    }
    entered |= {"openssl_verify_mode": "none", "allow_clear_text_auth": "on", "default_from": "new@example.com"}
    assert as_admin.post(SMTP, entered).status_code == 302
    smtp.refresh_from_db()
    assert (smtp.password, smtp.authentication, smtp.default_from) == ("right horse", "login", "new@example.com")


def test_blanks_belong_to_the_password(as_admin: Client, entered: dict[str, str]) -> None:
    as_admin.post(SMTP, entered | {"password": "  right horse ", "skip_check": "on"})
    assert SmtpIntegration.objects.get().password == "  right horse "


def test_connects_without_the_check_where_that_is_asked_for(
    as_admin: Client, relay: FakeRelay, entered: dict[str, str]
) -> None:
    assert as_admin.post(SMTP, entered | {"password": "wrong", "skip_check": "on"}).status_code == 302
    assert relay.transcript == []


# Who may


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_is_sent_to_the_login(client: Client, page: str) -> None:
    answer = client.get(page)
    assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={page}")


@pytest.mark.parametrize("page", [SMTP, SENDGRID, *DISCONNECT])
def test_a_stranger_changes_nothing(client: Client, page: str, smtp: SmtpIntegration) -> None:
    answer = client.post(page, {"address": "evil.test"})
    back_to = page.removesuffix("disconnect/")  # a page that can be opened, not an action
    assert (answer.status_code, answer["Location"]) == (302, f"/login/?next={back_to}")
    smtp.refresh_from_db()
    assert (smtp.connected, smtp.address) == (True, "127.0.0.1")


@pytest.mark.parametrize("page", PAGES)
def test_a_member_cannot_open_the_page(client: Client, member: User, page: str) -> None:
    client.force_login(member)
    answer = client.get(page)
    assert answer.status_code == 403
    assert "relay" not in text_of(answer).lower()


@pytest.mark.parametrize("page", [SMTP, SENDGRID, *DISCONNECT])
def test_a_member_changes_nothing(client: Client, member: User, page: str, smtp: SmtpIntegration) -> None:
    client.force_login(member)
    assert client.post(page, {"address": "evil.test"}).status_code == 403
    smtp.refresh_from_db()
    assert (smtp.connected, smtp.address) == (True, "127.0.0.1")


def test_the_permission_is_enough(client: Client, member: User) -> None:
    member.user_permissions.add(Permission.objects.get(codename="manage_integrations"))
    client.force_login(member)
    assert [client.get(page).status_code for page in PAGES] == [200, 200, 200]


def test_the_menu_shows_the_page_only_to_those_who_may_open_it(client: Client, as_admin: Client, member: User) -> None:
    assert f'<a href="{CATALOGUE}"' in text_of(as_admin.get("/"))
    client.force_login(member)
    assert CATALOGUE not in text_of(client.get("/"))


# HTTP


@pytest.mark.parametrize(
    ("method", "page", "allowed"),
    [
        *((method, CATALOGUE, "GET, HEAD") for method in ("post", "put", "delete")),
        *((method, SMTP, "GET, HEAD, POST") for method in ("put", "delete", "patch")),
        *((method, DISCONNECT[0], "GET, HEAD, POST") for method in ("put", "delete", "patch")),
    ],
)
def test_each_page_takes_its_methods_only(
    as_admin: Client, smtp: SmtpIntegration, method: str, page: str, allowed: str
) -> None:
    answer = getattr(as_admin, method)(page)
    assert (answer.status_code, answer["Allow"]) == (405, allowed)
    assert stored.is_connected("smtp")


def test_head_is_answered_like_get(as_admin: Client) -> None:
    assert [as_admin.head(page).status_code for page in PAGES] == [200, 200, 200]


@pytest.mark.parametrize("kind", ["default", "mailgun", "SMTP"])
def test_an_unknown_kind_is_not_found(as_admin: Client, kind: str) -> None:
    assert as_admin.get(f"{CATALOGUE}{kind}/").status_code == 404
    assert as_admin.post(f"{CATALOGUE}{kind}/").status_code == 404
    assert as_admin.post(f"{CATALOGUE}{kind}/disconnect/").status_code == 404


@pytest.mark.parametrize("page", [SMTP, SENDGRID, *DISCONNECT])
def test_a_post_without_a_token_is_refused(admin: User, page: str, smtp: SmtpIntegration) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin)
    assert browser.post(page, {"address": "evil.test"}).status_code == 403
    assert stored.is_connected("smtp")


@pytest.mark.parametrize("kind", ["smtp", "sendgrid"])
def test_an_empty_post_says_what_is_missing(as_admin: Client, kind: str) -> None:
    answer = as_admin.post(f"/configuration/integrations/{kind}/", {})
    assert (answer.status_code, "This field is required" in answer.content.decode()) == (422, True)


def test_a_post_with_the_token_of_the_page_is_taken(admin: User, smtp: SmtpIntegration) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(admin)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text_of(browser.get(CATALOGUE)))
    assert token
    assert browser.post(DISCONNECT[0], {"csrfmiddlewaretoken": token[1]}).status_code == 302
    assert not stored.is_connected("smtp")


@pytest.mark.parametrize("page", PAGES)
def test_nobody_keeps_a_copy_of_a_page(as_admin: Client, page: str) -> None:
    caching = as_admin.get(page)["Cache-Control"]
    assert {"no-store", "private"} <= set(caching.split(", "))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_needs_no_exception_from_the_content_security_policy(as_admin: Client, page: str) -> None:
    answer = as_admin.get(page)
    rules = answer["Content-Security-Policy"]
    assert "default-src 'none'" in rules
    assert "unsafe" not in rules
    body = answer.content.decode()
    assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", body) == []


def test_what_was_entered_is_kept_out_of_error_reports(as_admin: Client) -> None:
    answer = as_admin.post(SMTP, {"password": "right horse"})
    assert answer.wsgi_request.sensitive_post_parameters == "__ALL__"  # type: ignore[attr-defined]


# Errors


def test_errors_stand_beside_their_fields(as_admin: Client, entered: dict[str, str]) -> None:
    wrong = {"address": "smtp://relay.test", "port": "0", "default_from": "ceo@rootmail.example"}
    answer = as_admin.post(SMTP, entered | wrong)
    assert answer.status_code == 422
    assert error_beside(answer, "address") == (
        "Enter a host name such as smtp.example.com, without port, path or 'smtp://'."
    )
    assert error_beside(answer, "port") == "Ensure this value is greater than or equal to 1."
    assert "'rootmail.example' belongs to this installation" in error_beside(answer, "default_from")
    assert "Nothing was saved." in text_of(answer)
    assert 'value="smtp://relay.test"' in control(answer, "address")
    assert SmtpIntegration.objects.count() == 0


@pytest.mark.parametrize("name", ["address", "port", "authentication", "openssl_verify_mode"])
def test_a_missing_field_is_named(as_admin: Client, entered: dict[str, str], name: str) -> None:
    del entered[name]
    assert error_beside(as_admin.post(SMTP, entered), name) == "This field is required."


def test_ssl_with_starttls_is_explained_beside_both(as_admin: Client, entered: dict[str, str]) -> None:
    answer = as_admin.post(SMTP, entered | {"ssl": "on", "enable_starttls": "on"})
    assert error_beside(answer, "ssl") == error_beside(answer, "enable_starttls")
    assert "Turn off SSL (port 587) or turn off StartTLS (port 465)." in error_beside(answer, "ssl")


def test_a_failed_check_shows_its_steps_and_names_the_field(as_admin: Client, entered: dict[str, str]) -> None:
    answer = as_admin.post(SMTP, entered | {"password": "wrong horse"})
    assert answer.status_code == 422
    assert "The relay refused the credentials: 535 5.7.8 credentials invalid" in error_beside(answer, "password")
    steps = re.findall(r'<tr class="(ok|bad)">\s*<th scope="row">.*?</span> (\w+)<', text_of(answer), re.S)
    assert steps == [
        *(("ok", name) for name in ("resolve", "connect", "greeting", "tls", "ehlo")),
        ("bad", "auth"),
    ]
    assert SmtpIntegration.objects.count() == 0


def test_an_api_key_that_is_refused_is_explained(as_admin: Client, sendgrid_api: FakeSendGrid) -> None:
    answer = as_admin.post(SENDGRID, {"api_key": "SG.wrong", "base_url": sendgrid_api.base_url})
    assert "Check the API key" in error_beside(answer, "api_key")
    assert SendGridIntegration.objects.count() == 0


def test_a_moved_address_demands_the_password_again(as_admin: Client, smtp: SmtpIntegration) -> None:
    entered = {
        "address": "evil.test",
        "port": smtp.port,
        "user_name": "user",
        "password": "",
        "authentication": "plain",
    }
    answer = as_admin.post(SMTP, entered | {"openssl_verify_mode": "none", "allow_clear_text_auth": "on"})
    assert error_beside(answer, "password").startswith("You changed Address: enter the Password again")
    smtp.refresh_from_db()
    assert smtp.address == "127.0.0.1"


def test_somebody_elses_connect_at_the_same_moment_is_told(
    as_admin: Client, entered: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "row_of", lambda _: None)
    SmtpIntegration.objects.create(connected=True, address="first.example.com")
    monkeypatch.setattr(stored, "row_to_overwrite", lambda _: SmtpIntegration())
    answer = as_admin.post(SMTP, entered | {"skip_check": "on"})
    assert answer.status_code == 422
    assert "Somebody else connected or disconnected it meanwhile" in text_of(answer)
    assert SmtpIntegration.objects.get().address == "first.example.com"


# Secrets and hostile values


def test_a_stored_secret_is_on_no_page(as_admin: Client, smtp: SmtpIntegration, sendgrid: SendGridIntegration) -> None:
    for page in PAGES:
        body = as_admin.get(page).content.decode()
        assert [secret for secret in ("right horse", "SG.key", "gAAAA") if secret in body] == []
    for page, name in ((SMTP, "password"), (SENDGRID, "api_key")):
        tag = control(as_admin.get(page), name)
        assert 'type="password"' in tag
        assert 'autocomplete="new-password"' in tag
        assert "value=" not in tag


@pytest.mark.parametrize("wrong", [{"port": "0"}, {"address": "169.254.169.254"}, {"password": "a wrong horse"}])
def test_an_entered_secret_does_not_come_back_with_an_error(
    as_admin: Client, entered: dict[str, str], wrong: dict[str, str]
) -> None:
    answer = as_admin.post(SMTP, entered | wrong)
    assert answer.status_code == 422
    assert "horse" not in answer.content.decode()
    key = {"api_key": "SG.an-entered-key", "base_url": "http://127.0.0.1:9"}
    answer = as_admin.post(SENDGRID, key)
    assert answer.status_code == 422
    assert "SG.an" not in answer.content.decode()


HOSTILE = "\"'><script>alert(1)</script>"


def test_hostile_stored_values_are_escaped(as_admin: Client) -> None:
    SmtpIntegration.objects.create(
        connected=True,
        address=HOSTILE,
        user_name=HOSTILE,
        domain=HOSTILE,
        default_from=HOSTILE,
        connected_by=HOSTILE,
        ca_certificates=f"</textarea>{HOSTILE}",
    )
    SendGridIntegration.objects.create(connected=True, base_url=HOSTILE, default_from=HOSTILE)
    for page in PAGES:
        answer = as_admin.get(page)
        assert "<script>" not in answer.content.decode()
        assert HOSTILE in text_of(answer)


def test_a_hostile_server_is_escaped_too(as_admin: Client, relay: FakeRelay, entered: dict[str, str]) -> None:
    relay.replies = {"CONNECT": f"554 {HOSTILE}"}
    answer = as_admin.post(SMTP, entered | {"default_from": f"{HOSTILE} <a@b.test>"})
    assert "<script>" not in answer.content.decode()
    answer = as_admin.post(SMTP, entered)
    assert HOSTILE in text_of(answer)
    assert "<script>" not in answer.content.decode()


# A lost key


def test_an_unreadable_row_breaks_neither_the_catalogue_nor_the_form(
    as_admin: Client, smtp: SmtpIntegration, entered: dict[str, str]
) -> None:
    lose_key_of(smtp, "address", "user_name", "password")
    hint = "The stored Address of SMTP cannot be decrypted. Put the key that it was saved with back into FERNET_KEYS"
    catalogue, form = as_admin.get(CATALOGUE), as_admin.get(SMTP)
    assert (catalogue.status_code, form.status_code) == (200, 200)
    assert hint in text_of(catalogue)
    assert "Disconnect</a>" in text_of(catalogue)
    assert hint in text_of(form)
    assert as_admin.post(SMTP, entered).status_code == 302
    assert SmtpIntegration.objects.get().password == "right horse"
    assert hint not in text_of(as_admin.get(SMTP))


def test_an_unreadable_row_can_be_disconnected(as_admin: Client, sendgrid: SendGridIntegration) -> None:
    lose_key_of(sendgrid, "api_key")
    assert as_admin.post(DISCONNECT[1]).status_code == 302
    assert not stored.is_connected("sendgrid")
    assert as_admin.get(SENDGRID).status_code == 200
