"""Links to set a password: the newest alone, once, for a time, for the address it was made for."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from celery.exceptions import Retry
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from integrations import links, pauses, people
from integrations.links import TOKENS
from integrations.models import AuditEvent, PasswordLink, SmtpIntegration
from integrations.people import Role
from integrations.tasks import mail_password_link, wait_after
from integrations.transports.base import Scope, Stage, TransportError
from tests.fake_relay import FakeRelay

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
HOUR = 3600
PASSWORD = "blue pelican 42"


def opens(link: str) -> bool:
    return b"new_password1" in Client().get(link, follow=True).content


def made(person: User, seconds: int = HOUR) -> str:
    return links.url_of(links.make(person, seconds=seconds))


def mailed() -> str:
    found = re.search(r"/password/set/\S+", str(mail.outbox[-1].body))
    assert found
    return found[0]


def invited() -> User:
    return people.invite("zoe", address="zoe@example.com", role=Role.EDITOR, actor="ada")


def test_a_newer_link_ends_the_older_one_whoever_made_them(team: dict[str, User]) -> None:
    zoe = invited()
    ways = [
        lambda: people.hand_out_link(zoe, actor="ada"),
        lambda: people.hand_out_link(zoe, actor="ada"),
        lambda: people.hand_out_link(zoe, actor="ada"),
    ]
    other = made(team["Viewer"])
    found: list[str] = []
    for make in ways:
        make()
        found.append(mailed())
        assert [opens(link) for link in found] == [False] * (len(found) - 1) + [True]
    assert opens(other), "of somebody else"


def test_a_link_is_marked_as_automatic_and_names_no_machine(team: dict[str, User]) -> None:
    made(team["Viewer"])
    links.mail(team["Viewer"].pk)
    sent = mail.outbox[-1].message()
    assert sent["Auto-Submitted"] == "auto-generated"
    assert str(sent["Message-ID"]).endswith("@rootmail.example>")


def test_whoever_asks_for_a_link_does_not_end_an_invitation() -> None:
    """It may be shown to an Admin just now, since mail does not work yet."""
    zoe = invited()
    shown = made(zoe)
    until = PasswordLink.objects.get(person=zoe).good_until
    people.ask_for_link("zoe@example.com")
    assert [opens(shown), opens(mailed())] == [True, True]
    assert PasswordLink.objects.get(person=zoe).good_until == until


def test_a_page_that_is_open_already_sets_no_password_once_there_is_a_newer_link() -> None:
    zoe, client = invited(), Client()
    form = client.get(made(zoe), follow=True).redirect_chain[0][0]
    newer = made(zoe)
    new = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    assert b"used already, or is too old" in client.post(form, new).content
    assert not User.objects.get(pk=zoe.pk).has_usable_password()
    assert opens(newer)


def test_a_changed_address_ends_the_link(team: dict[str, User]) -> None:
    """By Django's own token already: whoever reads the old mailbox must not come in."""
    link = made(team["Viewer"])
    User.objects.filter(pk=team["Viewer"].pk).update(email="new@example.com")
    assert not opens(link)
    User.objects.filter(pk=team["Viewer"].pk).update(email="viewer@example.com")
    assert opens(link), "the address alone had ended it"


def test_a_used_link_and_a_changed_password_leave_no_link(team: dict[str, User]) -> None:
    link, client = made(team["Viewer"]), Client()
    form = client.get(link, follow=True).redirect_chain[0][0]
    assert client.post(form, {"new_password1": PASSWORD, "new_password2": PASSWORD}).status_code == 302
    assert (opens(link), PasswordLink.objects.count()) == (False, 0)
    links.mail(team["Viewer"].pk)
    assert mail.outbox == [], "a task that comes late makes no new one"


@pytest.mark.parametrize(
    ("with_password", "asked", "hours"),
    [(False, False, 72), (True, False, 72), (True, True, 2), (False, True, 72)],
)
def test_a_link_that_was_asked_for_holds_for_a_shorter_time_but_shortens_no_invitation(
    with_password: bool, asked: bool, hours: int
) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        zoe = invited()
        if with_password:
            zoe.set_password(PASSWORD)
            zoe.save()
        if asked:
            people.ask_for_link("zoe@example.com")
        else:
            people.hand_out_link(zoe, actor="ada")
        until = NOW + timedelta(hours=hours)
        assert f"It works once, until {until:%Y-%m-%d %H:%M} UTC" in str(mail.outbox[0].body)
        clock.shift(timedelta(hours=hours, seconds=-1))
        assert opens(mailed())
        clock.shift(timedelta(seconds=1))
        assert not opens(mailed())


def test_a_late_task_mails_no_dead_link(team: dict[str, User]) -> None:
    for seconds, change in ((-1, {}), (HOUR, {"is_active": False}), (HOUR, {"is_active": True, "email": ""})):
        links.make(team["Viewer"], seconds=seconds)
        User.objects.filter(pk=team["Viewer"].pk).update(**change)
        links.mail(team["Viewer"].pk)
    links.mail(10**6)
    assert mail.outbox == []


@pytest.mark.usefixtures("live_router")
def test_a_link_waits_for_a_paused_provider(smtp: SmtpIntegration, relay: FakeRelay, team: dict[str, User]) -> None:
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    links.make(team["Viewer"], seconds=HOUR)
    with pytest.raises(Retry):
        mail_password_link(team["Viewer"].pk)
    assert links.send_if_asked(team["Viewer"].pk), "a worker mails that one later"
    assert not AuditEvent.objects.filter(action="password link not mailed").exists()
    pauses.hasten("smtp")
    assert not links.mail(team["Viewer"].pk)
    assert (len(relay.ledger), PasswordLink.objects.get().mailed_at is None) == (1, False)
    assert not links.mail(team["Viewer"].pk), "once"


@pytest.mark.usefixtures("live_router")
@pytest.mark.parametrize("replies", [{"RCPT": ["450 4.2.0 Greylisted"]}, {"CONNECT": ["421 4.3.2 restarting"]}])
def test_a_link_survives_what_passes(
    smtp: SmtpIntegration, relay: FakeRelay, team: dict[str, User], replies: dict[str, Any]
) -> None:
    relay.replies = replies
    links.make(team["Viewer"], seconds=HOUR)
    with pytest.raises(Retry):
        mail_password_link(team["Viewer"].pk)
    assert not AuditEvent.objects.filter(action="password link not mailed").exists()
    pauses.hasten("smtp")
    assert not links.mail(team["Viewer"].pk)
    assert len(relay.ledger) == 1


@pytest.mark.usefixtures("live_router")
def test_a_link_that_tries_a_paused_provider_in_vain_goes_on_waiting(
    smtp: SmtpIntegration, relay: FakeRelay, team: dict[str, User]
) -> None:
    relay.replies = {"CONNECT": "421 4.3.2 restarting"}
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    links.make(team["Viewer"], seconds=HOUR)
    pauses.hasten("smtp")
    with pytest.raises(Retry):
        mail_password_link(team["Viewer"].pk)


@pytest.mark.usefixtures("live_router")
def test_a_link_that_may_have_arrived_is_not_mailed_again(
    smtp: SmtpIntegration, relay: FakeRelay, team: dict[str, User]
) -> None:
    links.make(team["Viewer"], seconds=3600)
    relay.replies = {".": "221 2.0.0 bye"}
    assert links.mail(team["Viewer"].pk) is False
    assert len(relay.ledger) == 1
    assert AuditEvent.objects.filter(action="password link not mailed").count() == 1


def test_a_link_waits_longer_each_time() -> None:
    assert [wait_after(retries) for retries in (0, 1, 4, 5, 400)] == [20, 40, 320, 600, 600]


def test_the_table_alone_gives_nobody_a_link(team: dict[str, User], settings: Any) -> None:
    link = made(team["Viewer"])
    [row] = PasswordLink.objects.values_list()
    assert not any(str(value) in link for value in row[1:])
    settings.SECRET_KEY = "another key"
    assert not opens(link)


def test_without_a_link_no_token_is_right(team: dict[str, User]) -> None:
    assert not TOKENS.check_token(team["Viewer"], TOKENS.make_token(team["Viewer"]))
    assert not TOKENS.check_token(None, "x-y")
    assert not TOKENS.check_token(team["Viewer"], None)
