"""A deadline ends a mail, whatever it waits for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from integrations import pauses
from integrations.models import SmtpIntegration
from integrations.transports.base import Scope, Stage, TransportError
from tests.fake_relay import FakeRelay
from tests.meanwhile import before_update
from tests.test_delivery import TO, stored
from tests.test_runs import queued, with_tasks
from workflows import deadlines, delivery, leases, runs, tasks
from workflows.models import Delivery, Recipient, Run, Workflow

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router")]


def overdue(**changes: object) -> None:
    Delivery.objects.update(give_up_at=timezone.now() - timedelta(seconds=1), **changes)


def outcome() -> tuple[str, str, str]:
    row = Delivery.objects.get()
    assert row.next_attempt_at is None
    return row.state, row.reason, Run.objects.get().status


def test_a_workflow_says_how_long_its_mails_are_tried() -> None:
    stored()
    assert abs(Delivery.objects.get().give_up_at - timezone.now() - timedelta(hours=24)) < timedelta(seconds=10)
    Run.objects.all().delete()
    run = queued(with_tasks(TO))
    Workflow.objects.update(give_up_after="2 hours", on_unknown="hold")
    runs.execute_due()
    row = Delivery.objects.get(run=run)
    assert abs(row.give_up_at - timezone.now() - timedelta(hours=2)) < timedelta(seconds=10)
    assert row.hold_unknown


def test_what_waits_for_a_paused_provider_fails_with_its_reason(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored()
    pauses.begin("smtp", TransportError("The relay is away.", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    overdue()
    tasks.sweep()
    text = "Given up: its time was over before it was accepted. smtp is paused: The relay is away."
    assert outcome() == ("failed", text, "failed")
    assert set(Recipient.objects.values_list("state", flat=True)) == {"failed"}
    pauses.try_now("smtp", actor="ada")
    delivery.send_due()
    assert relay.ledger == []


def test_the_last_reason_is_kept(smtp: SmtpIntegration) -> None:
    stored()
    overdue(state="deferred", reason="450 busy")
    deadlines.end_overdue()
    assert outcome()[1] == "Given up: its time was over before it was accepted. 450 busy"


def test_what_is_held_is_not_held_for_ever() -> None:
    stored()
    overdue(state="held", next_attempt_at=None, reason="The answer was not heard.")
    deadlines.end_overdue()
    text = "Given up: its time was over before anybody decided what to do. The answer was not heard."
    assert outcome() == ("failed", text, "failed")


def test_what_some_have_is_accepted_and_says_who_has_it_not() -> None:
    stored(TO)
    Recipient.objects.filter(address="a@example.org").update(state="accepted")
    overdue(state="deferred", reason="b@example.org deferred: 450 busy")
    deadlines.end_overdue()
    assert outcome()[0] == "accepted"
    assert list(Recipient.objects.order_by("pk").values_list("state", flat=True)) == ["accepted", "failed", "failed"]


def test_what_a_worker_holds_is_left_to_it() -> None:
    stored()
    leases.Lease().claim()
    overdue()
    deadlines.end_overdue()
    assert Delivery.objects.get().state == "sending"


def test_nothing_ends_before_its_time() -> None:
    stored()
    deadlines.end_overdue()
    assert Delivery.objects.get().state == "queued"


def test_a_long_queue_is_ended_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "BATCH", 2)
    stored(*[TO] * 5)
    overdue()
    deadlines.end_overdue()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"failed"}


def test_what_a_worker_claims_meanwhile_is_left_to_it(smtp: SmtpIntegration) -> None:
    stored()
    overdue()
    with before_update("workflows_delivery", lambda: leases.Lease().claim()):
        deadlines.end_overdue()
    assert Delivery.objects.get().state == "sending"


def test_what_is_told_meanwhile_of_one_recipient_counts() -> None:
    stored(TO)
    overdue(state="unknown")
    told_of = Recipient.objects.filter(address="a@example.org")
    with before_update("workflows_delivery", lambda: told_of.update(state="accepted")):
        deadlines.end_overdue()
    assert outcome()[0] == "accepted"
    assert list(Recipient.objects.order_by("pk").values_list("state", flat=True)) == ["accepted", "failed", "failed"]


def test_a_mail_that_cannot_be_ended_does_not_keep_the_others_from_leaving(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumble(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    stored()
    monkeypatch.setattr(deadlines, "end_overdue", stumble)
    with pytest.raises(ZeroDivisionError):
        tasks.sweep()
    assert len(relay.ledger) == 1
