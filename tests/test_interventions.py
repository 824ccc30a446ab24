"""What people may do with deliveries: what changes, what is left alone, and that nothing is doubled."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from integrations import audit
from integrations.models import AuditEvent, SmtpIntegration
from tests.fake_relay import FakeRelay
from tests.test_delivery import TO, stored
from tests.test_search import made
from workflows import delivery, ids, interventions, services
from workflows.ids import new_id
from workflows.interventions import CHANGED, Tally
from workflows.models import Attempt, Delivery, Recipient, Run, Workflow
from workflows.search import DeliveryFilter

pytestmark = pytest.mark.django_db

EVERYTHING = DeliveryFilter()
FAILED = DeliveryFilter(state=("failed",))
States = dict[str, str]


@pytest.fixture(autouse=True)
def rings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    heard: list[str] = []
    monkeypatch.setattr(services, "ring", lambda: heard.append("ring"))
    return heard


def one_of_each() -> dict[str, Delivery]:
    """Store a delivery in each state, and those that need a second look."""
    rows = {state: made(state, state=state) for state in Delivery.State.values if state != "sending"}
    lease = {"lease": new_id(), "lease_expires_at": timezone.now() + timedelta(minutes=5)}
    rows["sending"] = made("sending", state="sending", **lease)
    rows["never rendered"] = made("never rendered", state="failed", content=b"", message_id="")
    rows["purged"] = made("purged", state="failed", content=b"", purged_at=timezone.now())
    rows["unheard"] = made("unheard", state="failed")
    rows["partly"] = made("partly", state="accepted")
    Recipient.objects.filter(delivery=rows["accepted"]).update(state="accepted")
    Recipient.objects.filter(delivery=rows["partly"]).update(state="refused", code=550, reply="no")
    Recipient.objects.filter(delivery=rows["unheard"]).update(state="failed")
    Recipient.objects.create(delivery=rows["partly"], address="b@example.org", kind="to", state="accepted", reply="ok")
    for name, outcomes in {"failed": ["unknown", "failed"], "unheard": ["failed", "unknown"]}.items():
        for outcome in outcomes:
            Attempt.objects.create(delivery=rows[name], at=timezone.now(), stage="data", outcome=outcome)
    return rows


def changed(rows: dict[str, Delivery]) -> States:
    """Return the new states of those rows whose state or due time is another one than before."""
    now = {row.pk: row for row in Delivery.objects.all()}
    before = {name: (row.state, row.next_attempt_at) for name, row in rows.items()}
    after = {name: (now[row.pk].state, now[row.pk].next_attempt_at) for name, row in rows.items()}
    return {name: after[name][0] for name in rows if after[name] != before[name]}


@pytest.mark.parametrize(
    ("verb", "states", "left"),
    [
        (
            "send-again",
            dict.fromkeys(["failed", "unknown", "held", "cancelled", "unheard", "partly", "deferred"], "queued"),
            {"being sent": 1, "waiting already": 1, "accepted already": 1, "content erased": 1, "never rendered": 1},
        ),
        (
            "cancel",
            dict.fromkeys(["queued", "deferred", "unknown", "held"], "cancelled"),
            {"being sent": 1, "ended already": 7},
        ),
        (
            "consider-delivered",
            dict.fromkeys(["unknown", "held", "unheard"], "accepted"),
            {"being sent": 1, "waiting for an attempt": 2, "ended already": 3, "not accepted, for certain": 3},
        ),
    ],
)
def test_each_does_what_it_may_and_says_why_not_the_rest(verb: str, states: States, left: dict[str, int]) -> None:
    rows = one_of_each()
    able = {name for name in rows if interventions.VERBS[verb] in _possible(rows[name])}
    assert able == set(states)
    assert interventions.tally(verb, EVERYTHING) == Tally(len(states), left)
    outcome = interventions.intervene(verb, EVERYTHING, actor="ada")
    assert (outcome.done, outcome.left, outcome.go_on_after) == (len(states), Counter(left), None)
    # A cancelled row that is cancelled, or the like, did not change; those that changed are the ones promised.
    assert changed(rows) == states
    again = interventions.intervene(verb, EVERYTHING, actor="ada")
    assert again.done == 0


def _possible(row: Delivery) -> list[interventions.Verb]:
    return interventions.possible(interventions.with_refusals(Delivery.objects.filter(pk=row.pk)).get())


def test_send_again_reaches_only_who_has_not_got_it_with_the_same_bytes(
    smtp: SmtpIntegration, relay: FakeRelay, live_router: Any, rings: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    relay.replies = {"RCPT TO:<b@": "550 5.2.1 switched off"}
    run = stored(TO)
    delivery.send_due()
    relay.replies = {}
    row = Delivery.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        assert interventions.intervene("send-again", [row.pk], actor="ada").done == 1
    assert rings
    row.refresh_from_db()
    run.refresh_from_db()
    assert (row.state, row.reason, row.tries) == ("queued", "", 0)
    assert (run.status, run.finished_at, run.status_message) == ("started", None, "")
    assert list(row.recipients.values_list("address", "state", "code", "reply")) == [
        ("a@example.org", "accepted", 250, "queued as 1"),
        ("b@example.org", "queued", None, ""),
        ("c@example.org", "accepted", 250, "queued as 1"),
    ]
    delivery.send_due()
    first, second = relay.ledger
    assert second.recipients == ("b@example.org",)
    assert second.content == first.content
    row.refresh_from_db()
    run.refresh_from_db()
    assert (row.state, row.reason, run.status) == ("accepted", "", "completed")
    entry = AuditEvent.objects.get(action="deliveries sent again")
    assert (entry.actor, entry.details) == ("ada", {"delivery": str(row.pk), "done": 1})


def test_send_again_gives_the_workflows_own_time() -> None:
    quick, slow = made("quick", state="failed"), made("slow", state="failed", slug="slow")
    Workflow.objects.filter(slug="tell").update(give_up_after="2 hours")
    interventions.intervene("send-again", FAILED, actor="ada")
    for row, hours in ((quick, 2), (slow, 24)):
        row.refresh_from_db()
        assert abs(row.give_up_at - timezone.now() - timedelta(hours=hours)) < timedelta(seconds=10)
        assert row.next_attempt_at is not None
        assert row.next_attempt_at <= timezone.now()


def test_cancel_ends_the_run_and_keeps_what_was_accepted() -> None:
    row = made("held", state="held", next_attempt_at=None)
    Recipient.objects.create(delivery=row, address="b@example.org", kind="to", state="accepted", reply="ok")
    interventions.intervene("cancel", [row.pk], actor="max")
    row.refresh_from_db()
    assert (row.state, row.reason, row.next_attempt_at) == ("cancelled", "Cancelled by max.", None)
    assert list(row.recipients.values_list("state", flat=True)) == ["cancelled", "accepted"]
    row.run.refresh_from_db()
    assert (row.run.status, row.run.status_message) == ("failed", "Mail: Cancelled by max.")
    assert row.run.finished_at is not None


@pytest.mark.parametrize("state", ["held", "unknown", "failed"])
def test_consider_delivered_takes_a_persons_word(state: str) -> None:
    row = made("one", state=state, status="failed" if state == "failed" else "started")
    Recipient.objects.filter(delivery=row).update(state="failed" if state == "failed" else "deferred", code=451)
    Recipient.objects.create(delivery=row, address="b@example.org", kind="to", state="refused", code=550, reply="no")
    Attempt.objects.create(delivery=row, at=timezone.now(), stage="data", outcome="unknown")
    assert interventions.intervene("consider-delivered", [row.pk], actor="max").done == 1
    row.refresh_from_db()
    assert (row.state, row.accepted_at, row.next_attempt_at) == ("accepted", None, None)
    assert row.reason == "The relay's answer was not heard; max considers it delivered."
    assert list(row.recipients.values_list("state", "code", "reply")) == [
        ("accepted", None, "considered delivered by max"),
        ("refused", 550, "no"),
    ]
    row.run.refresh_from_db()
    assert row.run.status == "completed_with_errors"


def test_one_entry_for_a_bulk_action_with_the_filter_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interventions, "BATCH", 2)
    for number in range(5):
        made(str(number), state="failed")
    made("never rendered", state="failed", content=b"")
    assert interventions.intervene("send-again", FAILED, actor=audit.COMMAND_LINE).done == 5
    entry = AuditEvent.objects.get()
    assert entry.details == {"deliveries": "failed", "done": 5, "left": 1}
    interventions.intervene("send-again", FAILED, actor="ada")
    assert AuditEvent.objects.count() == 1, "where nothing was done there is nothing to tell"
    pks = list(Delivery.objects.values_list("pk", flat=True))
    interventions.intervene("cancel", pks, actor="ada")
    assert set(AuditEvent.objects.latest("pk").details["deliveries"]) == {str(pk) for pk in pks}


def test_stops_when_its_time_is_over_and_goes_on_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interventions, "BATCH", 2)
    for number in range(5):
        made(str(number), hours_ago=9 - number, state="failed")
    first = interventions.intervene("send-again", FAILED, actor="ada", seconds=0)
    assert (first.done, first.go_on_after is not None) == (2, True)
    assert interventions.tally("send-again", FAILED, after=first.go_on_after) == Tally(3)
    rest = interventions.intervene("send-again", FAILED, actor="ada", after=first.go_on_after)
    assert (rest.done, rest.go_on_after) == (3, None)


def test_what_was_made_after_the_person_looked_is_left_alone() -> None:
    made("old", hours_ago=2, state="failed")
    bound = ids.new_id()
    late = made("late", hours_ago=-24 * 365 * 50, state="failed")
    assert interventions.tally("send-again", FAILED, before=bound).matching == 1
    assert interventions.intervene("send-again", FAILED, actor="ada", before=bound).done == 1
    late.refresh_from_db()
    assert late.state == "failed"


def test_counts_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interventions, "COUNTED", 3)
    for number in range(3):
        made(str(number), state="failed")
    assert interventions.tally("send-again", FAILED) == Tally(3)
    made("one more", state="failed")
    assert interventions.tally("send-again", FAILED) == Tally(3, complete=False)


def test_a_row_that_changes_under_its_hands_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the conditional UPDATE finds fewer rows than were judged, the batch is undone."""
    row = made("one", state="failed", status="failed")
    Recipient.objects.filter(delivery=row).update(state="refused", code=550)
    monkeypatch.setattr(interventions, "AGAIN", ("held",))
    assert interventions.intervene("send-again", [row.pk], actor="ada").left == Counter({CHANGED: 1})
    row.refresh_from_db()
    assert (row.state, row.run.status, row.recipients.get().state) == ("failed", "failed", "refused")


def test_an_error_in_the_middle_leaves_an_entry_about_what_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interventions, "BATCH", 1)
    made("one", hours_ago=2, state="failed")
    made("two", hours_ago=1, state="failed")
    answers = iter([[]])
    monkeypatch.setattr("workflows.run_ends.reopen", lambda _: next(answers))
    with pytest.raises(StopIteration):
        interventions.intervene("send-again", FAILED, actor="ada")
    assert AuditEvent.objects.get().details == {"deliveries": "failed", "done": 1}


# --- at once, on real transactions ---------------------------------------------------------------


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do all of it in threads that start together, and return what each returned."""
    gate, answers = threading.Barrier(len(acts)), {}

    def begin(number: int) -> None:
        try:
            gate.wait(timeout=10)
            answers[number] = acts[number]()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=begin, args=[number]) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return [answers[number] for number in range(len(acts))]


@pytest.mark.django_db(transaction=True)
def test_the_same_bulk_action_twice_at_once_does_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interventions, "BATCH", 7)
    for number in range(60):
        made(str(number), state="failed")
    twice = at_once(*[lambda: interventions.intervene("send-again", FAILED, actor="ada")] * 2)
    assert sum(outcome.done for outcome in twice) == 60
    assert Delivery.objects.filter(state="queued", tries=0).count() == 60
    assert sum(entry.details["done"] for entry in AuditEvent.objects.all()) == 60


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("live_router")
def test_nothing_is_sent_twice_while_people_and_workers_act_at_once(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people send again and one cancels, while two workers send: every mail leaves once, or not at all."""
    monkeypatch.setattr(interventions, "BATCH", 4)
    stored(*[{"to": [f"r{number}@example.org"]} for number in range(30)])
    Delivery.objects.filter(position__lte=20).update(state="failed", next_attempt_at=None)
    Run.objects.update(status="failed")

    def work() -> None:
        for _ in range(6):
            delivery.send_due()

    at_once(
        work, work,
        lambda: interventions.intervene("send-again", EVERYTHING, actor="ada"),
        lambda: interventions.intervene("send-again", FAILED, actor="max"),
        lambda: interventions.intervene("cancel", EVERYTHING, actor="zoe"),
    )  # fmt: skip
    work()
    copies = Counter(mail.recipients[0] for mail in relay.ledger)
    assert set(copies.values()) <= {1}
    states = Counter(Delivery.objects.values_list("state", flat=True))
    assert states["accepted"] == len(relay.ledger)
    assert sum(states.values()) == 30
    assert set(states) <= {"accepted", "cancelled", "failed"}


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_a_row_that_somebody_else_holds() -> None:
    if connection.vendor == "sqlite":
        return  # one writer at a time: everybody waits for everybody there, and nobody in a circle
    row = made("one", state="failed")
    held, looked = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(Delivery.objects.select_for_update().filter(pk=row.pk))
            held.set()
            looked.wait(timeout=20)

    def act() -> Any:
        held.wait(timeout=20)
        outcome = interventions.intervene("send-again", [row.pk], actor="ada")
        looked.set()
        return outcome

    _, outcome = at_once(hold, act)
    assert outcome.left == Counter({CHANGED: 1})


def test_what_is_not_there_is_nothing_to_do() -> None:
    assert interventions.intervene("cancel", [UUID(int=7)], actor="ada").done == 0
