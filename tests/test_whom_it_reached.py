"""Whom a mail reached and whom not, on its page and in the list: those with trouble first, however many there are."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from integrations import clock
from tests.test_delivery_pages import body
from tests.test_runs import with_tasks
from tests.test_told import accepted, kinds
from workflows import documents
from workflows.models import Delivery, Recipient
from workflows.told_models import Suppression, Told

pytestmark = pytest.mark.django_db


@pytest.fixture
def as_editor(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Editor"])
    return client


def words(client: Client, row: Delivery) -> str:
    page = body(client.get(f"/deliveries/{row.pk}/")).partition("<main")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def refused(row: Delivery, address: str) -> None:
    said: dict[str, Any] = {"code": 550, "enhanced_code": "5.1.1", "reply": "no such user"}
    Recipient.objects.filter(delivery=row, address=address).update(state="refused", **said)


def suppress(address: str, **values: Any) -> None:
    own = {"kind": "refused", "since": clock.now(), "told_by": "smtp", "expires_at": clock.now() + timedelta(days=30)}
    Suppression.objects.create(address=address, **own | values)


def tell(row: Delivery, address: str, kind: str) -> None:
    recipient = Recipient.objects.get(delivery=row, address=address)
    Told.objects.create(recipient=recipient, kind=kind, at=clock.now(), event_id=f"{kind}-{address}")


def test_who_is_suppressed_by_now_is_named_and_nothing_is_promised(as_editor: Client) -> None:
    row = accepted("a@example.org", "b@example.org", content=b"Subject: x\r\n\r\nx")
    refused(row, "b@example.org")
    page = words(as_editor, row)
    assert "Sending again reaches only those who have not got it." in page
    assert "Send again" in page
    suppress("b@example.org")
    page = words(as_editor, row)
    assert "Sending again" not in page
    assert "Send again" not in page
    assert "Nobody is left to send it to again: who has not got it is suppressed." in page
    assert re.search(r"no such user Suppressed until \d{4}-\d\d-\d\d [\d:]+ : nothing is sent there\.", page)
    assert 'href="/suppressed/?search=b%40example.org"' in body(as_editor.get(f"/deliveries/{row.pk}/"))


def test_a_report_of_spam_holds_until_somebody_releases_it(as_editor: Client) -> None:
    row = accepted("a@example.org", "b@example.org", content=b"Subject: x\r\n\r\nx")
    refused(row, "b@example.org")
    suppress("b@example.org", kind="complaint", expires_at=None)
    assert "Suppressed until an Admin releases it: nothing is sent there." in words(as_editor, row)


def test_of_many_recipients_the_first_few_are_open_and_those_with_trouble_are_the_first(as_editor: Client) -> None:
    row = accepted(*(f"r{n:03}@example.org" for n in range(200)))
    tell(row, "r150@example.org", "spam_report")
    tell(row, "r199@example.org", "bounce")
    page = words(as_editor, row)
    first, _, rest = page.partition("and 190 more")
    assert "r150@example.org" in first
    assert "r199@example.org" in first
    assert "r008@example.org" not in first
    assert "r008@example.org" in rest
    assert "told later that it did not reach 1 of 200 recipients. 1 of 200 recipients reported it as spam." in page


def test_a_report_of_spam_alone_is_told_in_the_summary(as_editor: Client) -> None:
    row = accepted("a@example.org")
    tell(row, "a@example.org", "spam_report")
    assert kinds(row) == [("a@example.org", "spam_report")]
    assert "The relay has taken it over for everybody. The recipient reported it as spam." in words(as_editor, row)


def test_the_list_names_whom_a_mail_did_not_reach(as_editor: Client) -> None:
    row = accepted(*(f"r{n}@example.org" for n in range(30)), bounced_at=clock.now())
    for number in (25, 26, 27, 28):
        tell(row, f"r{number}@example.org", "bounce")
    page = " ".join(re.sub(r"<[^>]+>", "", body(as_editor.get("/"))).split())
    assert "Did not reach r25@example.org, r26@example.org, r27@example.org and 1 more" in page


def test_an_action_with_many_recipients_is_a_short_row(as_editor: Client) -> None:
    documents.load(with_tasks({"to": [f"r{n}@example.org" for n in range(200)]}))
    page = " ".join(re.sub(r"<[^>]+>", "", body(as_editor.get("/workflows/tell/"))).split())
    assert "to r0@example.org, r1@example.org, r2@example.org and 197 more" in page
