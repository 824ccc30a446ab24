"""The Deliveries page: empty, full, failing, hostile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.test_documents import SMALL
from tests.test_runs import queued, with_tasks
from workflows import documents, runs
from workflows.models import Delivery, Recipient, Workflow

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def as_member(client: Client, member: Any) -> Client:
    client.force_login(member)
    return client


def text(client: Client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.django_db
def test_anonymous_visitors_are_sent_to_the_login(client: Client) -> None:
    assert client.get("/")["Location"] == "/login/?next=/"


def test_without_a_workflow_in_force_it_leads_to_them(as_member: Client, client: Client, team: dict[str, User]) -> None:
    assert "An Editor makes one, or switches one on." in text(as_member)
    client.force_login(team["Editor"])
    assert '<a href="/workflows/">To the workflows</a>' in text(client)
    documents.load(SMALL)
    Workflow.objects.update(enabled=False)
    assert "No workflow is switched on" in text(client), "one that is switched off sends nothing, either"


def test_without_a_mail_it_says_how_to_trigger_one(as_member: Client) -> None:
    documents.load(SMALL)
    assert "An event" not in text(as_member)
    assert "triggers the enabled workflow" in text(as_member)
    assert "http://testserver/v1/events" in text(as_member)
    assert "An Admin makes the token" in text(as_member)


def test_without_a_mail_an_admin_is_led_to_the_tokens(client: Client, team: dict[str, User]) -> None:
    documents.load(SMALL)
    client.force_login(team["Admin"])
    assert 'under <a href="/configuration/tokens/">API tokens</a>' in text(client)
    assert 'under <a href="/workflows/">Workflows</a>' in text(client)


def test_shows_what_became_of_each_mail(as_member: Client) -> None:
    queued(with_tasks({"to": ["a@example.org", "{{ 'foo@@bar' }}"]}, {"to": ["{{ incident.none }}"]}))
    runs.execute_due()
    first, second = Delivery.objects.order_by("position")
    Delivery.objects.filter(pk=first.pk).update(
        state="deferred", reason="450 busy", next_attempt_at=timezone.now() + timedelta(hours=1), provider="smtp"
    )
    page = text(as_member)
    for shown in ("Hello", "Deferred", "450 busy", "Next attempt", "through SMTP", "a@example.org", "1 recipient<"):
        assert shown in page, shown
    assert "foo@@bar" in page, "the warning about it"
    assert "Failed" in page
    assert "no address came out of" in second.reason
    assert "only writes files" not in page


def test_says_that_files_reach_nobody(as_member: Client) -> None:
    queued(with_tasks({}))
    runs.execute_due()
    Delivery.objects.update(provider="default", state="accepted", next_attempt_at=None)
    assert "The default sender only writes files to" in text(as_member)


def test_nothing_that_came_from_outside_is_markup(as_member: Client) -> None:
    queued(with_tasks({"subject": HOSTILE, "body": HOSTILE}))
    runs.execute_due()
    Delivery.objects.update(reason=HOSTILE, warnings=[HOSTILE], sent_from=HOSTILE, action_name=HOSTILE)
    Recipient.objects.update(reply=HOSTILE, address=HOSTILE)
    page = text(as_member)
    assert HOSTILE not in page
    assert page.count("&lt;script&gt;") >= 6


def test_many_mails_and_recipients_cost_few_queries_and_stay_short(
    as_member: Client, django_assert_max_num_queries: Any
) -> None:
    queued(with_tasks(*[{}] * 60))
    runs.execute_due()
    many = Delivery.objects.order_by("-pk")[0]
    Recipient.objects.bulk_create(
        [Recipient(delivery=many, address=f"r{n}@example.org", kind="to") for n in range(2000)]
    )
    with django_assert_max_num_queries(12):
        page = text(as_member)
    assert page.count('<li class="list-group-item">') == 50
    assert "2001 recipients" in page
    assert "The first 20 of them." in page
    assert len(page) < 100_000
