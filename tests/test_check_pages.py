"""The form's helpers: the check before the admin's eyes, corrections, Detect, the mode in words, test mails."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from integrations import detection, errands, jobs, trials
from integrations.models import AuditEvent, Errand, SmtpIntegration

from .damage import lose_key_of
from .fake_relay import FakeRelay, authority_pem
from .test_integration_pages import SMTP, control, entered, error_beside, text_of

__all__ = ["entered"]  # a fixture
pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


def begin(client: Client, entered: dict[str, str], **changes: str) -> Any:
    return client.post(f"{SMTP}check/", entered | changes, headers=HTMX)


def errand_in(answer: Any) -> uuid.UUID:
    found = re.search(rf'hx-get="{SMTP}check/([0-9a-f-]+)/\?connect"', text_of(answer))
    assert found, text_of(answer)
    return uuid.UUID(found[1])


# The check before the admin's eyes


def test_the_check_runs_once_and_then_its_finding_counts(
    as_admin: Client, relay: FakeRelay, entered: dict[str, str]
) -> None:
    number = errand_in(begin(as_admin, entered))
    over = as_admin.get(f"{SMTP}check/{number}/?connect", headers=HTMX)
    assert f'hx-vals=\'{{"proof": "{number}"}}\'' in text_of(over)
    assert "235 2.7.0 welcome" in text_of(over)
    asked = len(relay.transcript)
    answer = as_admin.post(SMTP, entered | {"proof": str(number)}, headers=HTMX)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (200, "/configuration/integrations/")
    assert len(relay.transcript) == asked, "nothing is checked again"
    assert SmtpIntegration.objects.get().password == "right horse"
    assert AuditEvent.objects.get(action="smtp connected").details["checked"] is True


@pytest.mark.parametrize(
    "change",
    [{"password": "right horse "}, {"port": "587"}, {"default_from": "other@example.com"}, {"domain": "me.test"}],
)
def test_what_was_found_for_other_values_counts_for_nothing(
    as_admin: Client, relay: FakeRelay, entered: dict[str, str], change: dict[str, str]
) -> None:
    number = errand_in(begin(as_admin, entered))
    asked = relay.connections
    as_admin.post(SMTP, entered | change | {"proof": str(number)}, headers=HTMX)
    assert relay.connections > asked or change == {"port": "587"}
    assert SmtpIntegration.objects.filter(port=587).count() == 0


def test_what_was_found_for_somebody_else_or_long_ago_counts_for_nothing(
    as_admin: Client, relay: FakeRelay, entered: dict[str, str]
) -> None:
    number = errand_in(begin(as_admin, entered))
    Errand.objects.update(asked_by="bob")
    assert as_admin.get(f"{SMTP}check/{number}/", headers=HTMX).status_code == 404
    asked = relay.connections
    as_admin.post(SMTP, entered | {"proof": str(number)}, headers=HTMX)
    assert relay.connections == asked + 1
    Errand.objects.update(asked_by="ada", finished_at=timezone.now() - timedelta(minutes=6))
    as_admin.post(SMTP, entered | {"proof": str(number)}, headers=HTMX)
    assert relay.connections == asked + 2


def test_a_failure_stands_at_its_step_and_at_its_field(
    as_admin: Client, relay: FakeRelay, entered: dict[str, str]
) -> None:
    wrong = entered | {"password": "wrong horse"}
    number = errand_in(begin(as_admin, wrong))
    answer = as_admin.post(SMTP, wrong | {"proof": str(number)}, headers=HTMX)
    text = text_of(answer)
    assert answer.status_code == 200
    assert '<tr class="bad">' in text
    assert "535 5.7.8 credentials invalid" in text
    assert error_beside(answer, "password").startswith("The relay refused the credentials")
    assert "Connect anyway" in text
    assert "wrong horse" not in text
    assert [line for line in relay.transcript if line.startswith("AUTH")] == ["AUTH PLAIN AHVzZXIAd3JvbmcgaG9yc2U="]
    assert SmtpIntegration.objects.count() == 0


def test_while_it_runs_the_steps_are_shown_and_asked_for_again(
    as_admin: Client, relay: FakeRelay, entered: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands.tasks.run_errand, "apply_async", lambda *_, **__: None)
    number = errand_in(begin(as_admin, entered))
    steps = [{"name": "resolve", "ok": True, "milliseconds": 3, "said": "", "detail": "127.0.0.1"}]
    Errand.objects.update(taken_at=timezone.now(), report=json.dumps({"steps": steps}))
    answer = as_admin.get(f"{SMTP}check/{number}/?connect", headers=HTMX)
    assert errand_in(answer) == number
    assert "resolve" in text_of(answer)
    assert 'aria-busy="true"' in text_of(answer)
    whole = as_admin.get(f"{SMTP}check/{number}/")
    assert "<html" in text_of(whole)
    jobs.carry_out(str(number))  # taken: nothing happens
    assert relay.transcript == []


def test_where_no_worker_takes_it_that_is_said(
    as_admin: Client, entered: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errands.tasks.run_errand, "apply_async", lambda *_, **__: None)
    monkeypatch.setattr(errands.current_app.control, "ping", lambda **_: [])
    number = errand_in(begin(as_admin, entered))
    Errand.objects.update(asked_at=timezone.now() - timedelta(seconds=11))
    answer = as_admin.get(f"{SMTP}check/{number}/?connect", headers=HTMX)
    assert errands.NO_WORKER in text_of(answer)
    assert "Connect anyway" in text_of(answer)


def test_values_that_cannot_be_are_refused_before_anything_runs(
    as_admin: Client, relay: FakeRelay, entered: dict[str, str]
) -> None:
    answer = begin(as_admin, entered, address="smtp://relay")
    assert "without port, path or 'smtp://'" in error_beside(answer, "address")
    assert "exclude each other" in error_beside(begin(as_admin, entered, enable_starttls="on", ssl="on"), "ssl")
    assert (Errand.objects.count(), relay.transcript) == (0, [])
    assert "right horse" not in text_of(answer)


def test_a_check_that_met_a_defect_proves_nothing(as_admin: Client, relay: FakeRelay, entered: dict[str, str]) -> None:
    number = errand_in(begin(as_admin, entered))
    Errand.objects.update(report=json.dumps({"defect": True}))
    asked = relay.connections
    as_admin.post(SMTP, entered | {"proof": str(number)}, headers=HTMX)
    assert relay.connections == asked + 1, "it is checked again"


@pytest.mark.parametrize("by", ["the switch", "the button"])
def test_connect_anyway_connects_without_a_check(
    as_admin: Client, relay: FakeRelay, entered: dict[str, str], by: str
) -> None:
    if by == "the switch":  # then the form's own button asks for a check
        answer = text_of(begin(as_admin, entered, skip_check="on"))
        assert f'hx-post="{SMTP}" hx-include="#integration-form" hx-trigger="load"' in answer
        assert Errand.objects.count() == 0
    answer = as_admin.post(SMTP, entered | {"skip_check": "on"}, headers=HTMX)
    assert answer.headers["HX-Redirect"] == "/configuration/integrations/"
    assert (relay.transcript, SmtpIntegration.objects.count()) == ([], 1)


def test_a_button_that_stood_for_the_switch_leaves_it_alone(as_admin: Client, entered: dict[str, str]) -> None:
    answer = as_admin.post(SMTP, entered | {"skip_check": "on", "port": "0"}, headers=HTMX)
    assert 'id="field-port"' in text_of(answer)
    assert 'id="field-skip_check"' not in text_of(answer)


def test_an_expired_session_leads_to_the_log_in_and_back(client: Client, entered: dict[str, str]) -> None:
    shown = {"HX-Current-URL": f"http://testserver{SMTP}?x=1"}
    answer = client.get(f"{SMTP}check/{uuid.UUID(int=1)}/?connect", headers=HTMX | shown)
    assert answer.headers["HX-Redirect"] == f"/login/?next={SMTP}"
    answer = client.post(f"{SMTP}check/", entered, headers=HTMX | shown)
    assert (answer.status_code, dict(answer.headers).get("HX-Redirect")) == (401, None), (
        "the form stays, as it was typed"
    )
    assert client.post(f"{SMTP}check/", entered).headers["Location"] == f"/login/?next={SMTP}"


def test_a_check_of_what_cannot_be_read_says_so(as_admin: Client, smtp: SmtpIntegration) -> None:
    lose_key_of(smtp, "password")
    answer = as_admin.post(f"{SMTP}check/", {"stored": "1"})
    assert "cannot be decrypted" in text_of(answer)


# Corrections


@pytest.fixture
def starttls() -> Any:
    with FakeRelay(tls="starttls", user="user", password="right horse") as server:
        yield server


def test_a_correction_is_one_click(as_admin: Client, starttls: FakeRelay, entered: dict[str, str]) -> None:
    typed = entered | {"port": str(starttls.port), "ssl": "on"}
    number = errand_in(begin(as_admin, typed))
    failed = text_of(as_admin.post(SMTP, typed | {"proof": str(number)}, headers=HTMX))
    assert ">Turn on StartTLS, turn off SSL, and try again</button>" in failed
    found = re.search(r'name="proposal" value="([^"]*)"', failed.replace("&quot;", '"').replace('value="{', "value='{"))
    proposal = {"ssl": False, "enable_starttls": True}
    assert found is None or json.loads(found[1]) == proposal
    answer = as_admin.post(f"{SMTP}apply/", typed | {"proposal": json.dumps(proposal)}, headers=HTMX)
    assert 'id="field-ssl" hx-swap-oob="true"' in text_of(answer)
    assert "checked" not in control(answer, "ssl")
    assert "checked" in control(answer, "enable_starttls")
    assert 'name="password"' not in text_of(answer), "what was typed there stays there"
    corrected = {**typed, "enable_starttls": "on", "proof": str(errand_in(answer))}
    corrected.pop("ssl")
    assert "HX-Redirect" in as_admin.post(SMTP, corrected, headers=HTMX).headers
    assert SmtpIntegration.objects.get().enable_starttls


def test_without_script_a_correction_fills_the_form_in_and_saves_nothing(
    as_admin: Client, starttls: FakeRelay, entered: dict[str, str]
) -> None:
    typed = entered | {"port": str(starttls.port), "ssl": "on"}
    proposal = json.dumps({"ssl": False, "enable_starttls": True, "port": 2525})
    answer = as_admin.post(f"{SMTP}apply/", typed | {"proposal": proposal})
    assert answer.status_code == 200
    assert "checked" not in control(answer, "ssl")
    assert "checked" in control(answer, "enable_starttls")
    assert 'value="2525"' in control(answer, "port")
    assert 'value="127.0.0.1"' in control(answer, "address")
    assert "right horse" not in text_of(answer)
    assert "Enter the password again" in text_of(answer)
    assert (starttls.transcript, SmtpIntegration.objects.count()) == ([], 0)


@pytest.mark.parametrize("proposal", ["", "[]", "null", '{"connected": true}', '{"password_hash": 1}', "{"])
def test_what_is_no_proposal_is_refused(as_admin: Client, entered: dict[str, str], proposal: str) -> None:
    assert as_admin.post(f"{SMTP}apply/", entered | {"proposal": proposal}).status_code == 400


# Detect


@pytest.mark.parametrize("headers", [HTMX, {}], ids=["with script", "without"])
def test_detect_fills_the_form_in_and_marks_what_it_changed(
    as_admin: Client, entered: dict[str, str], monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    with FakeRelay(tls="starttls", user="user", password="right horse", mechanisms=("LOGIN",)) as relay:
        monkeypatch.setattr(detection, "PORTS", (relay.port,))
        typed = entered | {"address": "localhost", "port": "587", "ssl": "on", "ca_certificates": authority_pem()}
        answer = as_admin.post(f"{SMTP}detect/", typed, headers=headers)
    assert answer.status_code == 200
    assert f'value="{relay.port}"' in control(answer, "port")
    assert "changed" in control(answer, "port")
    assert "changed" not in control(answer, "enable_starttls_auto")
    text = text_of(answer)
    assert "Changed by Detect settings. The relay offers LOGIN." in text
    assert '<option value="login" selected>' in text
    assert '<option value="peer" selected>' in text
    assert "right horse" not in text
    assert ('name="password"' in text) is (not headers)
    assert SmtpIntegration.objects.count() == 0


def test_detect_says_what_is_wrong_with_the_name(as_admin: Client, entered: dict[str, str]) -> None:
    answer = as_admin.post(f"{SMTP}detect/", entered | {"address": "smtp://relay"}, headers=HTMX)
    assert "without port, path or 'smtp://'" in error_beside(answer, "address")
    nothing = as_admin.post(f"{SMTP}detect/", entered | {"address": "no.such.host.invalid"})
    assert "no.such.host.invalid" in text_of(nothing)


@pytest.mark.parametrize("headers", [HTMX, {}], ids=["with script", "without"])
def test_detect_says_so_where_nobody_does_it(
    as_admin: Client, entered: dict[str, str], monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    def fall(*_: Any, **__: Any) -> None:
        raise OSError("connection refused")

    monkeypatch.setattr(errands.tasks.run_errand, "apply_async", fall)
    answer = as_admin.post(f"{SMTP}detect/", entered, headers=headers)
    assert answer.status_code == 200
    assert errands.NO_BROKER in text_of(answer)
    if not headers:
        assert f'value="{entered["port"]}"' in control(answer, "port")


# The mode in words


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ssl": "on", "port": "587"}, ["implicit TLS", "Port 587 usually begins in clear text"]),
        ({"ssl": "on", "port": "465"}, ["implicit TLS"]),
        ({"enable_starttls": "on", "port": "465"}, ["STARTTLS required", "Port 465 usually expects TLS"]),
        ({"enable_starttls": "on", "port": "587"}, ["STARTTLS required"]),
        ({"enable_starttls_auto": "on", "port": "25"}, ["STARTTLS if offered", "Somebody on the way could read"]),
        ({"port": "25"}, ["clear text: not encrypted", "Somebody on the way could read"]),
        ({"ssl": "on", "enable_starttls": "on", "port": ""}, ["exclude each other"]),
    ],
)
def test_the_mode_is_told_in_words(as_admin: Client, values: dict[str, str], words: list[str]) -> None:
    text = text_of(as_admin.post(f"{SMTP}mode/", values, headers=HTMX))
    assert [word for word in words if word not in text] == []
    assert ("mode-warning" in text) is (len(words) > 1)


# Cards


def test_a_stored_integration_is_checked_on_a_page_of_its_own(
    as_admin: Client, smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    answer = as_admin.post(f"{SMTP}check/", {"stored": "1"}, follow=True)
    text = text_of(answer)
    assert "235 2.7.0 welcome" in text
    assert "Everything is fine." in text
    assert "Connect anyway" not in text
    assert "hx-post" not in text


def test_what_is_not_connected_is_not_checked(as_admin: Client) -> None:
    assert "SMTP is not connected" in text_of(as_admin.post(f"{SMTP}check/", {"stored": "1"}))


def test_a_test_mail_from_the_page(as_admin: Client, admin: User, smtp: SmtpIntegration, relay: FakeRelay) -> None:
    User.objects.update(email="ada@example.com")
    assert 'value="ada@example.com"' in control(as_admin.get(f"{SMTP}test/"), "to")
    text = text_of(as_admin.post(f"{SMTP}test/", {"to": "eve@x.test"}))
    assert "Accepted for eve@x.test." in text
    assert "250 2.0.0 queued as 1" in text
    assert "Accepted is not delivered" in text
    relay.replies = {"RCPT": "550 5.1.1 no such user"}
    assert "550 5.1.1 no such user" in text_of(as_admin.post(f"{SMTP}test/", {"to": "eve@x.test"}))
    for _ in range(trials.TEST_MAILS):
        last = as_admin.post(f"{SMTP}test/", {"to": "eve@x.test"})
    assert "5 test mails in 10 minutes are enough." in error_beside(last, "to")
    assert as_admin.get("/configuration/integrations/fax/test/").status_code == 404


# Who may


@pytest.mark.parametrize("path", ["check/", "apply/", "detect/", "mode/", "test/", f"check/{uuid.UUID(int=7)}/"])
def test_only_admins_may(client: Client, member: User, path: str) -> None:
    method = client.get if path.startswith("check/") and path != "check/" else client.post
    assert method(f"{SMTP}{path}").status_code == 302
    client.force_login(member)
    assert method(f"{SMTP}{path}").status_code == 403
    member.user_permissions.add(Permission.objects.get(codename="manage_integrations"))
    assert method(f"{SMTP}{path}").status_code not in (302, 403)


@pytest.mark.parametrize("path", ["check/", "apply/", "detect/", "mode/"])
def test_changes_want_post_and_a_csrf_token(admin: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    assert client.get(f"{SMTP}{path}").status_code == 405
    assert client.post(f"{SMTP}{path}").status_code == 403
    assert as_not_found(client, f"/configuration/integrations/fax/{path}")


def as_not_found(client: Client, path: str) -> bool:
    return client.get(path).status_code in (404, 405)
