"""What `manage.py check` refuses to start with."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks

from integrations.checks import default_sender_is_usable, encryption_key_is_set


def ids(found: list[Any]) -> list[str]:
    return [message.id for message in found]


@pytest.mark.django_db  # Django 6 looks at the database, too
def test_the_installation_as_it_comes_is_fine() -> None:
    assert [message for message in run_checks() if message.id.startswith("integrations.")] == []


@pytest.mark.django_db
def test_both_checks_are_registered(settings: Any) -> None:
    settings.FERNET_KEYS = []
    settings.DEFAULT_SENDER_URL = settings.DEFAULT_FROM_EMAIL = "nonsense"
    found = [message.id for message in run_checks() if message.id.startswith("integrations.")]
    assert sorted(found) == ["integrations.E001", "integrations.E002", "integrations.E003"]


@pytest.mark.parametrize("keys", [["a key"], ["a new key", "an old key"]])
def test_keys_of_their_own_are_fine(settings: Any, keys: list[str]) -> None:
    settings.FERNET_KEYS = keys
    assert encryption_key_is_set() == []


@pytest.mark.parametrize("keys", [None, [], [""], ["a key", ""], ["the secret key"], ["a key", "the secret key"]])
def test_secrets_are_never_encrypted_with_the_secret_key_or_none(settings: Any, keys: list[str] | None) -> None:
    settings.SECRET_KEY = "the secret key"
    settings.FERNET_KEYS = keys
    assert ids(encryption_key_is_set()) == ["integrations.E001"]


def test_a_missing_setting_is_refused_too(settings: Any) -> None:
    del settings.FERNET_KEYS
    assert ids(encryption_key_is_set()) == ["integrations.E001"]


@pytest.mark.parametrize("url", ["file:///srv/outbox", "smtps://user:right%20horse@relay.test"])
@pytest.mark.parametrize("sender", ["workflows@example.com", "Workflows <workflows@bücher.example>"])
def test_a_usable_default_sender_is_fine(settings: Any, url: str, sender: str) -> None:
    settings.DEFAULT_SENDER_URL, settings.DEFAULT_FROM_EMAIL = url, sender
    assert default_sender_is_usable() == []


@pytest.mark.parametrize(
    ("url", "sender", "found"),
    [
        ("ftp://user:right%20horse@relay.test", "workflows@example.com", ["integrations.E002"]),
        ("", "workflows@example.com", ["integrations.E002"]),
        ("file:///srv/outbox", "nobody", ["integrations.E003"]),
        ("file:///srv/outbox", "", ["integrations.E003"]),
        ("nonsense", "a@b.test, c@d.test", ["integrations.E002", "integrations.E003"]),
    ],
)
def test_a_mistake_in_the_default_sender_is_found_before_the_first_mail(
    settings: Any, url: str, sender: str, found: list[str]
) -> None:
    settings.DEFAULT_SENDER_URL, settings.DEFAULT_FROM_EMAIL = url, sender
    messages = default_sender_is_usable()
    assert ids(messages) == found
    assert "horse" not in str(messages)
