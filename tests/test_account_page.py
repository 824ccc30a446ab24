"""One's own account: the address, the password, and what wrong passwords lead to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth.models import User
from django.test import Client

from integrations import links
from integrations.models import AuditEvent, PasswordLink

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ACCOUNT, CHANGE = "/account/", "/password/"
RIGHT = "a password of Viewer"
NEW = "blue pelican 42"
WHERE = {"address": "127.0.0.1"}
ASKED = {
    ACCOUNT: {"email": "new@example.com", "password": RIGHT},
    CHANGE: {"old_password": RIGHT, "new_password1": NEW, "new_password2": NEW},
}
WRONG = {
    ACCOUNT: ASKED[ACCOUNT] | {"password": "a wrong horse"},
    CHANGE: ASKED[CHANGE] | {"old_password": "a wrong horse"},
}
REFUSED = {ACCOUNT: 422, CHANGE: 200}


@pytest.fixture
def viewer(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Viewer"])
    return client


def text_of(answer: Any) -> str:
    return unescape(answer.content.decode())


def recorded() -> list[tuple[str, str, Any]]:
    found = AuditEvent.objects.exclude(action="signed in").order_by("pk")
    return [(event.actor, event.action, event.details) for event in found]


def address_of(name: str = "viewer") -> str:
    return User.objects.get(username=name).email


# The address


def test_changes_the_address_with_the_password(viewer: Client, team: dict[str, User]) -> None:
    assert 'value="viewer@example.com"' in text_of(viewer.get(ACCOUNT))
    links.make(team["Viewer"], seconds=60)
    answer = viewer.post(ACCOUNT, ASKED[ACCOUNT] | {"email": "New@EXAMPLE.com"}, follow=True)
    assert answer.redirect_chain == [(ACCOUNT, 302)]
    assert "Your e-mail address is New@example.com now." in text_of(answer)
    assert (address_of(), PasswordLink.objects.count()) == ("New@example.com", 0)
    assert recorded() == [("viewer", "e-mail changed", {"name": "viewer"})]


def test_the_same_address_again_is_no_change(viewer: Client) -> None:
    answer = viewer.post(ACCOUNT, ASKED[ACCOUNT] | {"email": "viewer@example.com"}, follow=True)
    assert "That is your address already." in text_of(answer)
    assert recorded() == []


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"password": "a wrong horse"}, "password", "This is not your password."),
        ({"password": ""}, "password", "This field is required."),
        ({"email": "EDITOR@example.com"}, "email", "Another account has this address."),
        ({"email": "nobody"}, "email", "Enter a valid email address."),
        ({"email": ""}, "email", "This field is required."),
        ({"email": f"{'x' * 250}@example.com"}, "email", "at most 254 characters"),
        ({"email": 'a"><script>alert(1)</script>@example.com'}, "email", "Enter a valid email address."),
    ],
)
def test_what_is_wrong_stands_beside_its_field(viewer: Client, wrong: dict[str, str], field: str, said: str) -> None:
    answer = viewer.post(ACCOUNT, ASKED[ACCOUNT] | wrong)
    assert answer.status_code == 422
    beside = text_of(answer).partition(f'id="id_{field}_error"')[2].partition("</p>")[0]
    assert said in beside
    assert RIGHT not in text_of(answer)
    assert "<script>alert" not in answer.content.decode()
    assert address_of() == "viewer@example.com"


def test_the_address_of_a_deactivated_account_is_free(viewer: Client, team: dict[str, User]) -> None:
    User.objects.filter(username="editor").update(is_active=False)
    assert viewer.post(ACCOUNT, ASKED[ACCOUNT] | {"email": "editor@example.com"}).status_code == 302


def test_a_change_of_the_address_ends_no_session(viewer: Client, team: dict[str, User]) -> None:
    viewer.post(ACCOUNT, ASKED[ACCOUNT])
    assert viewer.get(ACCOUNT).status_code == 200


def test_the_name_above_each_page_leads_here(viewer: Client) -> None:
    assert f'<a class="who" href="{ACCOUNT}"' in text_of(viewer.get("/"))
    assert f'href="{CHANGE}"' in text_of(viewer.get(ACCOUNT))


# Wrong passwords


@pytest.mark.parametrize("page", [ACCOUNT, CHANGE])
def test_wrong_passwords_lock_like_failed_log_ins(viewer: Client, page: str) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        answers = [viewer.post(page, WRONG[page]).status_code for _ in range(5)]
        assert answers == [REFUSED[page]] * 4 + [429]
        clock.shift(timedelta(minutes=5))
        answer = viewer.post(page, ASKED[page])
        assert (answer.status_code, answer["Retry-After"]) == (429, "600")
        assert "<b>10:15:00</b> (UTC)" in text_of(answer)
        assert "no-store" in answer["Cache-Control"]
        assert (address_of(), User.objects.get(username="viewer").check_password(RIGHT)) == ("viewer@example.com", True)
        assert recorded() == [("viewer", "wrong password", WHERE)] * 5 + [("viewer", "locked out", WHERE)]
        log_in = {"username": "viewer", "password": RIGHT}
        assert Client().post("/login/", log_in).status_code == 429, "one count for all of them"
        assert viewer.get(page).status_code == 200, "what is open stays open"
        clock.shift(timedelta(minutes=10, seconds=1))
        assert viewer.post(page, ASKED[page]).status_code == 302


def test_the_pages_and_the_log_in_count_together(viewer: Client) -> None:
    stranger = Client()
    assert [stranger.post("/login/", {"username": "viewer", "password": "x"}).status_code for _ in range(2)] == [
        200
    ] * 2
    assert [viewer.post(page, WRONG[page]).status_code for page in (ACCOUNT, CHANGE, CHANGE)] == [422, 200, 429]


@pytest.mark.parametrize("page", [ACCOUNT, CHANGE])
def test_a_right_password_starts_the_count_anew(viewer: Client, page: str) -> None:
    assert [viewer.post(page, WRONG[page]).status_code for _ in range(4)] == [REFUSED[page]] * 4
    assert viewer.post(page, ASKED[page]).status_code == 302
    assert AccessAttempt.objects.count() == 0


def test_a_blank_password_is_no_try(viewer: Client) -> None:
    viewer.post(ACCOUNT, ASKED[ACCOUNT] | {"password": ""})
    viewer.post(CHANGE, ASKED[CHANGE] | {"old_password": ""})
    assert (AccessAttempt.objects.count(), recorded()) == (0, [])


def test_what_was_typed_is_kept_nowhere(viewer: Client, caplog: Any) -> None:
    """django-axes keeps the fields of a failed form but for those that it is told of."""
    for page in (ACCOUNT, CHANGE):
        for _ in range(2):
            viewer.post(page, WRONG[page])
    kept = str(list(AccessAttempt.objects.values())) + str(list(AuditEvent.objects.values())) + caplog.text
    assert [word for word in ("wrong horse", NEW, "new@example.com") if word in kept] == []
