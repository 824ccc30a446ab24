"""Configuration → People, as an Admin uses it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client
from django.urls import reverse
from kombu.exceptions import OperationalError

from integrations import links, people
from integrations.models import AuditEvent
from integrations.people import Role
from tests.fake_relay import FakeRelay

pytestmark = pytest.mark.django_db

PEOPLE = "/configuration/people/"
INVITED = {"username": "zoe", "email": "zoe@example.com", "role": "Editor"}
HOSTILE = "\"'><script>alert(1)</script>"


def text_of(answer: Any) -> str:
    return unescape(answer.content.decode())


def link_in(text: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:8000(/password/set/[\w/-]+)", text)
    assert found, text
    return found[1]


def opens(link: str) -> bool:
    return "new_password1" in text_of(Client().get(link, follow=True))


def address(name: str, person: User) -> str:
    return reverse(name, args=[person.pk])


def test_invites_somebody_who_sets_a_password_and_logs_in(as_admin: Client) -> None:
    answer = as_admin.post(PEOPLE, INVITED)
    assert answer.status_code == 200
    assert "A worker mails it to zoe@example.com." in text_of(answer)
    assert "was mailed" not in text_of(answer)
    [sent] = mail.outbox
    assert sent.to == ["zoe@example.com"]
    assert link_in(text_of(answer)) == link_in(str(sent.body))

    zoe = Client()
    opened = zoe.get(link_in(str(sent.body)), follow=True)
    assert opened.redirect_chain[0][0].endswith("/set-password/"), "the secret leaves the address"
    new = {"new_password1": "blue pelican 42", "new_password2": "blue pelican 42"}
    assert zoe.post(opened.redirect_chain[0][0], new, follow=True).redirect_chain == [("/login/", 302)]
    assert zoe.post("/login/", {"username": "zoe", "password": "blue pelican 42"}).status_code == 302
    assert zoe.get("/").status_code == 200
    assert "used already" in text_of(Client().get(link_in(str(sent.body)), follow=True))


def test_the_link_is_shown_once_and_is_in_no_address_and_no_session(as_admin: Client) -> None:
    link = link_in(text_of(as_admin.post(PEOPLE, INVITED)))
    assert link not in text_of(as_admin.get(PEOPLE))
    reloaded = as_admin.post(PEOPLE, INVITED)
    assert reloaded.status_code == 422
    assert link not in text_of(reloaded)
    assert link not in str(dict(as_admin.session))
    assert link not in str(list(AuditEvent.objects.values()))


def test_the_link_is_shown_where_mail_does_not_work(
    as_admin: Client, live_router: Any, smtp: Any, relay: FakeRelay
) -> None:
    relay.replies = {"MAIL": "550 5.7.1 not you, nor http://127.0.0.1:8000/password/set/"}
    answer = as_admin.post(PEOPLE, INVITED)
    assert answer.status_code == 200
    assert link_in(text_of(answer))
    assert "not mailed yet" in text_of(as_admin.get(PEOPLE))
    [failed] = AuditEvent.objects.filter(action="password link not mailed")
    assert (failed.actor, failed.details) == ("a worker", {"name": "zoe", "stage": "mail", "code": 550})


def test_the_web_process_mails_nothing_and_the_task_carries_a_number_alone(
    as_admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[Any] = []
    monkeypatch.setattr(people.tasks.mail_password_link, "apply_async", lambda *values, **_: rung.append(values))
    answer = as_admin.post(PEOPLE, INVITED)
    zoe = User.objects.get(username="zoe")
    assert (rung, mail.outbox) == ([([zoe.pk],)], [])
    assert "not mailed yet" in text_of(as_admin.get(PEOPLE))
    for _ in range(2):  # a task may run twice
        people.tasks.mail_password_link(zoe.pk)
    [sent] = mail.outbox
    assert link_in(str(sent.body)).startswith("/password/set/")
    assert "not mailed yet" not in text_of(as_admin.get(PEOPLE))
    assert "· mailed <time" in text_of(as_admin.get(PEOPLE))
    for link in (link_in(text_of(answer)), link_in(str(sent.body))):
        assert opens(link), "the one that is shown and the one that is mailed are the same link"


def test_without_a_broker_the_link_is_shown_and_the_page_says_that_it_is_not_mailed(
    as_admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(people.tasks.mail_password_link, "apply_async", fail)
    answer = as_admin.post(PEOPLE, INVITED)
    assert answer.status_code == 200
    for said in (
        "The link could not be mailed to zoe@example.com.",
        "The broker does not answer",
        "Hand the link over",
    ):
        assert said in text_of(answer)
    assert opens(link_in(text_of(answer)))


def test_the_mail_leaves_through_the_router(as_admin: Client, live_router: Any, smtp: Any, relay: FakeRelay) -> None:
    as_admin.post(PEOPLE, INVITED)
    [arrived] = relay.ledger
    assert (arrived.sender, list(arrived.recipients)) == ("desk@example.com", ["zoe@example.com"])


def test_lists_everybody_with_role_and_state(as_admin: Client, admin: User, team: dict[str, User]) -> None:
    User.objects.filter(pk=admin.pk).update(email="ada@example.com")
    people.invite("zoe", address="zoe@example.com", role=Role.EDITOR, actor="ada")
    people.deactivate(team["Viewer"], actor="ada")
    page = text_of(as_admin.get(PEOPLE))
    words = [re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", row)) for row in re.findall(r"<li class.*?</li>", page, re.S)]
    rows = {row.split()[0]: row for row in words}
    assert "(you) Active Admin · ada@example.com · last log-in 20" in rows["ada"].replace("  ", " ")
    assert "Invited Editor · zoe@example.com · last log-in never" in rows["zoe"]
    assert "Deactivated Viewer · viewer@example.com · last log-in never" in rows["viewer"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"username": "ada"}, "There is an account named 'ada'."),
        ({"username": HOSTILE}, "Enter a valid username."),
        ({"email": "zoe"}, "Enter a valid email address."),
        ({"role": "Root"}, "Select a valid choice."),
    ],
)
def test_errors_stand_beside_their_fields(as_admin: Client, wrong: dict[str, str], said: str) -> None:
    answer = as_admin.post(PEOPLE, INVITED | wrong)
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert "<script>" not in answer.content.decode()
    assert (User.objects.count(), len(mail.outbox)) == (1, 0)


def test_changes_a_role_deactivates_and_reactivates(as_admin: Client, team: dict[str, User]) -> None:
    editor = team["Editor"]
    said = [
        text_of(as_admin.post(address(name, editor), values, follow=True))
        for name, values in (
            ("person-role", {"role": "Viewer"}),
            ("person-deactivate", {}),
            ("person-reactivate", {}),
        )
    ]
    assert "editor is Viewer now." in said[0]
    assert "editor is deactivated and logged out everywhere." in said[1]
    assert "editor may log in again." in said[2]
    recorded = AuditEvent.objects.exclude(action__startswith="signed").order_by("pk").values_list("actor", "action")
    assert list(recorded) == [("ada", "role changed"), ("ada", "person deactivated"), ("ada", "person reactivated")]


@pytest.mark.parametrize("active", [True, False])
def test_changes_an_address(as_admin: Client, team: dict[str, User], active: bool) -> None:
    User.objects.filter(pk=team["Viewer"].pk).update(is_active=active)
    answer = as_admin.post(address("person-email", team["Viewer"]), {"email": "new@example.com"}, follow=True)
    assert "The e-mail address of viewer is new@example.com now." in text_of(answer)
    assert User.objects.get(username="viewer").email == "new@example.com"
    changed = AuditEvent.objects.get(action="e-mail changed")
    assert (changed.actor, changed.details) == ("ada", {"name": "viewer"})


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("Editor@example.com", "Another account has this address."),
        (HOSTILE, "Enter a valid email address."),
        ("", "This field is required."),
    ],
)
def test_an_address_that_is_refused_stands_in_its_row(
    as_admin: Client, team: dict[str, User], typed: str, said: str
) -> None:
    answer = as_admin.post(address("person-email", team["Viewer"]), {"email": typed})
    assert answer.status_code == 422
    assert said in text_of(answer).partition(f'id="id_email_{team["Viewer"].pk}_error"')[2].partition("</p>")[0]
    assert text_of(answer).count('<details class="reveal" open>') == 1
    assert "Nobody was invited." not in text_of(answer)
    assert "<script>alert" not in answer.content.decode()
    assert User.objects.get(username="viewer").email == "viewer@example.com"


def test_ones_own_address_takes_the_password(as_admin: Client, admin: User) -> None:
    answer = as_admin.post(address("person-email", admin), {"email": "new@example.com"}, follow=True)
    assert answer.redirect_chain == [("/account/", 302)]
    assert "with your password" in text_of(answer)
    assert User.objects.get(pk=admin.pk).email == ""


def test_a_reactivation_that_is_refused_says_why(as_admin: Client, team: dict[str, User]) -> None:
    people.deactivate(team["Editor"], actor="ada")
    people.change_address(team["Viewer"], "editor@example.com", actor="ada")
    answer = as_admin.post(address("person-reactivate", team["Editor"]), follow=True)
    assert "Another account has the address of editor now." in text_of(answer)


def test_an_admin_cannot_lock_himself_out(as_admin: Client, admin: User) -> None:
    for name, values in (("person-role", {"role": "Viewer"}), ("person-deactivate", {})):
        assert "Nobody may demote or deactivate their own account." in text_of(
            as_admin.post(address(name, admin), values, follow=True)
        )
    assert as_admin.get(PEOPLE).status_code == 200


def test_an_unknown_role_and_an_unknown_person_are_refused(as_admin: Client, team: dict[str, User]) -> None:
    answer = as_admin.post(address("person-role", team["Viewer"]), {"role": "Root"}, follow=True)
    assert "Choose one of the roles." in text_of(answer)
    for pk in (10**6, 10**30):
        assert as_admin.post(reverse("person-deactivate", args=[pk])).status_code == 404


def test_the_link_of_somebody_with_a_password_is_for_that_person_alone(
    as_admin: Client, team: dict[str, User], mailoutbox: list[Any]
) -> None:
    """With it, one Admin could come in under the name of another."""
    answer = text_of(as_admin.post(address("person-link", team["Viewer"])))
    assert "/password/set/" not in answer
    assert link_in(str(mailoutbox[0].body))
    User.objects.filter(pk=team["Viewer"].pk).update(email="")
    assert "No address is known." in text_of(as_admin.post(address("person-link", team["Viewer"])))


def test_a_deactivated_person_gets_no_link(as_admin: Client, team: dict[str, User]) -> None:
    link = links.url_of(links.make(team["Viewer"], seconds=60))
    assert opens(link)
    people.deactivate(team["Viewer"], actor="ada")
    assert as_admin.post(address("person-link", team["Viewer"])).status_code == 404
    assert "used already, or is too old" in text_of(Client().get(link, follow=True))
    people.reactivate(team["Viewer"], actor="ada")
    assert not opens(link)
