"""The Workflows page: empty, full, hostile, much."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.test_documents import EXAMPLE, SMALL
from tests.test_runs import SEV1, queued, with_tasks
from workflows import documents, overview, services
from workflows.events import Incoming
from workflows.models import Run, Workflow

PAGE = "/workflows/"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def as_member(client: Client, member: Any) -> Client:
    client.force_login(member)
    return client


def words(client: Client) -> str:
    """Return what people read, without the markup."""
    answer = client.get(PAGE)
    assert answer.status_code == 200
    main = answer.content.decode().partition("<main")[2]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", main))).replace(" ,", ",")


def copies(number: int) -> dict[str, Any]:
    [one] = EXAMPLE["workflows"]
    return {"workflows": [one | {"slug": f"w{each}", "name": f"Workflow {each:03}"} for each in range(number)]}


def run(status: str, *, days: float = 0, workflow: str = "tell") -> Run:
    """Return a run of another event that ended so many days ago."""
    services.trigger(Incoming("incident_created", SEV1))
    made = Run.objects.filter(workflow__slug=workflow).latest("event_id")
    at = timezone.now() - timedelta(days=days) if status not in ("queued", "started") else None
    Run.objects.filter(pk=made.pk).update(status=status, finished_at=at)
    return made


def test_without_a_workflow_it_says_how_to_load_one(as_member: Client) -> None:
    assert "manage.py workflow load FILE.json" in words(as_member)
    assert "workflows/examples/workflows.json" in words(as_member)


def test_tells_what_sets_a_workflow_off_and_what_it_does(as_member: Client) -> None:
    documents.load(EXAMPLE)
    said = words(as_member)
    for part in (
        "Tell stakeholders Enabled tell-stakeholders · incident",
        "When incident created if incident.severity is 'SEV0' or 'SEV1'",
        "2 actions",
        "Mail the subscribers to {{ incident.notify_emails }}, {{ incident.subscribers | map: 'email'",
        "subject {{ incident.severity }} - {{ incident.name }} incident has been started",
        "No run yet",
    ):
        assert part in said, part
    assert "Wait" not in said


def test_tells_of_switches_waits_and_several_conditions(as_member: Client) -> None:
    trigger = SMALL["workflows"][0]["trigger_params"] | {
        "condition": "NONE",
        "conditions": [{"path": "a", "operator": "SET"}, {"path": "b", "operator": "CONTAINS", "values": ["x", "y"]}],
    }
    documents.load(with_tasks({}, enabled=False, wait="2h 30min", trigger_params=trigger))
    Workflow.objects.get().actions.update(enabled=False, to=[])
    said = words(as_member)
    assert "Tell Switched off tell · incident" in said
    assert "if none of these holds: a is set b contains 'x' or 'y' Wait 2h 30min" in said
    assert "Mail switched off to nobody" in said
    documents.load(with_tasks())
    assert "It has no action, so nothing is sent." in words(as_member)


def test_tells_of_the_last_run_and_the_last_week(as_member: Client) -> None:
    made = queued(with_tasks({}))
    Run.objects.filter(pk=made.pk).update(due_at=timezone.now() + timedelta(days=300))
    assert re.search(r"Last run due 20\d\d-\d\d-\d\d \d\d:\d\d, queued · no run ended in 7 days", words(as_member))
    for status, days in (("completed", 8.0), ("completed", 6.9), ("failed", 1), ("completed_with_errors", 1)):
        run(status, days=days)
    assert "completed with errors · 1 of 3 runs completed in 7 days" in words(as_member)
    run("canceled")
    assert "canceled · 1 of 4 runs completed in 7 days" in words(as_member)


def test_each_workflow_has_its_own_runs(as_member: Client) -> None:
    documents.load(copies(2))
    run("completed", workflow="w0")
    Workflow.objects.filter(slug="w1").update(enabled=False)
    run("failed", workflow="w0")
    rows = {
        one.workflow.slug: (one.last and one.last.status, one.completed, one.ended) for one in overview.of_workflows()
    }
    assert rows == {"w0": ("failed", 1, 2), "w1": ("queued", 0, 0)}


def test_nothing_that_came_from_outside_is_markup(as_member: Client) -> None:
    documents.load(with_tasks({"to": [HOSTILE], "subject": HOSTILE}))
    Workflow.objects.update(
        name=HOSTILE, wait=HOSTILE, conditions=[{"path": HOSTILE, "operator": "IS", "values": [HOSTILE]}]
    )
    Workflow.objects.get().actions.update(name=HOSTILE)
    page = as_member.get(PAGE).content.decode()
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") == 8


def test_a_hundred_workflows_cost_few_queries(as_member: Client, django_assert_max_num_queries: Any) -> None:
    documents.load(copies(100))
    services.trigger(Incoming("incident_created", SEV1))
    as_member.get(PAGE)
    with django_assert_max_num_queries(12):
        page = as_member.get(PAGE).content.decode()
    assert page.count('<li class="list-group-item">') == 100
    assert re.findall(r"<h2.*>(Workflow \d+)", page) == [f"Workflow {number:03}" for number in range(100)]


def test_more_than_can_be_read_are_not_shown(as_member: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "SHOWN", 3)
    documents.load(copies(4))
    assert "The first 3 by name; all of them: manage.py workflow dump" in words(as_member)
    assert "Workflow 003" not in words(as_member)


def test_a_deadline_and_holding_are_told(as_member: Client) -> None:
    documents.load(with_tasks({}))
    assert "Give up" not in as_member.get(PAGE).content.decode()
    Workflow.objects.update(give_up_after="2 hours", on_unknown="hold")
    page = as_member.get(PAGE).content.decode()
    assert "<b>Give up</b> after 2 hours" in page
    assert "<b>Hold</b> what may have been accepted, until a person decides" in page
