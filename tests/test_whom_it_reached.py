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
from tests.test_told import accepted
from workflows.models import Delivery, Recipient
from workflows.told_models import Suppression

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
