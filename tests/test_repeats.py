"""Runs that wait, repeat and end; and what they are about, as it stands then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from integrations import clock
from workflows import occasions, repeats, run_control, runs, services
from workflows.events import Incoming
from workflows.models import Action, Delivery, Event, Run, Workflow
from workflows.run_control import NotPossible

own_resources: Any = import_module("workflows.migrations.0016_resources_of_own_events")

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 25, 9, 0, tzinfo=UTC)
OPEN = [{"path": "incident.status", "operator": "IS", "values": ["started"]}]
Go = Callable[[timedelta], datetime]


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Go:
    """Let time pass: the clock that counts is the database's, and stands here."""
    now = [START]
    monkeypatch.setattr(clock, "now", lambda: now[0])

    def forward(length: timedelta) -> datetime:
        now[0] += length
        return now[0]

    return forward


def made(**values: Any) -> Workflow:
    defaults: dict[str, Any] = {"slug": "remind", "name": "Remind", "trigger_type": "incident"}
    workflow = Workflow(**defaults | {"triggers": ["incident_created"], "conditions": OPEN} | values)
    workflow.full_clean()
    workflow.save()
    Action.objects.create(
        workflow=workflow, position=1, name="Mail", to=["a@example.org"], subject="{{ incident.status }}", body="x"
    )
    return workflow


def tell(status: str = "started", *, name: str = "incident_created", number: int = 7) -> None:
    services.trigger(Incoming(name, {"incident": {"id": number, "status": status, "title": "Checkout"}}))


def story() -> list[tuple[int, str, str]]:
    """Return number, status and hour of each run."""
    rows = Run.objects.order_by("event_id", "number", "pk")
    return [(run.number, run.status, f"{run.due_at:%d %H:%M}") for run in rows]


def test_a_run_that_begins_plans_the_one_after_it(go: Go) -> None:
    made(repeat_every_duration="1 day")
    tell()
    runs.execute_due()
    assert story() == [(0, "started", "25 09:00"), (1, "queued", "26 09:00")]
    runs.execute_due()
    assert Delivery.objects.count() == 1  # not due yet
    go(timedelta(days=1, minutes=3))
    runs.execute_due()
    assert story() == [(0, "started", "25 09:00"), (1, "started", "26 09:00"), (2, "queued", "27 09:00")]
    assert Delivery.objects.count() == 2
    assert {run.first.number for run in Run.objects.exclude(first=None) if run.first} == {0}


def test_it_repeats_until_its_conditions_fail_as_the_resource_was_told_of_last(go: Go) -> None:
    made(repeat_every_duration="1 day")
    tell()
    runs.execute_due()
    tell("resolved", name="status_updated")
    go(timedelta(days=1))
    runs.execute_due()
    assert story() == [(0, "started", "25 09:00"), (1, "canceled", "26 09:00")]
    last = Run.objects.get(number=1)
    assert last.status_message == "Its conditions do not hold: incident.status is 'started' (it is 'resolved')."
    assert [(check["when"], check["held"]) for check in last.checks] == [("before the repeat", False)]


def test_news_that_do_not_tell_the_status_leave_it_as_it_was_told_last(go: Go) -> None:
    made(repeat_every_duration="1 day")
    tell()
    runs.execute_due()
    tell("resolved", name="status_updated")
    services.trigger(Incoming("timeline_updated", {"incident": {"id": 7, "title": "Checkout, EU"}}))
    go(timedelta(days=1))
    runs.execute_due()
    assert story() == [(0, "started", "25 09:00"), (1, "canceled", "26 09:00")]
    told = occasions.data_of(Run.objects.get(number=1))["incident"]
    assert told == {"id": 7, "status": "resolved", "title": "Checkout, EU"}


def test_news_are_found_by_their_index(go: Go) -> None:
    made(wait="5 minutes")
    tell()
    run = Run.objects.get()
    with CaptureQueriesContext(connection) as asked:
        occasions.data_of(run)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # a table of one row is read whole
        cursor.execute(f"EXPLAIN {'QUERY PLAN' * (connection.vendor == 'sqlite')} {asked[-1]['sql']}")
        assert "event_by_resource" in str(cursor.fetchall())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"repeat_every_duration": ""}, "The workflow does not repeat any more."),
        ({"repeat_condition_number_of_repeats": 1}, "The workflow repeats 1 times at the most."),
    ],
)
def test_a_repeat_that_waits_ends_where_the_workflow_was_changed(go: Go, changed: dict[str, Any], said: str) -> None:
    made(repeat_every_duration="1 day")
    tell()
    for _ in range(2):
        runs.execute_due()
        go(timedelta(days=1))
    Workflow.objects.update(**changed)
    runs.execute_due()
    assert [(number, status) for number, status, _ in story()] == [(0, "started"), (1, "started"), (2, "canceled")]
    assert (Run.objects.get(number=2).status_message, Delivery.objects.count()) == (said, 2)


def test_a_clock_that_is_set_back_makes_no_moment_twice(go: Go) -> None:
    made(repeat_every_duration="1h")
    tell()
    runs.execute_due()
    go(timedelta(hours=1))
    runs._claim(runs.new_id())
    go(timedelta(seconds=-5))
    runs.execute(Run.objects.get(number=1))
    assert [due for _, _, due in story()] == ["25 09:00", "25 10:00", "25 11:00"]


def test_events_of_ones_own_are_about_the_same_where_their_names_begin_alike(go: Go) -> None:
    made(slug="order", trigger_type="custom", triggers=["order.created"], conditions=[], wait="10 minutes")
    services.trigger(Incoming("order.created", {"id": 3, "title": "Order 3", "incident": {"status": "new"}}))
    services.trigger(Incoming("deploy.finished", {"id": 3, "title": "Deploy", "incident": {"status": "failed"}}))
    run = Run.objects.get()
    assert occasions.data_of(run) == run.event.data
    services.trigger(Incoming("order.paid", {"id": 3, "incident": {"status": "paid"}}))
    assert occasions.data_of(run) == {"id": 3, "title": "Order 3", "incident": {"status": "paid"}}


def test_what_was_told_of_ones_own_before_the_upgrade_is_about_the_same_as_what_comes_after(go: Go) -> None:
    made(trigger_type="custom", triggers=["order.created"], conditions=[], run_once_per_resource=True)
    about = "x" * 180
    names = ["order.created", "order.paid", "deploy.finished"]
    for event in [Incoming(name, {"id": number}) for name in names for number in (3, about)]:
        services.trigger(event)
    services.trigger(Incoming("incident_created", {"incident": {"id": 3}}))
    before = [f"custom:{number}" for number in (3, about)]
    for number, old in zip((3, about), before, strict=True):
        Event.objects.filter(resource__startswith="custom.", data__id=number).update(resource=old)
        Run.objects.filter(event__data__id=number).update(once_key=old)
    own_resources.tell_apart(apps, None)
    told = sorted(Event.objects.values_list("resource", flat=True))
    now = [f"custom.{part}:{number}" for part in ("deploy", "order", "order") for number in (3, about)]
    assert told == sorted(["incident:3", *now])
    assert sorted(Run.objects.values_list("once_key", flat=True)) == ["custom.order:3", f"custom.order:{about}"]
    services.trigger(Incoming("order.created", {"id": 3}))
    assert Run.objects.latest("pk").status == "canceled"


def test_one_that_would_be_too_long_stays_as_it_was(go: Go) -> None:
    services.trigger(Incoming(f"{'d' * 90}.done", {"id": "x" * 103}))
    Event.objects.update(resource=f"custom:{'x' * 103}")
    own_resources.tell_apart(apps, None)
    assert Event.objects.get().resource == f"custom:{'x' * 103}"


def test_news_of_another_resource_changes_nothing(go: Go) -> None:
    made(repeat_every_duration="1 day")
    tell()
    runs.execute_due()
    tell("resolved", name="status_updated", number=8)
    go(timedelta(days=1))
    runs.execute_due()
    assert story()[-1] == (2, "queued", "27 09:00")


def test_a_repeat_tells_what_is_the_case_now(go: Go) -> None:
    made(repeat_every_duration="1 day", conditions=[])
    tell()
    runs.execute_due()
    tell("mitigated", name="status_updated")
    go(timedelta(days=1))
    runs.execute_due()
    assert list(Delivery.objects.order_by("pk").values_list("subject", flat=True)) == ["started", "mitigated"]


def test_what_runs_at_once_tells_what_its_own_event_told(go: Go) -> None:
    made()
    tell()
    tell("resolved", name="status_updated")
    runs.execute_due()
    assert Delivery.objects.get().subject == "started"


def test_a_run_and_the_one_after_it_are_stored_together_or_not_at_all(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    made(repeat_every_duration="1h")
    tell()
    plan = repeats.plan_next

    def plan_and_die(run: Run) -> None:
        plan(run)
        raise OperationalError("the database is gone")

    with monkeypatch.context() as broken:
        broken.setattr(runs.repeats, "plan_next", plan_and_die)
        runs.execute_due()
    assert (story(), Delivery.objects.count()) == ([(0, "queued", "25 09:00")], 0)
    go(runs.TRY_AGAIN_AFTER)
    runs.execute_due()
    assert ([number for number, *_ in story()], Delivery.objects.count()) == ([0, 1], 1)


def test_continuously_means_whatever_the_conditions_say(go: Go) -> None:
    made(repeat_every_duration="1 day", continuously_repeat=True, repeat_condition_number_of_repeats=2)
    tell()
    runs.execute_due()
    tell("resolved", name="status_updated")
    for _ in range(4):
        go(timedelta(days=1))
        runs.execute_due()
    assert [status for _, status, _ in story()] == ["started"] * 3  # the number of repeats wins
    assert Run.objects.get(number=1).checks[0]["held"] is False


def test_it_ends_after_so_long(go: Go) -> None:
    made(repeat_every_duration="1h", repeat_condition_duration_since_first_run="150 min")
    tell()
    for _ in range(5):
        runs.execute_due()
        go(timedelta(hours=1))
    assert [number for number, *_ in story()] == [0, 1, 2]


def test_what_was_missed_while_nobody_worked_is_sent_once(go: Go) -> None:
    made(repeat_every_duration="1h")
    tell()
    runs.execute_due()
    go(timedelta(hours=10, minutes=20))
    runs.execute_due()
    assert story() == [(0, "started", "25 09:00"), (1, "started", "25 10:00"), (2, "queued", "25 20:00")]


def test_a_workflow_that_is_switched_off_ends_its_repeats(go: Go) -> None:
    made(repeat_every_duration="1h")
    tell()
    runs.execute_due()
    Workflow.objects.update(enabled=False)
    go(timedelta(hours=1))
    runs.execute_due()
    assert story()[-1][1] == "canceled"
    assert Run.objects.filter(status="queued").count() == 0


def test_a_run_that_fails_by_a_defect_does_not_end_the_repeats(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    made(repeat_every_duration="1h")
    tell()
    with monkeypatch.context() as broken:
        broken.setattr(runs, "execute", lambda run: {}["defect"])
        runs.execute_due()
    assert story() == [(0, "failed", "25 09:00"), (1, "queued", "25 10:00")]


def test_a_rhythm_that_cannot_be_told_ends_that_run_and_no_other(go: Go) -> None:
    """As where the machine does not know a time zone any more that it knew when the workflow was saved."""
    made(slug="broken", repeat_every_duration="1h")
    made()
    Workflow.objects.filter(slug="broken").update(time_zone="Atlantis/Capital")
    tell()
    runs.execute_due()
    ended = dict(Run.objects.values_list("workflow__slug", "status"))
    assert ended == {"broken": "failed", "remind": "started"}


def test_a_run_that_is_carried_out_twice_plans_one_repeat(go: Go) -> None:
    made(repeat_every_duration="1h")
    tell()
    run = Run.objects.get()
    lease = runs.new_id()
    Run.objects.update(lease=lease, status="started", lease_expires_at=START)
    run.refresh_from_db()
    runs.execute(run)
    runs.execute(run)  # the lease is gone
    assert [number for number, *_ in story()] == [0, 1]


class TestOnceForEachResource:
    def test_a_later_trigger_gives_a_cancelled_run(self, go: Go) -> None:
        made(run_once_per_resource=True)
        tell()
        tell()
        tell(number=8)
        assert [status for _, status, _ in story()] == ["queued", "canceled", "queued"]
        late = Run.objects.get(status="canceled")
        assert late.status_message == "It runs once for each resource, and has a run for incident:7 already."
        assert late.finished_at == START

    def test_repeats_and_manual_runs_are_exempt(self, go: Go) -> None:
        workflow = made(run_once_per_resource=True, repeat_every_duration="1h")
        tell()
        runs.execute_due()
        go(timedelta(hours=1))
        runs.execute_due()
        run_control.start(workflow, event="incident_created", data={"incident": {"id": 7}}, actor="ada")
        run_control.again(Run.objects.get(number=0, manual=False), actor="ada")
        runs.execute_due()
        assert Run.objects.exclude(status="canceled").count() == 5

    def test_a_run_that_never_began_does_not_count(self, go: Go) -> None:
        made(run_once_per_resource=True, wait="5 minutes")
        tell()
        tell("resolved", name="status_updated")
        go(timedelta(minutes=5))
        runs.execute_due()
        tell()
        assert [status for _, status, _ in story()] == ["canceled", "queued"]

    def test_without_a_resource_every_event_counts(self, go: Go) -> None:
        made(run_once_per_resource=True, conditions=[])
        for _ in range(2):
            services.trigger(Incoming("incident_created", {"incident": {"title": "no id"}}))
        assert [status for _, status, _ in story()] == ["queued", "queued"]

    def test_events_that_arrive_at_once_have_one_run(self, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
        """The one that looked too early loses by the constraint, and looks again."""
        made(run_once_per_resource=True)
        tell()
        answers = iter([set(), *[services._busy_with("incident:7", list(Workflow.objects.all()))] * 3])
        monkeypatch.setattr(services, "_busy_with", lambda *_: next(answers))
        tell()
        assert [status for _, status, _ in story()] == ["queued", "canceled"]


class TestPeople:
    def test_cancel_a_run_that_waits(self, go: Go) -> None:
        made(wait="5 minutes", run_once_per_resource=True)
        tell()
        run = Run.objects.get()
        run_control.cancel(run, actor="ada")
        run.refresh_from_db()
        assert (run.status, run.status_message, run.once_key) == ("canceled", "Cancelled by ada.", None)
        go(timedelta(minutes=5))
        runs.execute_due()
        assert not Delivery.objects.exists()

    def test_cancel_what_repeats_by_any_of_its_runs(self, go: Go) -> None:
        made(repeat_every_duration="1h")
        tell()
        runs.execute_due()
        run_control.cancel(Run.objects.get(number=0), actor="ada")
        assert [status for _, status, _ in story()] == ["started", "canceled"]

    def test_cancel_while_the_next_repeat_is_carried_out(self, go: Go) -> None:
        made(repeat_every_duration="1h")
        tell()
        runs.execute_due()
        go(timedelta(hours=1))
        run = Run.objects.get(number=1)
        lease = runs.new_id()
        Run.objects.filter(pk=run.pk).update(lease=lease, status="started", lease_expires_at=START)
        run.refresh_from_db()
        assert not run_control.cancel(run, actor="ada")  # nothing waited
        runs.execute(run)
        assert [(number, status) for number, status, _ in story()] == [(0, "started"), (1, "canceled")]
        with pytest.raises(NotPossible, match="Nothing of it waits any more"):
            run_control.cancel(run, actor="ada")

    def test_cancel_while_the_first_run_is_carried_out(self, go: Go) -> None:
        made(repeat_every_duration="1h")
        tell()
        runs._claim(runs.new_id())
        run = Run.objects.get()
        assert not run_control.cancel(run, actor="ada")
        runs.execute(run)
        assert [(number, status) for number, status, _ in story()] == [(0, "started")]
        assert Delivery.objects.count() == 1

    def test_what_does_not_repeat_cannot_be_cancelled_in_hand(self, go: Go) -> None:
        made()
        tell()
        runs._claim(runs.new_id())
        with pytest.raises(NotPossible, match="Nothing of it waits any more"):
            run_control.cancel(Run.objects.get(), actor="ada")
        assert not Run.objects.get().stopped

    def test_a_run_by_hand_needs_neither_wait_nor_conditions(self, go: Go) -> None:
        workflow = made(wait="1 day", repeat_every_duration="1 day")
        data = {"incident": {"id": 7, "status": "resolved"}}
        run_control.start(workflow, event="incident_created", data=data, actor="ada")
        runs.execute_due()
        run = Run.objects.get()  # it does not repeat
        assert (run.status, run.manual, run.triggered_by, run.checks) == ("started", True, "user", [])
        assert Delivery.objects.get().subject == "resolved"

    def test_what_runs_again_works_with_its_event_as_it_was(self, go: Go) -> None:
        made(wait="5 minutes", conditions=[])
        tell()
        tell("resolved", name="status_updated")
        run_control.again(Run.objects.get(), actor="ada")
        runs.execute_due()
        assert Delivery.objects.get().subject == "started"

    def test_what_is_tried_by_hand_is_no_news(self, go: Go) -> None:
        workflow = made(repeat_every_duration="1h")
        tell()
        runs.execute_due()
        resolved = {"incident": {"id": 7, "status": "resolved"}}
        run_control.start(workflow, event="status_updated", data=resolved, actor="ada")
        assert occasions.data_of(Run.objects.get(number=1))["incident"]["status"] == "started"

    def test_not_a_workflow_that_is_switched_off(self, go: Go) -> None:
        workflow = made(enabled=False)
        with pytest.raises(NotPossible, match="switch it on first"):
            run_control.start(workflow, event="incident_created", data={}, actor="ada")
        assert not Event.objects.exists()


def test_the_checks_of_a_run_say_what_was_seen(go: Go) -> None:
    made(wait="5 minutes")
    tell()
    go(timedelta(minutes=5))
    runs.execute_due()
    look = {"path": "incident.status", "operator": "IS", "values": ["started"], "saw": ["started"], "held": True}
    checks = Run.objects.get().checks
    assert [(one["when"], one["at"]) for one in checks] == [
        ("at the trigger", "2026-11-25T09:00:00+00:00"),
        ("after the wait", "2026-11-25T09:05:00+00:00"),
    ]
    assert [one["looks"] for one in checks] == [[look], [look]]


def test_news_is_laid_over_what_was_known() -> None:
    old = {"incident": {"id": 1, "title": "A", "status": "open"}, "other": 1}
    assert occasions.laid_over(old, {"incident": {"status": "closed"}, "new": [2]}) == {
        "incident": {"id": 1, "title": "A", "status": "closed"},
        "other": 1,
        "new": [2],
    }
