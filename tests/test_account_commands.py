"""Django's own commands for accounts write into the audit log."""

from __future__ import annotations

import getpass
import io
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from integrations import links
from integrations.models import AuditEvent, PasswordLink

pytestmark = pytest.mark.django_db

PASSWORD = "blue pelican 42"


def recorded() -> list[tuple[str, str, Any]]:
    return [(event.actor, event.action, event.details) for event in AuditEvent.objects.order_by("pk")]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is typed where a password is asked for; the last one is repeated."""
    words = [PASSWORD]
    monkeypatch.setattr(getpass, "getpass", lambda *_, **__: words.pop(0) if len(words) > 1 else words[0])
    return words


def run(*words: str, **options: Any) -> str:
    said = io.StringIO()
    call_command(*words, stdout=said, stderr=said, **options)
    return said.getvalue()


def test_a_changed_password_is_recorded_and_ends_the_link(team: dict[str, User], typed: list[str]) -> None:
    links.make(team["Viewer"], seconds=60)
    assert "Password changed successfully for user 'viewer'" in run("changepassword", "viewer")
    assert User.objects.get(username="viewer").check_password(PASSWORD)
    assert recorded() == [("command line", "password changed", {"by": "password", "name": "viewer"})]
    assert (PasswordLink.objects.count(), PASSWORD in str(recorded())) == (0, False)


def test_without_a_name_it_is_that_of_the_systems_user(
    team: dict[str, User], typed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "editor")
    run("changepassword")
    assert recorded() == [("command line", "password changed", {"by": "password", "name": "editor"})]


@pytest.mark.parametrize(("name", "words"), [("nobody", [PASSWORD]), ("viewer", ["short"]), ("viewer", [""])])
def test_what_was_not_changed_is_not_recorded(
    team: dict[str, User], typed: list[str], name: str, words: list[str]
) -> None:
    typed[:] = words
    with pytest.raises(CommandError):
        run("changepassword", name)
    assert recorded() == []


def test_a_new_superuser_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    said = run("createsuperuser", username="grace", email="grace@example.com", interactive=False)
    assert "Superuser created successfully." in said
    assert User.objects.get().is_superuser
    assert recorded() == [("command line", "superuser created", {"name": "grace"})]
    User.objects.create_user("max")
    assert len(recorded()) == 1, "nothing goes on listening"


def test_a_name_that_was_typed_is_recorded(typed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["two words", "grace", "grace@example.com"])
    monkeypatch.setattr("builtins.input", lambda *_: next(answers))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    run("createsuperuser")
    assert recorded() == [("command line", "superuser created", {"name": "grace"})]


@pytest.mark.parametrize("options", [{"username": "max"}, {"username": "grace", "email": "nobody"}, {}])
def test_nobody_who_was_not_made_is_recorded(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.create_user("max")
    with pytest.raises(CommandError):
        run("createsuperuser", interactive=False, **options)
    assert (User.objects.count(), recorded()) == (1, [])


@pytest.mark.parametrize(
    ("password", "email", "said"),
    [
        ("", "grace@example.com", "Set DJANGO_SUPERUSER_PASSWORD"),
        ("short", "grace@example.com", "DJANGO_SUPERUSER_PASSWORD: This password is too short"),
        (PASSWORD, "MAX@example.com", "Another account has this address"),
    ],
)
def test_no_superuser_is_made_whom_nobody_could_be_or_tell_apart(
    password: str, email: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.create_user("max", "max@example.com")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
    with pytest.raises(CommandError, match=said):
        run("createsuperuser", username="grace", email=email, interactive=False)
    assert (User.objects.count(), recorded()) == (1, [])
