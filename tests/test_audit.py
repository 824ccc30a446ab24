"""The append-only record of who changed the configuration."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import time_machine
from django.db import DatabaseError, connection, transaction

from integrations import audit
from integrations.models import AuditEvent
from tests.conftest import accounts

pytestmark = pytest.mark.django_db


def test_an_entry_says_who_did_what_and_when() -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    with time_machine.travel(now, tick=False):
        audit.record("smtp connected", actor="ada", changed=["port"], checked=True)
    [event] = AuditEvent.objects.all()
    assert (event.at, event.actor, event.action) == (now, "ada", "smtp connected")
    assert event.details == {"changed": ["port"], "checked": True}
    assert str(event) == "2026-11-22 10:00:00 ada smtp connected"


def test_an_entry_needs_no_details() -> None:
    audit.record("smtp disconnected", actor=audit.COMMAND_LINE)
    event = AuditEvent.objects.get()
    assert (event.actor, event.details) == ("command line", {})


def test_a_name_that_is_too_long_is_cut_and_not_refused() -> None:
    audit.record("smtp connected", actor="x" * 500)
    assert AuditEvent.objects.get().actor == "x" * 150


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE integrations_auditevent SET actor = 'eve'",
        "DELETE FROM integrations_auditevent",
        "DELETE FROM integrations_auditevent WHERE id > 0",
    ],
)
def test_the_database_refuses_even_raw_sql(statement: str) -> None:
    audit.record("smtp connected", actor="ada")
    with transaction.atomic():
        with connection.cursor() as cursor:
            for guard in accounts.GUARD[connection.vendor]:
                cursor.execute(guard)
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                cursor.execute(statement)
            audit.record("smtp disconnected", actor="ada")
        assert [event.actor for event in AuditEvent.objects.all()] == ["ada", "ada"]
        transaction.set_rollback(True)


def test_a_row_cannot_be_put_in_the_place_of_another() -> None:
    """SQLite's REPLACE deletes without a DELETE trigger; elsewhere the key is taken."""
    audit.record("smtp connected", actor="ada")
    verb = "INSERT OR REPLACE" if connection.vendor == "sqlite" else "INSERT"
    with transaction.atomic():
        with connection.cursor() as cursor:
            for guard in accounts.GUARD[connection.vendor]:
                cursor.execute(guard)
            with pytest.raises(DatabaseError), transaction.atomic():
                cursor.execute(
                    f"{verb} INTO integrations_auditevent (id, at, actor, action, details) "
                    "SELECT id, at, 'eve', action, details FROM integrations_auditevent"
                )
        assert [event.actor for event in AuditEvent.objects.all()] == ["ada"]
        transaction.set_rollback(True)


def test_the_guard_can_be_taken_away_and_put_back() -> None:
    """As the migration does, forwards and backwards."""
    audit.record("smtp connected", actor="ada")
    with connection.cursor() as cursor:
        for statement in accounts.GUARD[connection.vendor] + accounts.UNGUARD[connection.vendor]:
            cursor.execute(statement)
        cursor.execute("DELETE FROM integrations_auditevent")
    assert AuditEvent.objects.count() == 0
