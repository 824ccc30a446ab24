"""The short way in which nearly every mail's outcome is written."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.models import SmtpIntegration
from tests.fake_relay import FakeRelay
from tests.test_runs import SEV1, changed, queued
from workflows import acceptance, delivery, runs, services
from workflows.events import Incoming
from workflows.ids import new_id
from workflows.models import Attempt, Delivery, Recipient, Run

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router")]

# What differs from mail to mail, whichever way its outcome is written.
OF_ITS_OWN = {
    "id",
    "checks",
    "run_id",
    "event_id",
    "delivery_id",
    "message_id",
    "content",
    "transcript",
    "milliseconds",
    "lease",
    "sent_from",
    "provider_id",
}


def stored(mails: int = 1) -> None:
    queued(changed("wait", None))
    for _ in range(mails - 1):
        services.trigger(Incoming("incident_created", SEV1))
    runs.execute_due()


def rows_of(mail: Delivery) -> list[dict[str, Any]]:
    found = [
        *Delivery.objects.filter(pk=mail.pk).values(),
        *Recipient.objects.filter(delivery=mail).values(),
        *Attempt.objects.filter(delivery=mail).values(),
        *Run.objects.filter(pk=mail.run_id).values(),
    ]
    return [{name: _kind(name, value) for name, value in row.items() if name not in OF_ITS_OWN} for row in found]


def _kind(name: str, value: Any) -> Any:
    """Of a time only whether there is one, and of a reply what is not the number of its mail."""
    if name == "reply":
        return value.rstrip("0123456789")
    return type(value).__name__ if name == "at" or name.endswith("_at") else value


def test_it_leaves_the_same_rows_behind_as_the_long_one(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=2)
    plain, answers = acceptance.is_plain, [True, False]
    monkeypatch.setattr(acceptance, "is_plain", lambda *those: answers.pop(0) and plain(*those))
    delivery.send_due()
    short, long = Delivery.objects.order_by("pk")
    assert rows_of(short) == rows_of(long)
    assert (short.state, short.run.status, len(relay.ledger)) == ("accepted", "completed", 2)


def test_a_mail_of_several_recipients_is_recorded_for_each(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    queued(changed("tasks.0.task_params.to", ["a@example.org", "b@example.org"]))
    Run.objects.update(due_at="2020-01-01T00:00:00Z")
    runs.execute_due()
    delivery.send_due()
    said = Recipient.objects.order_by("pk").values_list("address", "state", "code")
    assert list(said) == [("a@example.org", "accepted", 250), ("b@example.org", "accepted", 250)]


def test_without_the_lease_nothing_is_written_and_nothing_more_is_sent(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=3)
    note = acceptance._note

    def robbed(values: dict[str, Any]) -> bool:
        Delivery.objects.filter(state="sending").update(lease=new_id())
        return note(values)

    monkeypatch.setattr(acceptance, "_note", robbed)
    delivery.send_due()
    assert len(relay.ledger) == 1
    assert set(Delivery.objects.values_list("state", "accepted_at")) == {("sending", None)}
    assert not Attempt.objects.exists()
    assert set(Recipient.objects.values_list("state", flat=True)) == {"queued"}
    assert set(Run.objects.values_list("status", flat=True)) == {"started"}


def test_a_run_with_several_mails_ends_with_the_last_of_them(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "note", None)  # is not called for one of several
    document = changed("wait", None)
    task = document["workflows"][0]["tasks"][0]
    document["workflows"][0]["tasks"] = [task | {"position": 1}, task | {"position": 2}]
    run = queued(document)
    runs.execute_due()
    delivery.send_due()
    run.refresh_from_db()
    assert (run.status, len(relay.ledger)) == ("completed", 2)
