"""The short way in which nearly every mail's outcome is written."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from integrations.models import SmtpIntegration
from tests.fake_relay import FakeRelay
from tests.test_runs import SEV1, changed, queued
from workflows import acceptance, delivery, leases, restored, runs, services
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

    def robbed(noted: acceptance.Note, *, wait: bool) -> bool:
        Delivery.objects.filter(state="sending").update(lease=new_id())
        return note(noted, wait=wait)

    monkeypatch.setattr(acceptance, "_note", robbed)
    delivery.send_due()
    assert len(relay.ledger) == 1
    assert set(Delivery.objects.values_list("state", "accepted_at")) == {("sending", None)}
    assert not Attempt.objects.exists()
    assert set(Recipient.objects.values_list("state", flat=True)) == {"queued"}
    assert set(Run.objects.values_list("status", flat=True)) == {"started"}


def die_before(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Have the worker end where it gives its lease back: what it has noted is not settled."""
    with monkeypatch.context() as patch:
        patch.setattr(leases.Lease, function, lambda *_, **__: None)
        delivery.send_due()
    Delivery.objects.filter(state="sending").update(lease_expires_at="2020-01-01T00:00:00Z")


def states() -> list[tuple[str, int]]:
    return list(Delivery.objects.order_by("pk").values_list("state", "tries"))


def test_what_a_dead_worker_had_noted_is_settled_and_only_the_next_one_is_unknown(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=4)
    may_send, asked = leases.Lease.may_send, list[None]()

    def until_the_third(lease: leases.Lease, mail: Delivery) -> bool:
        asked.append(None)
        return len(asked) < 3 and may_send(lease, mail)

    monkeypatch.setattr(leases.Lease, "may_send", until_the_third)
    die_before(monkeypatch, "give_back")
    assert states() == [("sending", 0)] * 4
    delivery.free_expired_leases()
    assert states() == [("accepted", 1), ("accepted", 1), ("unknown", 1), ("queued", 0)]
    assert [run.status for run in Run.objects.order_by("pk")] == ["completed"] * 2 + ["started"] * 2
    assert list(Recipient.objects.order_by("pk").values_list("state", "code"))[:2] == [("accepted", 250)] * 2
    assert (len(relay.ledger), Attempt.objects.filter(outcome="accepted").count()) == (2, 2)


def test_where_all_were_noted_none_is_unknown(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=2)
    die_before(monkeypatch, "give_back")
    delivery.free_expired_leases()
    assert states() == [("accepted", 1)] * 2


def test_a_sweeper_that_ends_within_taking_over_leaves_it_to_the_next(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=2)
    die_before(monkeypatch, "give_back")
    with monkeypatch.context() as patch:
        patch.setattr(acceptance, "_end_runs", lambda *_: 1 / 0)
        delivery.free_expired_leases()
    assert states() == [("sending", 0)] * 2
    delivery.free_expired_leases()
    assert states() == [("accepted", 1)] * 2


def test_after_a_restore_what_was_noted_is_no_doubt(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=2)
    die_before(monkeypatch, "give_back")
    assert restored.hold_back(actor="ada") == restored.Doubtful(0, 0)
    assert states() == [("accepted", 1)] * 2


def test_a_note_whose_success_was_not_heard_is_not_made_twice(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored()
    note, failures = acceptance._note, [OperationalError("gone")]

    def unheard(noted: acceptance.Note, *, wait: bool) -> bool:
        done = note(noted, wait=wait)
        if failures:
            raise failures.pop()
        return done

    monkeypatch.setattr(acceptance, "_note", unheard)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("workflows.stubborn.connection.close", lambda: None)
    delivery.send_due()
    assert (states(), Attempt.objects.count(), len(relay.ledger)) == ([("accepted", 1)], 1, 1)


def test_over_a_slow_relay_people_see_each_acceptance_while_the_batch_goes_on(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SETTLE_AFTER", 0.0)
    stored(mails=3)
    seen: list[int] = []
    may_send = leases.Lease.may_send

    def looking(lease: leases.Lease, mail: Delivery) -> bool:
        seen.append(Delivery.objects.filter(state="accepted").count())
        return may_send(lease, mail)

    monkeypatch.setattr(leases.Lease, "may_send", looking)
    delivery.send_due()
    assert seen == [0, 1, 2]


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
