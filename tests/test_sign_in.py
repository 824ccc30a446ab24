"""The door: log-in, the lock after failures, what the audit log keeps of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client, RequestFactory
from django.utils import timezone

from integrations import sign_in, tasks
from integrations.models import AuditEvent

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
RIGHT = {"username": "ada", "password": "a password for ada"}
WRONG = RIGHT | {"password": "a wrong horse"}


def recorded() -> list[tuple[str, str, Any]]:
    return [(event.actor, event.action, event.details) for event in AuditEvent.objects.order_by("pk")]


def fail(client: Client, times: int, values: dict[str, str] = WRONG, **extra: Any) -> list[int]:
    return [client.post("/login/", values, **extra).status_code for _ in range(times)]


def test_sign_in_and_sign_out_are_recorded(client: Client, admin: User) -> None:
    assert client.post("/login/", RIGHT).status_code == 302
    client.post("/logout/")
    where = {"address": "127.0.0.1"}
    assert recorded() == [("ada", "signed in", where), ("ada", "signed out", where)]


def test_a_log_in_makes_a_new_session(client: Client, admin: User) -> None:
    client.cookies["sessionid"] = "a-key-that-somebody-else-knows00"
    client.post("/login/", RIGHT)
    assert client.cookies["sessionid"].value != "a-key-that-somebody-else-knows00"
    assert (client.cookies["sessionid"]["httponly"], client.cookies["sessionid"]["samesite"]) == (True, "Lax")
    assert client.cookies["sessionid"]["max-age"] == 12 * 3600


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:alert(1)", "http:///evil.test"]
)
def test_a_log_in_leads_to_no_other_site(client: Client, admin: User, elsewhere: str) -> None:
    assert client.post("/login/", RIGHT | {"next": elsewhere})["Location"] == "/"
    assert client.get("/login/", {"next": elsewhere})["Location"] == "/"


def test_a_log_in_leads_back_to_the_page_that_was_asked_for(client: Client, admin: User) -> None:
    assert client.post("/login/", RIGHT | {"next": "/configuration/people/"})["Location"] == "/configuration/people/"


def test_the_sixth_try_is_refused_with_the_time_when_it_may_be_repeated(client: Client, admin: User) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        assert fail(client, 5) == [200, 200, 200, 200, 429]
        clock.shift(timedelta(minutes=5))
        answer = client.post("/login/", RIGHT)
        assert (answer.status_code, answer["Retry-After"]) == (429, "600")
        assert "locked until" in answer.content.decode()
        assert "<b>10:15:00</b> (UTC)" in answer.content.decode()
        assert "no-store" in answer["Cache-Control"]
        clock.shift(timedelta(minutes=9, seconds=59))
        assert client.post("/login/", RIGHT).status_code == 429
        clock.shift(timedelta(seconds=2))
        assert client.post("/login/", RIGHT).status_code == 302, "trying meanwhile has not made it longer"


def test_the_lock_concerns_this_name_from_this_address(client: Client, admin: User, member: User) -> None:
    fail(client, 5)
    assert client.post("/login/", RIGHT).status_code == 429
    assert client.post("/login/", RIGHT, HTTP_USER_AGENT="another browser").status_code == 429
    assert client.post("/login/", RIGHT, REMOTE_ADDR="192.0.2.7").status_code == 302
    assert Client().post("/login/", {"username": "max", "password": "a password for max"}).status_code == 302


def test_a_success_starts_the_count_anew(client: Client, admin: User) -> None:
    for _ in range(3):
        assert fail(client, 4) == [200] * 4
        assert client.post("/login/", RIGHT).status_code == 302
        client.post("/logout/")


def test_failures_and_the_lock_are_recorded_and_what_follows_is_not(client: Client, admin: User) -> None:
    fail(client, 30)
    where = {"address": "127.0.0.1"}
    assert recorded() == [("ada", "sign-in failed", where)] * 5 + [("ada", "locked out", where)]


@pytest.mark.parametrize("typed", ["correct horse battery", "ADA", "ada "])
def test_a_name_that_nobody_has_is_kept_nowhere(client: Client, admin: User, typed: str, caplog: Any) -> None:
    client.post("/login/", {"username": typed + "!", "password": "another secret"})
    assert recorded() == [("unknown name", "sign-in failed", {"address": "127.0.0.1"})]
    kept = str(list(AccessAttempt.objects.values())) + str(list(AuditEvent.objects.values())) + caplog.text
    assert typed not in kept
    assert "another secret" not in kept


def test_one_password_is_not_tried_with_every_name(client: Client, admin: User, settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 2
    with time_machine.travel(NOW, tick=False) as clock:
        tried = [fail(client, 1, WRONG | {"username": f"person{number}"})[0] for number in range(21)]
        assert tried == [200] * 20 + [429]
        answer = client.post("/login/", RIGHT)
        assert (answer.status_code, answer["Retry-After"]) == (429, str(15 * 60))
        assert "Too many log-ins with different names have failed" in answer.content.decode()
        assert len(recorded()) == 20, "the log is not to be flooded"
        assert client.post("/login/", RIGHT, REMOTE_ADDR="192.0.2.9").status_code == 302
        client.logout()
        clock.shift(timedelta(minutes=15, seconds=1))
        assert client.post("/login/", RIGHT).status_code == 302


def test_a_name_that_nobody_has_is_locked_as_well(client: Client, admin: User) -> None:
    assert fail(client, 5, {"username": "eve", "password": "x"}) == [200, 200, 200, 200, 429]
    assert fail(client, 1, {"username": "bob", "password": "x"}) == [200]


def test_the_answer_does_not_tell_whether_a_name_is_known(client: Client, admin: User) -> None:
    def said(name: str) -> str:
        page = unescape(client.post("/login/", {"username": name, "password": "x"}).content.decode())
        return page.replace(name, "NAME")

    def without_token(page: str) -> str:
        return "\n".join(line for line in page.splitlines() if "csrf" not in line)

    assert without_token(said("ada")) == without_token(said("eve"))


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\x00b", "é" * 300])
def test_no_name_is_too_odd(client: Client, admin: User, name: str) -> None:
    assert client.post("/login/", {"username": name, "password": "x"}).status_code == 200


def request_from(address: str, forwarded: str | None = None) -> Any:
    headers = {"X-Forwarded-For": forwarded} if forwarded is not None else {}
    return RequestFactory().get("/", REMOTE_ADDR=address, headers=headers)


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "found"),
    [
        (False, None, "192.0.2.1"),
        (False, "198.51.100.9", "192.0.2.1"),
        (True, None, "192.0.2.1"),
        (True, "198.51.100.9", "198.51.100.9"),
        (True, "1.1.1.1, 198.51.100.9", "198.51.100.9"),
        (True, "1.1.1.1,2001:db8::1", "2001:db8::1"),
        (True, "not an address", "192.0.2.1"),
        (True, "198.51.100.9:50123", "198.51.100.9"),
        (True, "[2001:db8::1]:443", "2001:db8::1"),
        (True, "::ffff:198.51.100.9", "198.51.100.9"),
        (True, "", "192.0.2.1"),
    ],
)
def test_believes_a_proxy_only_where_there_is_one(
    settings: Any, behind_proxy: bool, forwarded: str | None, found: str | None
) -> None:
    settings.BEHIND_PROXY = behind_proxy
    assert sign_in.client_address(request_from("192.0.2.1", forwarded)) == found


def test_the_lock_counts_a_whole_ipv6_network() -> None:
    assert sign_in.counted_address(request_from("2001:db8:1:2:3:4:5:6")) == "2001:db8:1:2::"
    assert sign_in.counted_address(request_from("fe80::1%eth0")) == "fe80::"
    assert sign_in.counted_address(request_from("192.0.2.1")) == "192.0.2.1"
    assert sign_in.counted_address(request_from("")) is None


def test_behind_a_socket_without_an_address_the_lock_works_too(client: Client, admin: User) -> None:
    assert fail(client, 5, REMOTE_ADDR="") == [200, 200, 200, 200, 429]


def test_sessions_that_are_over_are_forgotten() -> None:
    for key, days in (("over", -1), ("open", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=timezone.now() + timedelta(days=days))
    tasks.forget_sessions()
    assert [row.session_key for row in Session.objects.all()] == ["open"]
    assert settings.CELERY_BEAT_SCHEDULE["forget sessions"]["task"] == tasks.forget_sessions.name
