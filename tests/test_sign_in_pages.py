"""The first admin, a new password, a forgotten one."""

from __future__ import annotations

import re
import stat
from datetime import UTC, datetime, timedelta
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from integrations import people
from integrations.models import AuditEvent, LinkRequest
from integrations.people import Role
from rootmail import first_start
from rootmail.management.commands.up import Command

pytestmark = pytest.mark.django_db

FIRST = "/first-admin/"
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
PASSWORD = "blue pelican 42"


def text_of(answer: Any) -> str:
    return unescape(answer.content.decode())


def recorded() -> list[tuple[str, str, Any]]:
    found = AuditEvent.objects.exclude(action="signed in").order_by("pk")
    return [(event.actor, event.action, event.details) for event in found]


# The first admin


@pytest.fixture
def folder(settings: Any, tmp_path: Path) -> Path:
    settings.ROOTMAIL_VAR = tmp_path
    return tmp_path


@pytest.fixture
def entered(folder: Path) -> dict[str, str]:
    token = first_start.token()
    new = {"password1": PASSWORD, "password2": PASSWORD}
    return {"token": token, "username": "grace", "email": "grace@example.com", **new}


def test_makes_the_first_admin_once(client: Client, folder: Path, entered: dict[str, str]) -> None:
    assert stat.S_IMODE((folder / "first_admin_token").stat().st_mode) == 0o600
    assert client.get("/login/")["Location"] == FIRST
    assert client.get(FIRST).status_code == 200
    assert entered["token"] not in text_of(client.get(FIRST))
    answer = client.post(FIRST, entered, follow=True)
    assert answer.redirect_chain == [("/configuration/integrations/", 302)]
    person = User.objects.get()
    assert (person.username, person.email, people.role_of(person)) == ("grace", "grace@example.com", Role.ADMIN)
    assert person.check_password(PASSWORD)
    assert not (folder / "first_admin_token").exists()
    assert recorded() == [("grace", "first admin created", {})]
    for visitor in (client, Client()):
        assert visitor.get(FIRST).status_code == 404
        assert visitor.post(FIRST, entered | {"username": "eve"}).status_code == 404
    assert Client().get("/login/").status_code == 200


@pytest.mark.parametrize("token", ["", "wrong", "é", "\u0000", "first_admin_token"])
def test_without_the_token_nobody_is_made(client: Client, entered: dict[str, str], token: str) -> None:
    answer = client.post(FIRST, entered | {"token": token})
    assert answer.status_code == 422
    assert PASSWORD not in text_of(answer)
    assert entered["token"] not in text_of(answer)
    assert User.objects.count() == 0


def test_where_no_token_was_made_none_is_right(client: Client, folder: Path, entered: dict[str, str]) -> None:
    (folder / "first_admin_token").unlink()
    assert client.post(FIRST, entered).status_code == 422
    assert not first_start.is_right("")
    assert not (folder / "first_admin_token").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"password1": "short", "password2": "short"},
        {"password2": "another pelican 43"},
        {"username": "two words"},
        {"email": "nobody"},
    ],
)
def test_a_mistake_costs_no_token(client: Client, entered: dict[str, str], wrong: dict[str, str]) -> None:
    assert client.post(FIRST, entered | wrong).status_code == 422
    assert User.objects.count() == 0
    assert client.post(FIRST, entered).status_code == 302


def test_somebody_who_was_quicker_is_the_first(
    client: Client, entered: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def quicker(*_: Any, **__: Any) -> None:
        raise people.AlreadyThere

    monkeypatch.setattr(people, "create_first_admin", quicker)
    assert client.post(FIRST, entered).status_code == 404


def test_up_prints_the_token_until_there_is_an_account(folder: Path) -> None:
    said = StringIO()
    command = Command(stdout=said)
    command._tell_how_to_begin("http://site.test")
    token = first_start.token()
    assert said.getvalue() == f"Make the first account at http://site.test/first-admin/ with the token {token}\n"
    User.objects.create_user("ada")
    command._tell_how_to_begin("http://site.test")
    assert not (folder / "first_admin_token").exists()
    assert said.getvalue().count("\n") == 1


# Passwords


def test_a_changed_password_ends_every_other_session(client: Client, admin: User) -> None:
    client.force_login(admin)
    other = Client()
    other.force_login(admin)
    new = {"old_password": "a password for ada", "new_password1": PASSWORD, "new_password2": PASSWORD}
    answer = client.post("/password/", new, follow=True)
    assert answer.redirect_chain == [("/", 302)]
    assert "Your password is changed." in text_of(answer)
    assert other.get("/").status_code == 302
    assert recorded() == [("ada", "password changed", {"by": "password"})]
    assert PASSWORD not in str(recorded())


@pytest.mark.parametrize(
    "wrong", [{"old_password": "x"}, {"new_password2": "x"}, {"new_password1": "ada", "new_password2": "ada"}]
)
def test_a_password_is_not_changed_without_the_old_one_or_to_a_bad_one(
    client: Client, admin: User, wrong: dict[str, str]
) -> None:
    client.force_login(admin)
    new = {"old_password": "a password for ada", "new_password1": PASSWORD, "new_password2": PASSWORD}
    answer = client.post("/password/", new | wrong)
    assert answer.status_code == 200
    assert PASSWORD not in text_of(answer)
    assert User.objects.get().check_password("a password for ada")
    assert [action for _, action, _ in recorded()] == ["wrong password"] * ("old_password" in wrong)


def test_a_forgotten_password_is_set_anew_and_ends_the_lock(client: Client, team: dict[str, User]) -> None:
    wrong = {"username": "editor", "password": "forgotten"}
    assert [client.post("/login/", wrong).status_code for _ in range(5)][-1] == 429
    client.post("/password/forgotten/", {"email": "editor@example.com"})
    link = re.search(r"/password/set/\S+", str(mail.outbox[0].body))
    assert link
    form = client.get(link[0], follow=True).redirect_chain[0][0]
    assert client.post(form, {"new_password1": PASSWORD, "new_password2": PASSWORD})["Location"] == "/login/"
    assert client.post("/login/", {"username": "editor", "password": PASSWORD}).status_code == 302
    assert ("editor", "password changed", {"by": "link"}) in recorded()
    assert PASSWORD not in str(recorded())


@pytest.mark.parametrize("address", ["editor@example.com", "nobody@example.com"])
def test_the_answer_is_the_same_whether_the_address_is_known_or_not(
    client: Client, team: dict[str, User], address: str
) -> None:
    answer = client.post("/password/forgotten/", {"email": address})
    assert answer.status_code == 200
    assert "If an account has this address, a link to set a password is on its way to it." in text_of(answer)
    assert address not in text_of(answer)
    assert len(mail.outbox) == (address == "editor@example.com")


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Whom a worker is rung for."""
    numbers: list[Any] = []
    monkeypatch.setattr(people.tasks.send_password_link, "apply_async", lambda args, **_: numbers.extend(args))
    return numbers


def ask(client: Client, *, address: str = "nobody@example.com", **extra: Any) -> str:
    answer = client.post("/password/forgotten/", {"email": address}, **extra)
    assert answer.status_code == 200
    return re.sub(r".*csrfmiddlewaretoken.*", "", text_of(answer))


def test_one_client_address_asks_ten_times_in_ten_minutes(
    client: Client, team: dict[str, User], rung: list[Any]
) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        for number in range(10):
            said = ask(client, address=f"{number}@example.com")
            clock.shift(timedelta(seconds=30))
        assert rung == [0] * 10
        assert {ask(client, address="editor@example.com") for _ in range(3)} == {said}, "nobody can tell"
        assert rung == [0] * 10
        assert recorded() == [("unknown name", "password links asked for too often", {"address": "127.0.0.1"})]
        ask(client, REMOTE_ADDR="192.0.2.7", address="editor@example.com")
        assert rung[10:] == [team["Editor"].pk], "other people are not affected"
        clock.shift(timedelta(minutes=5, seconds=1))
        ask(client)
        assert len(rung) == 12, "the first of the ten is older than ten minutes, and those in vain were not counted"


def test_each_window_has_one_entry_and_what_is_counted_no_more_is_forgotten(client: Client, rung: list[Any]) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        for _ in range(2):
            for _ in range(15):
                ask(client)
            clock.shift(timedelta(minutes=10, seconds=1))
        assert (len(rung), len(recorded())) == (20, 2)
        ask(client)
        assert LinkRequest.objects.count() == 1


@pytest.mark.usefixtures("rung")
def test_the_limit_counts_like_the_lock(client: Client, settings: Any) -> None:
    settings.BEHIND_PROXY = True
    for number in range(11):
        ask(client, headers={"X-Forwarded-For": f"198.51.100.9, 2001:db8:1:2::{number + 1}"})
    assert recorded()[0][2] == {"address": "2001:db8:1:2::"}
    for _ in range(11):
        ask(client, REMOTE_ADDR="")
    assert recorded()[1][2] == {"address": ""}


def test_what_is_no_address_is_not_counted(client: Client, rung: list[Any]) -> None:
    for _ in range(11):
        assert client.post("/password/forgotten/", {"email": "nobody"}).status_code == 422
    assert LinkRequest.objects.count() == 0


def test_the_link_leads_to_our_site_whatever_host_a_request_claims(
    client: Client, team: dict[str, User], settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    client.post("/password/forgotten/", {"email": "editor@example.com"}, headers={"Host": "evil.test"})
    assert "evil.test" not in str(mail.outbox[0].body)
    assert "http://127.0.0.1:8000/password/set/" in str(mail.outbox[0].body)


def test_a_link_is_good_once_and_not_for_ever(client: Client, team: dict[str, User], settings: Any) -> None:
    client.post("/password/forgotten/", {"email": "editor@example.com"})
    link = re.search(r"/password/set/\S+", str(mail.outbox[0].body))
    assert link
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert "used already, or is too old" in text_of(client.get(link[0], follow=True))
