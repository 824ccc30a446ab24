"""What the database itself refuses, whoever writes to it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction

from integrations.models import ApiToken, AuditEvent, SendGridIntegration, SmtpIntegration
from workflows.models import Attempt, Delivery, Event, Recipient, Run

pytestmark = pytest.mark.django_db


def refused(constraint: str) -> Any:
    """Expect the database to refuse, by this constraint or, on SQLite, by the columns of a unique one."""
    names = {"one_smtp_connected": "integrations_smtpintegration.connected"}
    names["one_sendgrid_connected"] = "integrations_sendgridintegration.connected"
    other = names.get(constraint, constraint)
    return pytest.raises(IntegrityError, match=f"{constraint}|{other}")


def smtp(**values: Any) -> SmtpIntegration:
    return SmtpIntegration(address="relay.test", **values)


def test_several_may_be_stored_and_one_of_each_kind_connected() -> None:
    smtp(connected=True, user_name="user", password="right horse").save()
    smtp().save()
    smtp().save()
    SendGridIntegration(connected=True, api_key="SG.key").save()
    SendGridIntegration().save()
    assert list(SmtpIntegration.objects.order_by("pk").values_list("connected", flat=True)) == [True, False, False]
    assert list(SendGridIntegration.objects.order_by("pk").values_list("connected", flat=True)) == [True, False]


def test_a_second_smtp_cannot_be_connected() -> None:
    smtp(connected=True).save()
    with refused("one_smtp_connected"), transaction.atomic():
        smtp(connected=True).save()
    second = smtp()
    second.save()
    with refused("one_smtp_connected"), transaction.atomic():
        SmtpIntegration.objects.filter(pk=second.pk).update(connected=True)


def test_a_second_sendgrid_cannot_be_connected() -> None:
    SendGridIntegration(connected=True, api_key="SG.key").save()
    with refused("one_sendgrid_connected"), transaction.atomic():
        SendGridIntegration(connected=True, api_key="SG.other").save()


@pytest.mark.parametrize("values", [{"user_name": "user"}, {"password": "right horse"}, {"password": ""}])
def test_a_disconnected_smtp_holds_no_credential(values: dict[str, str]) -> None:
    with refused("smtp_disconnected_holds_no_secret"), transaction.atomic():
        smtp(**values).save()
    row = smtp(connected=True, **values)
    row.save()
    with refused("smtp_disconnected_holds_no_secret"), transaction.atomic():
        SmtpIntegration.objects.update(connected=False)


def test_a_disconnected_sendgrid_holds_no_key() -> None:
    with refused("sendgrid_disconnected_holds_no_secret"), transaction.atomic():
        SendGridIntegration(api_key="SG.key").save()


@pytest.mark.parametrize("port", [0, 65536, 100_000])
def test_a_port_that_does_not_exist(port: int) -> None:
    with refused("smtp_port_in_range"), transaction.atomic():
        smtp(port=port).save()


@pytest.mark.parametrize("port", [1, 65535])
def test_the_outermost_ports(port: int) -> None:
    smtp(port=port).save()
    assert SmtpIntegration.objects.get().port == port


def test_ssl_and_starttls_exclude_each_other() -> None:
    with refused("smtp_ssl_or_starttls"), transaction.atomic():
        smtp(ssl=True, enable_starttls=True).save()


def test_the_documented_defaults() -> None:
    row = SmtpIntegration()
    names = ["port", "domain", "user_name", "password", "authentication", "enable_starttls", "enable_starttls_auto"]
    names += ["ssl", "openssl_verify_mode", "allow_clear_text_auth", "default_from", "connected"]
    assert [getattr(row, name) for name in names] == [
        *(587, "", None, None, "plain", False, True),
        *(True, "none", False, "", False),
    ]
    assert SendGridIntegration().base_url == "https://api.sendgrid.com"


def test_a_row_says_no_secret() -> None:
    row = smtp(connected=True, user_name="user", password="right horse")
    assert (str(row), repr(row)) == ("SMTP, connected", "<SmtpIntegration: SMTP, connected>")
    assert str(SendGridIntegration(api_key="SG.key")) == "SendGrid, not connected"


# The audit log


def test_an_audit_event_is_written_once() -> None:
    event = AuditEvent.objects.create(action="smtp connected", actor="ada", details={"changed": ["port"]})
    event.actor = "somebody else"
    with pytest.raises(TypeError, match="append-only"):
        event.save()
    with pytest.raises(TypeError, match="append-only"):
        event.delete()
    with pytest.raises(TypeError, match="append-only"):
        AuditEvent(pk=event.pk, actor="somebody else", action="x").save()
    [found] = AuditEvent.objects.all()
    assert (found.actor, found.action, found.details) == ("ada", "smtp connected", {"changed": ["port"]})


@pytest.mark.parametrize(
    "change",
    [
        lambda event: AuditEvent.objects.update(actor="x"),
        lambda event: AuditEvent.objects.filter(pk=event.pk).update(actor="x"),
        lambda event: AuditEvent.objects.all().delete(),
        lambda event: AuditEvent.objects.filter(pk=event.pk).delete(),
        lambda event: AuditEvent.objects.bulk_update([event], ["actor"]),
        lambda event: AuditEvent.objects.update_or_create(pk=event.pk, defaults={"actor": "x"}),
    ],
)
def test_the_orm_neither_changes_nor_deletes_audit_events(change: Any) -> None:
    event = AuditEvent.objects.create(action="smtp connected", actor="ada")
    with pytest.raises(TypeError, match="append-only"), transaction.atomic():
        change(event)
    assert AuditEvent.objects.get().actor == "ada"


def test_the_newest_audit_event_comes_first() -> None:
    for action in ("first", "second", "third"):
        AuditEvent.objects.create(action=action, actor="ada")
    assert list(AuditEvent.objects.values_list("action", flat=True)) == ["third", "second", "first"]


# Tokens


@pytest.mark.parametrize("same", [{"name": "pager"}, {"digest": "1" * 64}])
def test_a_token_has_its_own_name_and_its_own_digest(same: dict[str, str]) -> None:
    ApiToken.objects.create(name="pager", digest="1" * 64)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApiToken.objects.create(**({"name": "other", "digest": "2" * 64} | same))


def test_the_permission_exists(admin: Any, member: Any) -> None:
    assert admin.has_perm("integrations.manage_integrations")
    assert not member.has_perm("integrations.manage_integrations")


def test_the_constraints_are_in_the_database_and_not_only_in_python() -> None:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "integrations_smtpintegration")
    assert {
        "one_smtp_connected",
        "smtp_port_in_range",
        "smtp_ssl_or_starttls",
        "smtp_disconnected_holds_no_secret",
    } <= set(found)


def whole_indexes(model: type[models.Model]) -> list[tuple[str, ...]]:
    """Return the columns of each index that holds all rows; one with a condition costs nothing where that is false."""
    meta = model._meta
    found = [(field.name,) for field in meta.concrete_fields if field.db_index or field.unique]
    found += [tuple(index.fields) for index in meta.indexes if index.condition is None]
    unique = [one for one in meta.constraints if isinstance(one, models.UniqueConstraint)]
    return found + [tuple(one.fields) for one in unique if one.condition is None]


@pytest.mark.parametrize("model", [Event, Run, Delivery, Recipient, Attempt])
def test_no_index_is_the_beginning_of_another_one(model: type[models.Model]) -> None:
    """Each costs with every mail, and the longer one finds the same."""
    found = whole_indexes(model)
    assert not [one for one in found for other in found if one and one != other and other[: len(one)] == one]
