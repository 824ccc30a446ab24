"""API tokens: shown once, stored as a digest."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.test import Client

from integrations import tokens
from integrations.models import ApiToken, AuditEvent

pytestmark = pytest.mark.django_db


def test_a_token_is_found_again_and_its_digest_alone_is_stored() -> None:
    token = tokens.create("pager", scopes=["trigger"], actor="ada")
    assert token.startswith("rm_")
    assert len(token) == 46
    row = ApiToken.objects.get()
    assert tokens.find(token) == row
    assert (row.name, row.scopes, row.digest) == ("pager", ["trigger"], hashlib.sha256(token.encode()).hexdigest())
    assert token not in str(ApiToken.objects.values())
    assert str(row) == "pager"


def test_no_two_tokens_are_alike() -> None:
    assert len({tokens.create(f"token {number}", scopes=["read"], actor="ada") for number in range(20)}) == 20


def test_the_audit_log_names_the_token_and_does_not_hold_it() -> None:
    token = tokens.create("pager", scopes=["write", "read", "read"], actor="ada")
    [event] = AuditEvent.objects.all()
    assert (event.actor, event.action) == ("ada", "token created")
    assert event.details == {"name": "pager", "scopes": ["read", "write"]}
    assert token not in str(event.details)


@pytest.mark.parametrize("wrong", ["", "rm_", "rm_wrong", "täken", "x" * 10_000])
def test_another_token_is_not_found(wrong: str) -> None:
    token = tokens.create("pager", scopes=["trigger"], actor="ada")
    assert tokens.find(wrong) is None
    assert tokens.find(token[:-1]) is None
    assert tokens.find(token + " ") is None
    assert tokens.find(ApiToken.objects.get().digest) is None


def test_a_revoked_token_is_not_found() -> None:
    token = tokens.create("pager", scopes=["trigger"], actor="ada")
    ApiToken.objects.update(revoked_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert tokens.find(token) is None
    assert ApiToken.objects.get().last_used_at is None


def test_its_use_is_noted_at_most_once_a_minute() -> None:
    token = tokens.create("pager", scopes=["trigger"], actor="ada")
    seen = []
    with time_machine.travel(datetime(2026, 11, 22, 10, tzinfo=UTC), tick=False) as clock:
        for seconds in (0, 59, 2):
            clock.shift(seconds)
            tokens.find(token)
            seen.append(ApiToken.objects.get().last_used_at)
    start = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert [(at - start).total_seconds() for at in seen if at] == [0, 0, 61]


@contextmanager
def somebody_changes_tokens() -> Iterator[None]:
    """Hold them in a transaction of another connection; on SQLite nobody else writes anything meanwhile."""
    holds, over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            ApiToken.objects.update(name="another name")
            holds.set()
            over.wait(60)
            transaction.set_rollback(True)
        connection.close()

    somebody = threading.Thread(target=hold)
    somebody.start()
    try:
        assert holds.wait(20)
        yield
    finally:
        over.set()
        somebody.join(20)


@pytest.mark.django_db(transaction=True)
def test_a_request_does_not_wait_until_its_use_can_be_noted(client: Client) -> None:
    headers = {"Authorization": f"Bearer {tokens.create('pager', scopes=['read'], actor='ada')}"}
    with somebody_changes_tokens():
        began = time.monotonic()
        assert client.get("/v1/deliveries", headers=headers).status_code == 200
        assert time.monotonic() - began < 5
    assert ApiToken.objects.get().last_used_at is None
    client.get("/v1/deliveries", headers=headers)
    assert ApiToken.objects.get().last_used_at is not None


def test_a_database_that_is_only_read_knows_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise DatabaseError("cannot execute UPDATE in a read-only transaction")

    token = tokens.create("pager", scopes=["read"], actor="ada")
    monkeypatch.setattr(connection, "write_in_passing", refuse)
    assert tokens.find(token) == ApiToken.objects.get(last_used_at=None)


@pytest.mark.parametrize(
    ("name", "scopes", "field"), [("pager", ["read"], "name"), ("", ["read"], "name"), ("other", [], "scopes")]
)
def test_a_token_needs_a_name_of_its_own_and_a_scope(name: str, scopes: list[str], field: str) -> None:
    tokens.create("pager", scopes=["trigger"], actor="ada")
    with pytest.raises(ValidationError) as caught:
        tokens.create(name, scopes=scopes, actor="ada")
    assert list(caught.value.message_dict) == [field]
    assert (ApiToken.objects.count(), AuditEvent.objects.count()) == (1, 1)


def test_there_is_no_token_without_its_audit_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("integrations.audit.record", fail)
    with pytest.raises(RuntimeError):
        tokens.create("pager", scopes=["trigger"], actor="ada")
    assert ApiToken.objects.count() == 0
