"""The database crashes, and takes along what did not wait for its disk: pretended; really in test_postgresql_crash."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connection

from integrations import standing
from integrations.models import SmtpIntegration
from tests.fake_relay import FakeRelay
from tests.statements import watched
from tests.test_acceptance import die_before, states, stored
from workflows import acceptance, delivery, leases, starts
from workflows.models import Attempt, Delivery

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router")]


def crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database, or its machine, crashes and starts again."""
    before = starts.this_one()
    monkeypatch.setattr(starts, "this_one", lambda: before ^ 1)
    monkeypatch.setattr(starts, "is_lately", lambda: False)


def test_after_a_crash_of_the_database_every_mail_of_a_batch_without_a_note_is_unknown(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=4)
    die_before(monkeypatch, "give_back")
    Attempt.objects.filter(delivery__in=[mail.pk for mail in Delivery.objects.order_by("pk")[2:]]).delete()
    crash(monkeypatch)
    delivery.free_expired_leases()
    assert states() == [("accepted", 1), ("accepted", 1), ("unknown", 1), ("unknown", 1)]
    assert Attempt.objects.order_by("-pk")[0].reply.startswith("The database or its machine crashed while a worker")


def test_a_worker_that_outlives_a_crash_notes_again_what_that_took_along(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=3)
    give_back = leases.Lease.give_back

    def crash_before(lease: leases.Lease, **options: Any) -> None:
        Attempt.objects.all().delete()
        crash(monkeypatch)
        give_back(lease, **options)

    monkeypatch.setattr(leases.Lease, "give_back", crash_before)
    delivery.send_due()
    assert states() == [("accepted", 1)] * 3
    assert [attempt.code for attempt in Attempt.objects.all()] == [250] * 3
    assert len(relay.ledger) == 3


def test_so_they_are_where_the_sweeper_that_took_them_over_ends_as_well(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=3)
    die_before(monkeypatch, "give_back")
    Attempt.objects.all().delete()
    crash(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_end_in_flight", lambda _: None)
        delivery.free_expired_leases()
    assert states() == [("sending", 0)] * 3
    Delivery.objects.update(lease_expires_at="2020-01-01T00:00:00Z")
    delivery.free_expired_leases()
    assert states() == [("unknown", 1)] * 3


class Killed(BaseException):
    """The process ends here."""


def sweep_for(statements: int) -> bool:
    """Sweep, and end before the statement after so many; say whether the sweep came to its end."""
    left = iter(range(statements))

    def count(*_: object) -> None:
        if next(left, None) is None:
            raise Killed

    try:
        with watched(connection, count):
            delivery.free_expired_leases()
    except Killed:
        connection.close()
        Delivery.objects.filter(lease__isnull=False).update(lease_expires_at="2020-01-01T00:00:00Z")
        return False
    return True


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("crashed", [False, True])
@pytest.mark.parametrize("noted", [0, 2, 4])
def test_wherever_sweepers_end_the_same_comes_of_a_dead_workers_batch(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, noted: int, crashed: bool
) -> None:
    stored(mails=4)
    die_before(monkeypatch, "give_back")
    Attempt.objects.filter(delivery__in=[mail.pk for mail in Delivery.objects.order_by("pk")[noted:]]).delete()
    if crashed:
        crash(monkeypatch)
    statements = 0
    while not sweep_for(statements):
        statements += 1
    assert statements > 3
    rest = "unknown" if crashed else "queued"
    assert [state for state, _ in states()] == (["accepted"] * noted + ["unknown", rest, rest, rest])[:4]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What is to be done when the database is there again; nobody waits for long."""
    put_off: list[Callable[[], None]] = []
    monkeypatch.setattr(leases, "_do_when_it_is_back", put_off.append)
    monkeypatch.setattr("workflows.stubborn.PAUSES", ())
    monkeypatch.setattr("workflows.stubborn.connection.close", lambda: None)
    return put_off


def let_leases_expire() -> None:
    Delivery.objects.filter(state="sending").update(lease_expires_at="2020-01-01T00:00:00Z")


@pytest.mark.parametrize("fails", ["_note", "_may_send", "settle"])
def test_what_was_accepted_is_known_after_a_crash_of_the_database_that_outlasts_all_patience(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, later: list[Any], fails: str
) -> None:
    stored(mails=4)
    place: Any = leases.Lease if fails == "_may_send" else acceptance
    act, left = getattr(place, fails), iter(range(0 if fails == "settle" else 2))

    def away_for_long(*arguments: Any, **options: Any) -> Any:
        if next(left, None) is None:
            raise OperationalError("gone")
        return act(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(place, fails, away_for_long)
        with pytest.raises(OperationalError):
            delivery.send_due()
    Attempt.objects.all().delete()  # no note was on the disk
    let_leases_expire()
    crash(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(starts, "is_lately", lambda: True)
        delivery.free_expired_leases()
    assert {state for state, _ in states()} == {"sending"}, "for a while they are left to the worker that lives"
    for give_back in later:
        give_back()
    delivery.free_expired_leases()
    assert [state for state, _ in states()] == (["accepted"] * len(relay.ledger) + ["queued"] * 4)[:4]


def test_an_acceptance_that_the_database_did_not_hear_is_noted_when_it_is_back(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, later: list[Any]
) -> None:
    """A disk is rarely full for less than a minute: each worker process left a mail unknown, which was sent twice."""
    stored(mails=2)
    with monkeypatch.context() as patch:
        patch.setattr(acceptance, "_note", lambda *_, **__: _raise(OperationalError("database or disk is full")))
        with pytest.raises(OperationalError, match="disk is full"):
            delivery.send_due()
    for give_back in later:
        give_back()
    assert [state for state, _ in states()] == ["accepted", "queued"]
    delivery.send_due()
    assert ([state for state, _ in states()], len(relay.ledger)) == (["accepted"] * 2, 2)


def test_it_is_not_where_somebody_else_has_the_mail_by_then(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, later: list[Any]
) -> None:
    stored()
    with monkeypatch.context() as patch:
        patch.setattr(acceptance, "_note", lambda *_, **__: _raise(OperationalError("database or disk is full")))
        with pytest.raises(OperationalError):
            delivery.send_due()
    let_leases_expire()
    delivery.free_expired_leases()
    for give_back in later:
        give_back()
    assert [state for state, _ in states()] == ["unknown"]


def test_mails_that_were_only_claimed_are_queued_again_after_such_a_crash(
    monkeypatch: pytest.MonkeyPatch, later: list[Any]
) -> None:
    stored(mails=2)
    lease = leases.Lease()
    lease.claim()
    with monkeypatch.context() as patch:
        patch.setattr(acceptance, "settle", lambda **_: _raise(OperationalError("gone")))
        with pytest.raises(OperationalError):
            lease.give_back()
    crash(monkeypatch)
    for give_back in later:
        give_back()
    assert [state for state, _ in states()] == ["queued"] * 2


def _raise(error: Exception) -> None:
    raise error


def test_a_standby_that_lagged_behind_brings_no_mail_back_that_was_sent(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=3)
    monkeypatch.setattr(leases, "SETTLE_AFTER", 0.0)
    remember = leases.Lease.remember

    def fail_over(lease: leases.Lease, noted: acceptance.Note | None) -> None:
        remember(lease, noted)
        if len(relay.ledger) == 2:  # both are settled, of which the standby knows nothing
            Attempt.objects.all().delete()
            Delivery.objects.all().update(state="sending", lease=lease.id)
            crash(monkeypatch)

    monkeypatch.setattr(leases.Lease, "remember", fail_over)
    delivery.send_due()
    assert [state for state, _ in states()] == ["accepted"] * 3
    assert len(relay.ledger) == 3
    assert Attempt.objects.count() == 3


def test_nor_is_a_mail_put_back_as_untried_whose_refusal_it_has_never_heard_of(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=2)
    relay.replies = {".": "451 4.3.0 Try again later"}
    remember, failed_over = leases.Lease.remember, list[bool]()

    def fail_over(lease: leases.Lease, noted: acceptance.Note | None) -> None:
        remember(lease, noted)
        if not failed_over:
            failed_over.append(True)
            Attempt.objects.all().delete()
            Delivery.objects.filter(state="deferred").update(state="sending", lease=lease.id)
            crash(monkeypatch)

    monkeypatch.setattr(leases.Lease, "remember", fail_over)
    delivery.send_due()
    assert [state for state, _ in states()] == ["sending", "deferred"]
    let_leases_expire()
    delivery.free_expired_leases()
    assert [state for state, _ in states()] == ["unknown", "deferred"]


def test_a_mail_that_met_the_crash_before_it_was_handed_over_is_not_doubtful(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(mails=3)
    in_force, asked = standing.in_force, list[bool]()

    def crashed() -> Any:
        asked.append(True)
        if len(asked) == 3:  # for the batch, for the first mail, for the second one
            Attempt.objects.all().delete()
            crash(monkeypatch)
            raise OperationalError("gone")
        return in_force()

    monkeypatch.setattr(standing, "in_force", crashed)
    delivery.send_due()
    assert states() == [("accepted", 1), ("queued", 0), ("queued", 0)]
    assert len(relay.ledger) == 1


def test_what_is_put_off_is_done_when_the_database_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LOOK_AGAIN_AFTER", 0.01)
    failures, done = [OperationalError("gone"), OperationalError("gone")], threading.Event()

    def give_back() -> None:
        if failures:
            raise failures.pop()
        done.set()

    leases._do_when_it_is_back(give_back)
    assert done.wait(10)
    assert failures == []
