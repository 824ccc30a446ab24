"""Configuration → API tokens, and `manage.py token revoke`."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from integrations import tokens
from integrations.models import ApiToken, AuditEvent

pytestmark = pytest.mark.django_db

TOKENS = "/configuration/tokens/"


def text_of(answer: Any) -> str:
    return unescape(answer.content.decode())


def recorded() -> list[tuple[str, str, Any]]:
    found = AuditEvent.objects.filter(action__startswith="token").order_by("pk")
    return [(event.actor, event.action, event.details) for event in found]


def test_makes_a_token_and_shows_it_once(as_admin: Client) -> None:
    answer = as_admin.post(TOKENS, {"name": "pager", "trigger": "on", "read": "on"})
    assert answer.status_code == 200
    [token] = set(re.findall(r"rm_[\w-]{43}", text_of(answer)))
    assert tokens.find(token) == ApiToken.objects.get()
    assert ApiToken.objects.get().scopes == ["read", "trigger"]
    assert token not in text_of(as_admin.get(TOKENS))
    assert token not in text_of(as_admin.post(TOKENS, {"name": "pager", "trigger": "on"})), "a reload"
    assert token not in str(dict(as_admin.session))
    assert recorded() == [("ada", "token created", {"name": "pager", "scopes": ["read", "trigger"]})]
    assert token not in str(recorded())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "", "trigger": "on"}, "This field is required."),
        ({"name": "taken", "trigger": "on"}, "There is a token named 'taken'."),
        ({"name": "pager"}, "Turn on at least one scope."),
        ({"name": "x" * 101, "read": "on"}, "at most 100 characters"),
    ],
)
def test_says_what_is_wrong(as_admin: Client, values: dict[str, str], said: str) -> None:
    tokens.create("taken", scopes=["read"], actor="ada")
    answer = as_admin.post(TOKENS, values)
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert "No token was made." in text_of(answer)
    assert ApiToken.objects.count() == 1


def test_revokes_a_token_after_asking_once(as_admin: Client) -> None:
    token = tokens.create("pager", scopes=["trigger"], actor="ada")
    revoke = reverse("token-revoke", args=[ApiToken.objects.get().pk])
    revealed = re.search(r"<details.*?</details>", text_of(as_admin.get(TOKENS)), re.S)
    assert revealed
    assert f'<form method="post" action="{revoke}">' in revealed[0]
    assert "The token 'pager' is revoked." in text_of(as_admin.post(revoke, follow=True))
    assert tokens.find(token) is None
    as_admin.post(revoke)
    assert [action for _, action, _ in recorded()] == ["token created", "token revoked"]
    assert "<details" not in text_of(as_admin.get(TOKENS))


def test_a_digest_is_on_no_page_and_a_name_is_no_markup(as_admin: Client) -> None:
    tokens.create("<script>alert(1)</script>", scopes=["read"], actor="ada")
    page = as_admin.get(TOKENS).content.decode()
    assert "<script>alert" not in page
    assert ApiToken.objects.get().digest not in page


def test_the_api_refuses_a_revoked_token(client: Client) -> None:
    token = tokens.create("pager", scopes=["trigger"], actor="ada")
    call_command("token", "revoke", "pager", verbosity=0)
    answer = client.post("/v1/events", {}, "application/json", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert recorded()[-1] == ("command line", "token revoked", {"name": "pager"})


@pytest.mark.parametrize("name", ["pager", "other"])
def test_the_command_says_that_there_is_none_to_revoke(name: str) -> None:
    tokens.create("pager", scopes=["trigger"], actor="ada")
    tokens.revoke("pager", actor="ada")
    with pytest.raises(CommandError, match=f"no token named '{name}' in force"):
        call_command("token", "revoke", name)
