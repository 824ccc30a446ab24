"""The Workflows page: empty, full, hostile, much."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from integrations.models import AuditEvent
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
    assert "Starts at once." in said


def test_tells_of_switches_waits_and_several_conditions(as_member: Client) -> None:
    trigger = SMALL["workflows"][0]["trigger_params"] | {
        "condition": "NONE",
        "conditions": [{"path": "a", "operator": "SET"}, {"path": "b", "operator": "CONTAINS", "values": ["x", "y"]}],
    }
    documents.load(with_tasks({}, enabled=False, wait="2h 30min", trigger_params=trigger))
    Workflow.objects.get().actions.update(enabled=False, to=[])
    said = words(as_member)
    assert "Tell Switched off tell · incident" in said
    assert "if none of these holds: a is set b contains 'x' or 'y' Waits 2h 30min." in said
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
        one.workflow.slug: (one.last and one.last.status, one.completed, one.ended)
        for one in overview.page(overview.Wanted()).rows
    }
    assert rows == {"w0": ("failed", 1, 2), "w1": ("queued", 0, 0)}


def test_the_last_run_is_found_by_its_index(as_member: Client) -> None:
    documents.load(copies(1))
    with CaptureQueriesContext(connection) as asked:
        overview._newest_runs(list(Workflow.objects.all()))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # it sorts a table of a few rows
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute(f"EXPLAIN {'QUERY PLAN' * (connection.vendor == 'sqlite')} {asked[-1]['sql']}")
        plan = str(cursor.fetchall())
    assert ("run_by_workflow" in plan, "ORDER BY" in plan, "Sort" in plan) == (True, False, False)


def test_nothing_that_came_from_outside_is_markup(as_member: Client) -> None:
    documents.load(with_tasks({"subject": HOSTILE}))
    Workflow.objects.update(
        name=HOSTILE, wait=HOSTILE, conditions=[{"path": HOSTILE, "operator": "IS", "values": [HOSTILE]}]
    )
    Workflow.objects.get().actions.update(name=HOSTILE, to=[HOSTILE])
    page = as_member.get(PAGE).content.decode()
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") == 8


def names(client: Client, query: str = "") -> list[str]:
    return re.findall(r"<h2.*>Workflow 0*(\d+)", client.get(f"{PAGE}?{query}").content.decode())


def links(client: Client, query: str = "") -> dict[str, str]:
    page = client.get(f"{PAGE}?{query}").content.decode()
    return {rel: unescape(address) for rel, address in re.findall(r'rel="(\w+)" href="\?([^"]*)"', page)}


def test_fifty_workflows_cost_few_queries(as_member: Client, django_assert_max_num_queries: Any) -> None:
    documents.load(copies(100))
    services.trigger(Incoming("incident_created", SEV1))
    as_member.get(PAGE)
    with django_assert_max_num_queries(12):
        page = as_member.get(PAGE).content.decode()
    assert page.count('<li class="list-group-item">') == 50
    assert names(as_member) == [str(number) for number in range(50)]


def test_pages_go_on_and_back_from_a_name(as_member: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "SHOWN", 2)
    documents.load(copies(5))
    Workflow.objects.filter(slug="w3").update(name="Workflow 002")  # two of one name
    assert (names(as_member), links(as_member)) == (["0", "1"], {"next": "after=w1"})
    assert names(as_member, "after=w1") == ["2", "2"]
    assert links(as_member, "after=w1") == {"prev": "before=w2", "next": "after=w3"}
    assert (names(as_member, "after=w3"), links(as_member, "after=w3")) == (["4"], {"prev": "before=w4"})
    assert names(as_member, "before=w4") == ["2", "2"]
    assert (names(as_member, "before=w2"), links(as_member, "before=w2")) == (["0", "1"], {"next": "after=w1"})
    assert names(as_member, "before=w1") == ["0", "1"], "no page is shorter than it need be"
    assert names(as_member, "after=gone") == ["0", "1"]
    assert names(as_member, "after=%00") == ["0", "1"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=w3", ["3"]),
        ("search=WORKFLOW+00", ["0", "1", "2", "3"]),
        ("search=nothing", []),
        ("kind=alert", ["2"]),
        ("state=off", ["1"]),
        ("state=on", ["0", "2", "3"]),
        ("state=locked", ["3"]),
        ("state=off&search=w3", []),
    ],
)
def test_the_filter(as_member: Client, query: str, found: list[str]) -> None:
    documents.load(copies(4))
    Workflow.objects.filter(slug="w1").update(enabled=False)
    Workflow.objects.filter(slug="w2").update(trigger_type="alert")
    Workflow.objects.filter(slug="w3").update(locked=True)
    assert names(as_member, query) == found
    assert ("No workflow fits" in as_member.get(f"{PAGE}?{query}").content.decode()) == (not found)


def test_a_filter_that_is_wrong_shows_nothing(as_member: Client) -> None:
    documents.load(copies(1))
    for query in ("kind=weather", "state=maybe", "search=%00", f"search={'x' * 201}"):
        answer = as_member.get(f"{PAGE}?{query}")
        assert answer.status_code == 422, query
        assert names(as_member, query) == []


def test_the_filter_goes_along_to_the_next_page_and_back_from_a_switch(
    client: Client, team: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    client.force_login(team["Editor"])
    monkeypatch.setattr(overview, "SHOWN", 2)
    documents.load(copies(3))
    assert links(client, "state=on&search=") == {"next": "state=on&after=w1"}
    assert (
        'action="/workflows/w2/off/?state=on&amp;after=w1"' in client.get(f"{PAGE}?state=on&after=w1").content.decode()
    )
    assert client.post("/workflows/w2/off/?state=on&after=w1")["Location"] == f"{PAGE}?state=on&after=w1"
    assert dict(Workflow.objects.values_list("slug", "enabled")) == {"w0": True, "w1": True, "w2": False}
    assert client.post("/workflows/w2/on/", {"page": "1"})["Location"] == "/workflows/w2/"
    client.post("/workflows/w2/on/")
    told = AuditEvent.objects.filter(action__startswith="workflow").order_by("pk")
    assert list(told.values_list("action", flat=True)) == ["workflow switched off", "workflow switched on"]


def test_a_copy_is_switched_off_and_has_a_slug_of_its_own(client: Client, team: dict[str, User]) -> None:
    client.force_login(team["Editor"])
    documents.load(EXAMPLE)
    Workflow.objects.update(locked=True)
    for slug in ("tell-stakeholders-copy", "tell-stakeholders-copy-2"):
        assert client.post("/workflows/tell-stakeholders/duplicate/")["Location"] == f"/workflows/{slug}/"
    [original] = EXAMPLE["workflows"]
    copied = original | {"name": "Copy of Tell stakeholders", "slug": "tell-stakeholders-copy", "enabled": False}
    assert documents.dump(["tell-stakeholders-copy"])["workflows"] == [copied]
    told = AuditEvent.objects.filter(action="workflow created").latest("pk")
    assert told.details == {"workflow": "tell-stakeholders-copy-2", "copy_of": "tell-stakeholders"}


def test_the_longest_name_can_be_copied_and_what_is_not_valid_says_why(client: Client, team: dict[str, User]) -> None:
    client.force_login(team["Editor"])
    documents.load(EXAMPLE)
    Workflow.objects.update(slug="a-" * 49 + "bc", name="x" * 200)
    assert client.post(f"/workflows/{'a-' * 49}bc/duplicate/")["Location"] == f"/workflows/{'a-' * 44}a-copy/"
    Workflow.objects.update(wait="soon")
    answer = client.post(f"/workflows/{'a-' * 49}bc/duplicate/", follow=True).content.decode()
    assert "Nothing was copied." in answer
    assert "is not a duration" in answer


def test_a_deadline_and_holding_are_told(as_member: Client) -> None:
    documents.load(with_tasks({}))
    assert "Give up" not in as_member.get(PAGE).content.decode()
    Workflow.objects.update(give_up_after="2 hours", on_unknown="hold")
    page = as_member.get(PAGE).content.decode()
    assert "<b>Give up</b> after 2 hours" in page
    assert "<b>Hold</b> what may have been accepted, until a person decides" in page
