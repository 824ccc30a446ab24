"""How long a worker works for one ring of the doorbell."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from integrations import clock
from integrations.models import ProviderState, SmtpIntegration
from tests.fake_relay import FakeRelay
from tests.statements import watched
from tests.test_documents import changed
from tests.test_trigger import SEV1
from workflows import (
    acceptance,
    counting,
    deadlines,
    delivery,
    documents,
    heartbeat,
    leases,
    outcomes,
    retention,
    runs,
    services,
    shift,
    tasks,
)
from workflows.events import Incoming
from workflows.leases import Lease
from workflows.models import Delivery, Recipient

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router")]

# A partial index read whole is no table read whole: it holds what is due, or held.
GROWING = re.compile(
    r"^SCAN (?:workflows_(?:event|run|delivery|recipient|attempt)|noted)\b(?!.* INDEX \w+_(?:due|leased)\b)"
    r"|INDEX (?:delivery_by_state|run_by_status) \(stat(?:e|us)=\?(?! AND id=)"
)


@pytest.fixture(autouse=True)
def workflow(smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    documents.load(changed("wait", None))
    monkeypatch.setattr(services, "ring", lambda: None)


def trigger(events: int = 1) -> None:
    services.trigger_all([Incoming("incident_created", SEV1)] * events)


def work(until: float = 0.0, longest: float = shift.LONGEST) -> int:
    """Work, and return how often another worker was called."""
    calls: list[None] = []
    shift.work(until=until, call_another=lambda _: calls.append(None), longest=longest)
    return len(calls)


def test_all_that_is_due_is_sent(relay: FakeRelay) -> None:
    trigger(3)
    assert work() == 0
    assert len(relay.ledger) == 3


def test_what_runs_make_is_sent_from_memory(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "_take_due", lambda _: pytest.fail("it is claimed"))
    monkeypatch.setattr(delivery, "BATCH", 0)
    trigger(2)
    runs.execute_due(hold=(lease := Lease()))
    assert set(Delivery.objects.values_list("state", "lease")) == {("sending", lease.id)}
    with pytest.raises(pytest.fail.Exception):  # afterwards it asks for more
        delivery.send_due(lease)
    assert len(relay.ledger) == 2
    assert set(Delivery.objects.values_list("state", "lease")) == {("accepted", None)}


def test_a_refusal_of_one_recipient_is_recorded_for_a_mail_that_was_sent_from_memory(relay: FakeRelay) -> None:
    document = changed("wait", None)
    document["workflows"][0]["tasks"][0]["task_params"]["to"] = ["a@example.org", "gone@example.org"]
    documents.load(document)
    relay.replies = {"RCPT TO:<gone@example.org>": "550 5.1.1 no such user"}
    trigger()
    work()
    said = Recipient.objects.order_by("pk").values_list("state", "code")
    assert list(said) == [("accepted", 250), ("refused", 550)]


def test_while_the_provider_is_paused_what_runs_make_is_queued(relay: FakeRelay) -> None:
    ProviderState.objects.update_or_create(
        pk="smtp", defaults={"paused_at": clock.now(), "next_try_at": clock.now() + timedelta(hours=1)}
    )
    trigger(2)
    work()
    assert list(Delivery.objects.values_list("state", "lease", "tries")) == [("queued", None, 0)] * 2
    assert relay.ledger == []


def test_a_defect_behind_the_relays_answer_does_not_give_the_mail_back(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger(2)
    monkeypatch.setattr(acceptance, "note", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        work()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sending"}
    Delivery.objects.update(lease_expires_at=clock.now() - timedelta(seconds=1))
    delivery.free_expired_leases()
    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["unknown", "queued"]


def test_a_database_that_is_away_before_the_first_mail_leaves_none_leased(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> str:
        raise OperationalError("gone")

    trigger(2)
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "why_waiting", away)
        with pytest.raises(OperationalError):
            work()
    assert set(Delivery.objects.values_list("state", "lease")) == {("queued", None)}
    work()
    assert len(relay.ledger) == 2


def test_a_group_whose_commit_was_not_heard_is_sent_all_the_same(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = runs._start_together

    def unheard(batch: list[runs.Made]) -> None:
        start(batch)
        raise OperationalError("gone")

    monkeypatch.setattr(runs, "_start_together", unheard)
    monkeypatch.setattr(Lease, "_take_due", lambda _: 0)  # they are not queued meanwhile
    trigger(2)
    work()
    assert len(relay.ledger) == 2
    assert set(Delivery.objects.values_list("state", "lease")) == {("accepted", None)}


def test_both_batches_of_a_round_share_one_time(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    trigger(2)
    runs.execute_due()  # queued: to be claimed after what the next runs make
    trigger(1)
    made = Lease()
    runs.execute_due(hold=made)
    made.began -= leases.BATCH_SECONDS + 1
    delivery.send_due(made)
    assert relay.ledger == []
    assert set(Delivery.objects.values_list("state", flat=True)) == {"queued"}


def test_a_lease_that_was_stored_in_parts_is_taken_over_whole(relay: FakeRelay) -> None:
    trigger(2)
    dead = Lease()
    runs.execute_due(hold=dead)
    first, second = Delivery.objects.order_by("pk")
    Delivery.objects.filter(pk=first.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))
    delivery.free_expired_leases()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sending"}
    Delivery.objects.filter(pk=second.pk).update(lease_expires_at=clock.now() - timedelta(seconds=1))
    delivery.free_expired_leases()
    assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["unknown", "queued"]


def test_a_lease_from_the_future_ends_like_any_other(relay: FakeRelay) -> None:
    """A clock wrote it that was ahead. Who holds it may live: nothing is taken away at once."""
    trigger(2)
    runs.execute_due(hold=Lease())
    Delivery.objects.update(lease_expires_at=clock.now() + timedelta(days=1))
    delivery.free_expired_leases()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sending"}
    assert max(Delivery.objects.values_list("lease_expires_at", flat=True)) <= clock.now() + leases.LEASE


def test_a_large_mail_is_not_kept_in_memory_until_its_turn(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SMALL", 10)
    trigger(1)
    made = Lease()
    runs.execute_due(hold=made)
    assert made.batch[0].get_deferred_fields() == {"content"}
    delivery.send_due(made)
    assert len(relay.ledger) == 1


def test_an_answer_outlasts_a_database_that_is_away_for_a_moment(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a mail sent from memory, too, whose recipients' numbers have to be asked for."""
    bring, failures = outcomes._bring_numbers, [OperationalError("gone")]

    def stumble(mail: Delivery) -> None:
        if failures:
            raise failures.pop()
        bring(mail)

    monkeypatch.setattr(outcomes, "_bring_numbers", stumble)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr("workflows.stubborn.connection.close", lambda: None)
    relay.replies = {"RCPT": "550 5.1.1 no such user"}
    trigger()
    work()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"failed"}
    assert set(Recipient.objects.values_list("state", flat=True)) == {"refused"}


def test_what_comes_in_the_next_moment_is_sent_without_another_ring(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            trigger()

    monkeypatch.setattr(shift, "PAUSES", (0.0001, 0.0003))  # shorter than any round
    monkeypatch.setattr(time, "sleep", sleep)
    work(until=shift.until(0.2))
    assert len(relay.ledger) == 1
    assert pauses[:3] == [0.0001, 0.0002, 0.0003]
    assert shift.PAUSES[1] < pauses[3] <= shift.LONGEST_PAUSE, "it rests only after a round that sent something"


def test_what_came_while_a_mail_took_long_is_looked_for_once_more(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger()
    send = delivery.send_due

    def slowly(made: Lease) -> bool:
        more = send(made)
        if len(relay.ledger) == 1:
            trigger()
            time.sleep(0.3)  # beyond the moment until which the ring spoke
        return more

    monkeypatch.setattr(delivery, "send_due", slowly)
    work(until=shift.until(0.2))
    assert len(relay.ledger) == 2


def test_an_old_ring_does_not_keep_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    work(until=shift.until(-1.0))


@pytest.mark.parametrize(("ago", "carried_out"), [(0.0, 1), (9.0, 1), (11.0, 0)])
def test_a_call_that_nobody_took_in_time_is_worth_nothing(relay: FakeRelay, ago: float, carried_out: int) -> None:
    trigger()
    tasks.work(shift.until(-ago))
    assert len(relay.ledger) == carried_out


def test_a_call_for_another_worker_is_as_young_as_it_is(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would otherwise grow old with the ring that the first worker of a row has heard."""
    rung: list[float] = []
    monkeypatch.setattr(tasks.work, "apply_async", lambda args: rung.extend(args))
    monkeypatch.setattr(runs, "BATCH", 2)
    trigger(3)
    tasks.work(shift.until(-9.0))
    trigger(3)
    tasks.sweep()
    assert len(rung) == 2
    assert min(rung) > shift.until(-5.0)


def test_a_call_for_another_worker_names_the_moment_of_the_ring(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[float] = []
    monkeypatch.setattr(tasks.work, "apply_async", lambda args: rung.extend(args))
    monkeypatch.setattr(runs, "BATCH", 2)
    trigger(3)
    soon = shift.until(0.5)
    tasks.work(soon)
    assert rung == [soon]


def test_another_worker_is_called_once_for_more_than_a_batch(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BATCH", 2)
    trigger(7)
    assert work() == 1
    assert len(relay.ledger) == 7


def test_the_other_worker_is_called_before_the_first_mail_leaves(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "BATCH", 2)
    trigger(3)
    left: list[int] = []
    shift.work(until=0.0, call_another=lambda _: left.append(len(relay.ledger)))
    assert left == [0]


def test_a_broker_that_is_down_keeps_no_mail(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(tasks.work, "apply_async", refuse)
    monkeypatch.setattr(runs, "BATCH", 2)
    trigger(3)
    tasks.work()
    assert len(relay.ledger) == 3
    assert "no other worker is called" in caplog.text


def test_other_tasks_have_their_turn(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "BATCH", 2)
    trigger(7)
    assert work(longest=0.0) == 1
    assert len(relay.ledger) == 2


def test_a_worker_that_is_told_to_stop_begins_nothing_more(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    trigger()
    monkeypatch.setattr("workflows.stopping.requested", lambda: True)
    passed_on: list[float] = []
    shift.work(until=(moment := shift.until(10)), call_another=passed_on.append)
    assert passed_on == [moment], "another one looks on in its place"
    assert (relay.ledger, Delivery.objects.count()) == ([], 0)


def test_mail_that_cannot_leave_now_does_not_keep_a_worker_longer(
    relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay.replies = {"MAIL": "421 busy"}
    trigger()
    began = time.monotonic()
    work(until=shift.until(0.1))
    assert time.monotonic() - began < 5
    assert Delivery.objects.get().state == "deferred"
    assert delivery.send_due() is False


def test_a_ring_of_a_clock_that_was_set_back_keeps_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift, "LOOK_ON", 0.05)
    began = time.monotonic()
    work(until=shift.until(86_400))
    assert time.monotonic() - began < 5


if connection.vendor == "sqlite":  # test_million looks at the plans of PostgreSQL

    def test_nothing_on_the_road_reads_a_table_or_all_rows_of_a_state_from_end_to_end(
        relay: FakeRelay,
    ) -> None:
        scans: list[str] = []
        explained: set[str] = set()

        def look(sql: str, values: Any) -> None:
            if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "INSERT INTO workflows_attempt")):
                with connection.cursor() as cursor:
                    cursor.execute(f"EXPLAIN QUERY PLAN {sql}", values)
                    scans.extend(f"{row[3]}: {sql}" for row in cursor.fetchall() if GROWING.search(row[3]))
                explained.add(sql.split()[0])

        trigger(3)
        with watched(connection, look):
            work()
            delivery.free_expired_leases()
            runs.free_expired_leases()
            deadlines.end_overdue()
            retention.forget_old()
        assert len(relay.ledger) == 3
        assert explained == {"SELECT", "UPDATE", "INSERT"}
        assert scans == []


@pytest.mark.parametrize("task", [tasks.work, tasks.sweep, tasks.count_new, tasks.forget_old])
def test_a_database_that_takes_nothing_is_told_in_a_line(
    task: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a full disk, there was a traceback for every ring."""

    def refuse(**_: Any) -> None:
        raise OperationalError("database or disk is full")

    for module, name in [(shift, "work"), (heartbeat, "beat"), (counting, "count_new"), (retention, "forget_old")]:
        monkeypatch.setattr(module, name, lambda **_: refuse())
    task()
    [line] = caplog.records
    assert line.getMessage() == "The database is away, or takes nothing (database or disk is full). What is due waits."
    assert not line.exc_info
