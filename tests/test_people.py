"""Who may log in, and as what."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core import mail
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from kombu.exceptions import OperationalError

from integrations import people
from integrations.models import AuditEvent
from integrations.people import Role

pytestmark = pytest.mark.django_db


def events() -> list[tuple[str, str, dict[str, Any]]]:
    found = AuditEvent.objects.exclude(action__startswith="signed").order_by("pk")
    return [(event.actor, event.action, event.details) for event in found]


def test_an_invited_person_has_a_role_and_no_password() -> None:
    person = people.invite("zoe", address="zoe@Example.COM", role=Role.EDITOR, actor="ada")
    assert (person.email, person.is_active, person.has_usable_password()) == ("zoe@example.com", True, False)
    assert people.role_of(person) == Role.EDITOR
    assert not person.is_superuser
    assert events() == [("ada", "person invited", {"name": "zoe", "role": "Editor"})]


@pytest.mark.parametrize(
    ("name", "address", "field"),
    [
        ("viewer", "new@example.com", "username"),
        ("VIEWER", "new@example.com", "username"),
        ("two words", "new@example.com", "username"),
        ("", "new@example.com", "username"),
        ("new", "viewer@example.com", "email"),
        ("new", "Viewer@EXAMPLE.com", "email"),
        ("new", "", "email"),
        ("new", "a@example.com\nBcc: b@example.com", "email"),
        ("new", "a@example.com, b@example.com", "email"),
    ],
)
def test_an_invitation_needs_a_name_and_an_address_of_its_own(
    team: dict[str, User], name: str, address: str, field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        people.invite(name, address=address, role=Role.VIEWER, actor="ada")
    assert list(caught.value.message_dict) == [field]
    assert (User.objects.count(), events()) == (3, [])


def test_a_role_is_changed_and_the_change_recorded(team: dict[str, User]) -> None:
    assert people.set_role(team["Viewer"], Role.EDITOR, actor="admin") is True
    assert people.set_role(team["Viewer"], Role.EDITOR, actor="admin") is False
    assert people.role_of(User.objects.get(username="viewer")) == Role.EDITOR
    assert events() == [("admin", "role changed", {"name": "viewer", "before": "Viewer", "role": "Editor"})]


def test_a_superuser_counts_as_admin_and_can_be_demoted(team: dict[str, User]) -> None:
    root = User.objects.create_superuser("root", password="a password for root")
    assert people.role_of(root) == Role.ADMIN
    people.set_role(root, Role.VIEWER, actor="admin")
    root = User.objects.get(pk=root.pk)
    assert (people.role_of(root), root.is_superuser, root.is_staff) == (Role.VIEWER, False, False)
    assert not root.has_perm("integrations.manage_integrations")


def test_somebody_without_a_group_is_a_viewer(member: User) -> None:
    assert people.role_of(member) == Role.VIEWER


def test_a_role_leaves_no_right_of_another_origin(team: dict[str, User], member: User) -> None:
    member.user_permissions.add(Permission.objects.get(codename="manage_integrations"))
    assert people.set_role(member, Role.VIEWER, actor="admin") is True
    assert not User.objects.get(pk=member.pk).has_perm("integrations.manage_integrations")
    assert people.set_role(member, Role.VIEWER, actor="admin") is False


def test_who_has_no_password_yet_is_no_admin_that_remains(team: dict[str, User]) -> None:
    people.invite("new", address="new@example.com", role=Role.ADMIN, actor="admin")
    with pytest.raises(people.Refused, match="last active Admin"):
        people.deactivate(team["Admin"], actor="new")


@pytest.mark.parametrize("superuser", [False, True])
def test_the_last_active_admin_stays_one(team: dict[str, User], superuser: bool) -> None:
    last = team["Admin"]
    if superuser:
        people.set_role(last, Role.ADMIN, actor="x")
        User.objects.filter(pk=last.pk).update(is_superuser=True)
        last.groups.clear()
    asleep = User.objects.create_superuser("asleep", password="a password", is_active=False)
    with pytest.raises(people.Refused, match="last active Admin"):
        people.set_role(last, Role.VIEWER, actor="command line")
    with pytest.raises(people.Refused, match="last active Admin"):
        people.deactivate(last, actor="command line")
    assert User.objects.get(pk=last.pk).is_active
    people.reactivate(asleep, actor="admin")
    assert people.deactivate(last, actor="asleep") is True


def test_nobody_demotes_or_deactivates_himself(team: dict[str, User], admin: User) -> None:
    with pytest.raises(people.Refused, match="their own account"):
        people.set_role(admin, Role.EDITOR, actor="ada")
    with pytest.raises(people.Refused, match="their own account"):
        people.deactivate(admin, actor="ada")
    assert people.role_of(User.objects.get(pk=admin.pk)) == Role.ADMIN
    assert events() == []


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_demote_each_other_leave_one() -> None:
    Group.objects.get_or_create(name=Role.ADMIN)  # a test of this kind may find the database emptied by another one
    pair = [User.objects.create_superuser(name, password="a password") for name in ("ada", "bob")]
    start, refused = threading.Barrier(2), []

    def deactivate(person: User, actor: str) -> None:
        start.wait()
        try:
            people.deactivate(person, actor=actor)
        except people.Refused:
            refused.append(actor)
        finally:
            connection.close()

    threads = [threading.Thread(target=deactivate, args=one) for one in ((pair[0], "bob"), (pair[1], "ada"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert User.objects.filter(is_active=True).count() == 1


def test_a_deactivated_person_is_out_at_once_and_stays_out_after_a_reactivation(team: dict[str, User]) -> None:
    open_page, other = Client(), Client()
    open_page.force_login(team["Editor"])
    other.force_login(team["Viewer"])
    assert open_page.get("/").status_code == 200
    people.deactivate(team["Editor"], actor="admin")
    assert open_page.get("/").status_code == 302
    people.reactivate(team["Editor"], actor="admin")
    assert open_page.get("/").status_code == 302
    assert other.get("/").status_code == 200
    assert [action for _, action, _ in events()] == ["person deactivated", "person reactivated"]


def test_a_deactivated_person_cannot_log_in(client: Client, team: dict[str, User]) -> None:
    values = {"username": "editor", "password": "a password of Editor"}
    people.deactivate(team["Editor"], actor="admin")
    assert client.post("/login/", values).status_code == 200
    people.reactivate(team["Editor"], actor="admin")
    assert client.post("/login/", values).status_code == 302


def test_an_address_is_changed_and_the_change_recorded_without_it(team: dict[str, User]) -> None:
    viewer = team["Viewer"]
    assert people.change_address(viewer, "New@EXAMPLE.com", actor="admin") is True
    assert people.change_address(viewer, "New@example.com", actor="admin") is False
    assert (viewer.email, User.objects.get(pk=viewer.pk).email) == ("New@example.com", "New@example.com")
    assert events() == [("admin", "e-mail changed", {"name": "viewer"})]


@pytest.mark.parametrize(
    "address", ["EDITOR@example.com", "", "nobody", "a@example.com\nBcc: b@example.com", f"{'x' * 250}@example.com"]
)
def test_an_address_must_be_one_and_nobody_elses(team: dict[str, User], address: str) -> None:
    with pytest.raises(ValidationError) as caught:
        people.change_address(team["Viewer"], address, actor="admin")
    assert list(caught.value.message_dict) == ["email"]
    assert (User.objects.get(username="viewer").email, events()) == ("viewer@example.com", [])


def test_nobody_comes_back_with_an_address_that_somebody_else_has_now(team: dict[str, User]) -> None:
    people.deactivate(team["Editor"], actor="admin")
    people.change_address(team["Viewer"], "Editor@example.com", actor="admin")
    with pytest.raises(people.Refused, match="Another account has the address of editor now"):
        people.reactivate(team["Editor"], actor="admin")
    people.change_address(User.objects.get(username="editor"), "edith@example.com", actor="admin")
    assert people.reactivate(team["Editor"], actor="admin") is True, "what it was when it was read does not matter"


def test_what_is_done_already_is_not_recorded_again(team: dict[str, User]) -> None:
    assert people.reactivate(team["Editor"], actor="admin") is False
    assert people.deactivate(team["Editor"], actor="admin") is True
    assert people.deactivate(team["Editor"], actor="admin") is False
    assert len(events()) == 1


def test_the_first_admin_is_made_once() -> None:
    person = people.create_first_admin("ada", address="ada@example.com", password="a long password")
    assert (people.role_of(person), person.is_superuser) == (Role.ADMIN, False)
    assert person.has_perm("integrations.manage_integrations")
    with pytest.raises(people.AlreadyThere):
        people.create_first_admin("eve", address="eve@example.com", password="a long password")
    assert events() == [("ada", "first admin created", {})]


def test_the_link_is_mailed_to_whoever_has_the_address(team: dict[str, User]) -> None:
    people.ask_for_link("EDITOR@example.com")
    [sent] = mail.outbox
    assert (sent.to, sent.subject) == (["editor@example.com"], "Set your password for rootmail")
    assert re.search(r"^http://127\.0\.0\.1:8000/password/set/\w+/[\w-]+/$", str(sent.body), re.M)
    people.ask_for_link("editor@example.com")
    assert len(mail.outbox) == 1, "nobody's inbox is flooded"
    assert events() == [("editor", "password link asked for", {})]


@pytest.mark.parametrize("address", ["nobody@example.com", "zoe@example.com"])
def test_a_worker_is_rung_for_every_address_alike(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    User.objects.create_user("zoe", "zoe@example.com", is_active=False)
    rung: list[Any] = []
    monkeypatch.setattr(people.tasks.send_password_link, "apply_async", lambda args, **_: rung.append(args))
    people.ask_for_link(address)
    assert rung == [[0]]


def test_a_broker_that_is_down_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(people.tasks.send_password_link, "apply_async", fail)
    people.ask_for_link("nobody@example.com")
