"""Runs to look at, for tests/scenes.py: each of a kind that has a page of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from integrations import clock
from tests.test_runs import SEV1, with_tasks
from workflows import documents, run_ends, runs, services
from workflows.events import Incoming
from workflows.models import Delivery, Event, Run, Workflow

if TYPE_CHECKING:
    from playwright.sync_api import Page


LONG = "A very long reason that a relay gave, " * 6 + "x" * 200


def prepare() -> None:
    """Store one run of each kind: waiting, repeating, failed, cancelled, and one with a long story."""
    conditions = [
        {"path": "incident.severity", "operator": "IS", "values": ["sev1", "x" * 60]},
        {"path": "incident.people", "operator": "CONTAINS", "values": ["b@example.org"]},
        {"path": "incident.title", "operator": "SET"},
    ]
    tasks = [{"to": ["b@example.org"], "subject": "One"}, {"to": ["{{ nobody }}"], "subject": "Two"}, {"subject": "3"}]
    document = with_tasks(*tasks)
    entry = document["workflows"][0]
    trigger = entry["trigger_params"] | {"conditions": conditions}  # a new one: other tests share it
    entry |= {"slug": "runs", "name": "Tell those who sleep", "trigger_params": trigger}
    documents.load(document)
    workflow = Workflow.objects.get(slug="runs")
    Workflow.objects.filter(pk=workflow.pk).update(repeat_every_duration="1 day", wait="10 minutes")
    data = {"incident": SEV1["incident"] | {"id": 482}}
    made = [
        run
        for _ in range(4)
        for run in services.trigger(Incoming("incident_created", data)).runs
        if run.workflow_id == workflow.pk
    ]
    Run.objects.filter(pk__in=[made[0].pk, made[1].pk]).update(due_at=clock.now())
    runs.execute_due()
    Delivery.objects.filter(run=made[0], position=1).update(state="failed", reason=LONG)
    run_ends.settle(made[0].pk)
    Run.objects.filter(pk=made[2].pk).update(
        status="canceled", status_message="Cancelled by " + "ada" * 40 + ".", finished_at=clock.now()
    )
    Run.objects.filter(pk=made[3].pk).update(due_at=clock.now() + timedelta(minutes=9))


def prepare_events() -> None:
    """Store an event that nobody hears, one whose workflows do not run, and one with a long name."""
    services.trigger(Incoming("order.created", {"order": {"id": "A-" + "7" * 60}}))
    services.trigger(Incoming("incident_created", {"incident": SEV1["incident"] | {"id": 483, "severity": "x" * 300}}))
    services.trigger(Incoming("deploy." + "finished_" * 9, {"deploy": {"id": 3, "text": "مرحبا بالعالم"}}))


def open_skipped(page: Page) -> None:
    event = Event.objects.filter(resource="incident:483").latest("pk")
    page.goto(page.url + f"{event.pk}/")


def open_one(**wanted: object) -> Callable[[Page], None]:
    """Open the newest run of the workflow that fits."""

    def act(page: Page) -> None:
        run = Run.objects.filter(workflow__slug="runs", **wanted).latest("pk")
        page.goto(page.url.split("?")[0] + f"{run.pk}/")
        for summary in page.query_selector_all("main details:not([open]) > summary"):
            summary.click()

    return act


def start_wrongly(page: Page) -> None:
    page.get_by_label("Or data of your own").fill('{"incident": {"title": "x' + "y" * 300)
    with page.expect_navigation():  # which a script lets begin when it knows that the answer can be saved
        page.get_by_role("button", name="Run it now").click()
    page.wait_for_load_state()
