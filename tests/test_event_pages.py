"""Pages of events: whoever misses a mail finds what came in, and why no workflow ran."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.test_run_pages import words
from tests.test_runs import SEV1, with_tasks
from workflows import documents, event_views, run_control, runs, services
from workflows.events import Incoming
from workflows.models import Event, Workflow

pytestmark = pytest.mark.django_db

SEV3 = {"incident": SEV1["incident"] | {"severity": "SEV3", "id": 483}}


@pytest.fixture
def viewer(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Viewer"])
    return client


@pytest.fixture
def workflow() -> Workflow:
    documents.load(with_tasks({"subject": "One"}))
    return Workflow.objects.get()


def trigger(data: dict[str, Any], name: str = "incident_created") -> Event:
    return services.trigger(Incoming(name, data)).event


def test_an_event_that_made_a_run_leads_to_it(viewer: Client, workflow: Workflow) -> None:
    event = trigger(SEV1)
    run = event.runs.get()
    for address in ("/events/", f"/events/{event.pk}/"):
        assert f'href="/runs/{run.pk}/"' in viewer.get(address).content.decode()
    assert f"Ran: {workflow.name} 1 run" in words(viewer, "/events/")
    assert f'href="/events/{event.pk}/"' in viewer.get(f"/runs/{run.pk}/").content.decode()


def test_why_a_workflow_did_not_run_is_kept(viewer: Client, workflow: Workflow) -> None:
    event = trigger(SEV3)
    reason = "incident.severity"
    assert event.skipped
    assert reason in event.skipped[0]["reason"]
    for address in ("/events/", f"/events/{event.pk}/"):
        shown = words(viewer, address)
        assert workflow.name in shown
        assert reason in shown
    assert "No run" in words(viewer, "/events/")
    Workflow.objects.update(enabled=False, name="Renamed")
    assert "Renamed The workflow is switched off." in words(viewer, f"/events/{trigger(SEV1).pk}/")
    Workflow.objects.all().delete()
    assert f"Did not run: {workflow.slug} . " in words(viewer, "/events/")


def test_an_event_that_nobody_heard_says_so_and_an_old_one_that_it_is_not_known(viewer: Client) -> None:
    event = trigger({"order": {"id": 1}}, "order.created")
    assert event.skipped == []
    assert "Nothing: no workflow had a trigger of this name." in words(viewer, f"/events/{event.pk}/")
    assert "No workflow has a trigger of this name." in words(viewer, "/events/")
    Event.objects.update(skipped=None)
    assert "No run is kept, nor why there was none." in words(viewer, f"/events/{event.pk}/")
    assert "No workflow has a trigger" not in words(viewer, "/events/")


def test_the_list_is_filtered_by_what_events_were_about(viewer: Client, workflow: Workflow) -> None:
    wanted, other = trigger(SEV3), trigger({"order": {"id": 7}}, "order.created")
    page = viewer.get("/events/", {"about": f" {wanted.resource} "}).content.decode()
    assert f"/events/{wanted.pk}/" in page
    assert f"/events/{other.pk}/" not in page
    assert "No event fits" in words(viewer, "/events/?about=incident:0")
    assert viewer.get("/events/", {"about": "x" * 201}).status_code == 422
    assert viewer.get("/events/?about=%00").status_code == 422


def test_the_list_goes_on_page_by_page(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_views, "PAGE", 2)
    made = [trigger({}, f"order.e{number}") for number in range(3)]
    first = viewer.get("/events/").content.decode()
    assert f'rel="next" href="?before={made[1].pk}"' in first
    assert made[0].name not in first
    last = viewer.get(f"/events/?before={made[1].pk}").content.decode()
    assert made[0].name in last
    assert 'rel="next"' not in last
    assert viewer.get("/events/?before=x").status_code == 404


def test_as_many_queries_for_many_events_as_for_one(viewer: Client, workflow: Workflow) -> None:
    counts = []
    for _ in range(2):
        for data in (SEV1, SEV3, SEV1, SEV3):
            trigger(data)
        with CaptureQueriesContext(connection) as asked:
            viewer.get("/events/")
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_what_came_of_it_by_hand_stands_there_and_test_mails_and_repeats_do_not(
    viewer: Client, workflow: Workflow
) -> None:
    made = run_control.start(workflow, event="incident_created", data=SEV1, actor="ada")
    assert "by hand" in words(viewer, f"/events/{made.event.pk}/")
    Workflow.objects.update(repeat_every_duration="1 day")
    event = trigger({"incident": SEV1["incident"] | {"id": 482}})
    runs.execute_due()
    assert event.runs.count() == 2
    assert f"Ran: {workflow.name} 1 run" in words(viewer, f"/events/?about={event.resource}")
    Event.objects.update(name="preview")
    assert "No event yet" in words(viewer, "/events/")


def test_what_others_told_is_shown_as_text(viewer: Client) -> None:
    bad = "<script>alert(1)</script>"
    event = trigger({"order": {"id": bad, "note": bad}}, "order.created")
    assert bad not in viewer.get("/events/").content.decode()
    page = viewer.get(f"/events/{event.pk}/").content.decode()
    assert bad not in page
    assert "&lt;script&gt;" in page


def test_a_long_payload_is_cut(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_views.run_story, "PAYLOAD", 50)
    event = trigger({"order": {"id": 1, "note": "x" * 1000}}, "order.created")
    page = viewer.get(f"/events/{event.pk}/").content.decode()
    assert "Its beginning." in page
    assert "x" * 51 not in page
