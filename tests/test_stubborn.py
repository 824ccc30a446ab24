"""A database that is away for a moment leaves unknown no mail that was not in flight."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from integrations.models import SmtpIntegration
from tests.fake_relay import FakeRelay
from tests.test_delivery import TO, stored
from workflows import delivery, leases, stubborn
from workflows.models import Attempt, Delivery
from workflows.stubborn import stubbornly

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router", "no_pauses")]


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubborn, "PAUSES", (0, 0))
    monkeypatch.setattr(stubborn.connection, "close", lambda: None)  # it would end the test's own transaction


def failing(*failures: Exception, then: Any) -> Any:
    """Return a function that fails so often, and then does what it should."""
    left = list(failures)

    def act(*args: Any, **options: Any) -> Any:
        if left:
            raise left.pop(0)
        return then(*args, **options)

    return act


GONE, CLOSED = OperationalError("gone"), InterfaceError("closed")


def states() -> list[tuple[str, bool]]:
    rows = Delivery.objects.order_by("pk").values_list("state", "lease")
    return [(state, lease is not None) for state, lease in rows]


def test_it_is_tried_again_until_it_succeeds_or_a_minute_is_over() -> None:
    assert stubbornly(failing(GONE, CLOSED, then=lambda: 42), what="it") == 42
    with pytest.raises(InterfaceError):
        stubbornly(failing(GONE, GONE, CLOSED, then=lambda: 42), what="it")


def test_the_pauses_are_those_that_a_lease_outlasts() -> None:
    pauses = (0.5, 1, 2, 4, 8, 16, 32)
    assert leases.RENEW_AFTER + 160 + sum(pauses) < leases.LEASE.total_seconds()


def test_a_database_that_is_away_between_two_mails_holds_up_the_batch_and_no_more(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(*[TO] * 3)
    monkeypatch.setattr(leases.Lease, "_may_send", failing(GONE, CLOSED, then=leases.Lease._may_send))
    delivery.send_due()
    assert states() == [("accepted", False)] * 3
    assert len(relay.ledger) == 3
    assert not Attempt.objects.exclude(outcome="accepted").exists()


def test_a_claim_whose_answer_was_not_heard_is_given_back(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(*[TO] * 2)
    take = leases.Lease._take_due

    def committed_all_the_same(self: leases.Lease) -> int:
        take(self)
        raise GONE

    with monkeypatch.context() as patch:
        patch.setattr(leases.Lease, "_take_due", committed_all_the_same)
        with pytest.raises(OperationalError):
            delivery.send_due()
    assert states() == [("queued", False)] * 2
    delivery.send_due()
    assert len(relay.ledger) == 2


def test_what_was_not_tried_is_given_back_over_a_lost_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    stored(*[TO] * 2)
    lease = leases.Lease()
    lease.claim()
    monkeypatch.setattr(leases.Lease, "_give_back", failing(GONE, CLOSED, then=leases.Lease._give_back))
    lease.give_back()
    assert states() == [("queued", False)] * 2


def let_leases_expire() -> None:
    Delivery.objects.filter(state="sending").update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def test_a_sweeper_that_dies_in_between_makes_no_second_mail_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    stored(*[TO] * 3)
    leases.Lease().claim()
    let_leases_expire()
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "record_error", failing(MemoryError(), then=None))
        delivery.free_expired_leases()
    assert states() == [("sending", True), ("queued", False), ("queued", False)]
    let_leases_expire()
    delivery.free_expired_leases()
    assert [state for state, _ in states()] == ["unknown", "queued", "queued"]


def test_a_sweeper_that_is_held_up_for_longer_than_its_lease_finds_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored()
    leases.Lease().claim()
    let_leases_expire()
    take_over = leases.Lease.take_over

    def held_up(self: leases.Lease, dead: Any) -> int:
        taken = take_over(self, dead)
        if not Attempt.objects.exists():
            let_leases_expire()
            monkeypatch.setattr(leases.Lease, "take_over", take_over)
            delivery.free_expired_leases()
        return taken

    monkeypatch.setattr(leases.Lease, "take_over", held_up)
    delivery.free_expired_leases()
    assert [state for state, _ in states()] == ["unknown"]
    assert Attempt.objects.count() == 1
