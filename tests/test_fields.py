"""Encrypted columns that cannot lose or leak what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import FieldError
from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat

from integrations.fields import Undecryptable
from integrations.models import SendGridIntegration, SmtpIntegration

pytestmark = pytest.mark.django_db
SECRETS = ("relay.example.test", "user@example.test", "right horse", "SG.a-secret-key")


@pytest.fixture
def row() -> SmtpIntegration:
    return SmtpIntegration.objects.create(
        connected=True, address="relay.example.test", user_name="user@example.test", password="right horse"
    )


@pytest.fixture
def other_keys(settings: Any) -> Iterator[Any]:
    """Return a function that changes FERNET_KEYS; the fields keep theirs, once made, so they are made to forget."""

    def use(*keys: str) -> None:
        settings.FERNET_KEYS = list(keys)
        forget_keys()

    before = settings.FERNET_KEYS
    yield use
    use(*before)


def forget_keys() -> None:
    for model in (SmtpIntegration, SendGridIntegration):
        for field in model._meta.concrete_fields:
            for name in ("keys", "fernet_keys", "fernet"):
                field.__dict__.pop(name, None)


def in_the_database(table: str, column: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM integrations_{table}")
        return cursor.fetchone()[0]


def test_the_database_holds_no_plain_value(row: SmtpIntegration) -> None:
    SendGridIntegration.objects.create(connected=True, api_key="SG.a-secret-key")
    stored = {
        column: bytes(in_the_database("smtpintegration", column)) for column in ("address", "user_name", "password")
    }
    stored["api_key"] = bytes(in_the_database("sendgridintegration", "api_key"))
    assert all(value.startswith(b"gAAAA") for value in stored.values())
    assert not any(secret.encode() in value for secret in SECRETS for value in stored.values())
    assert len(set(stored.values())) == 4
    row.refresh_from_db()
    assert (row.address, row.user_name, row.password) == SECRETS[:3]
    assert SendGridIntegration.objects.get().api_key == "SG.a-secret-key"


def test_the_same_value_never_looks_the_same_twice(row: SmtpIntegration) -> None:
    before = bytes(in_the_database("smtpintegration", "password"))
    row.save()
    assert bytes(in_the_database("smtpintegration", "password")) != before


@pytest.mark.parametrize("value", ["", " with blanks ", "naïve — 鍵 🔑", "x" * 5000, "{{ x }} %s \\ ' \""])
def test_any_text_comes_back_as_it_was(row: SmtpIntegration, value: str) -> None:
    row.password = value
    row.save()
    assert SmtpIntegration.objects.get().password == value


def test_none_stays_null(row: SmtpIntegration) -> None:
    row.user_name = row.password = None
    row.save()
    assert in_the_database("smtpintegration", "password") is None
    assert SmtpIntegration.objects.get().password is None
    assert SmtpIntegration.objects.filter(password__isnull=True).exists()


def test_a_plain_update_is_encrypted(row: SmtpIntegration) -> None:
    SmtpIntegration.objects.update(password="another horse")
    assert b"another" not in bytes(in_the_database("smtpintegration", "password"))
    assert SmtpIntegration.objects.get().password == "another horse"


@pytest.mark.parametrize(
    "expression",
    [F("user_name"), F("port"), Concat("user_name", Value("!")), Value("plain")],
    ids=["F", "F of another column", "Concat", "Value"],
)
def test_an_expression_is_refused_and_nothing_is_lost(row: SmtpIntegration, expression: Any) -> None:
    text = r"SmtpIntegration\.password is encrypted: save\(\) the objects one by one"
    with pytest.raises(FieldError, match=text), transaction.atomic():
        SmtpIntegration.objects.update(password=expression)
    row.password = expression
    with pytest.raises(FieldError, match=text), transaction.atomic():
        row.save()
    assert SmtpIntegration.objects.get().password == "right horse"


def test_a_bulk_update_is_refused_and_nothing_is_lost(row: SmtpIntegration) -> None:
    row.address = "other.example.test"
    with pytest.raises(FieldError, match=r"SmtpIntegration\.address is encrypted"), transaction.atomic():
        SmtpIntegration.objects.bulk_update([row], ["address"])
    row.port = 25
    SmtpIntegration.objects.bulk_update([row], ["port"])
    row.refresh_from_db()
    assert (row.address, row.port) == ("relay.example.test", 25)


def test_nothing_can_be_looked_up_by_a_secret(row: SmtpIntegration) -> None:
    with pytest.raises(FieldError):
        SmtpIntegration.objects.filter(password="right horse").exists()


def test_with_a_wrong_key_it_says_what_cannot_be_read_and_what_to_do(row: SmtpIntegration, other_keys: Any) -> None:
    other_keys("another key")
    with pytest.raises(Undecryptable) as caught:
        SmtpIntegration.objects.get()
    assert str(caught.value) == (
        "The stored Address of SMTP cannot be decrypted. Put the key that it was saved with back into FERNET_KEYS, "
        "or disconnect and enter it again."
    )
    with pytest.raises(Undecryptable, match="The stored Password of SMTP"):
        SmtpIntegration.objects.defer("address", "user_name").get()
    assert SmtpIntegration.objects.only("connected").get().connected


def test_a_damaged_value_is_an_error_and_no_blank(row: SmtpIntegration) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE integrations_smtpintegration SET password = %s", [Fernet(Fernet.generate_key()).encrypt(b"")]
        )
    with pytest.raises(Undecryptable, match="The stored Password of SMTP"):
        SmtpIntegration.objects.get()


def test_an_old_key_still_reads_and_the_first_one_writes(row: SmtpIntegration, other_keys: Any) -> None:
    other_keys("a new key", "a key for the tests alone")
    old = SmtpIntegration.objects.get()
    assert old.password == "right horse"
    old.save()
    other_keys("a new key")
    assert SmtpIntegration.objects.get().password == "right horse"
