"""Whose clock the times of a list are read from: it is said once above it, and machines can read each of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from integrations import tokens
from tests import told_scenes, webhook_scenes
from workflows.webhook_models import WebhookEndpoint

pytestmark = pytest.mark.django_db
SAID = "Times are in Europe/Berlin."
LISTS = [
    "/", "/runs/", "/workflows/", "/suppressed/", "/configuration/webhooks/", "/configuration/webhooks/{webhook}/",
    "/configuration/tokens/", "/configuration/people/", "/configuration/audit/",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_berlin(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"


@pytest.fixture
def used(as_admin: Client) -> Client:
    told_scenes.prepare()
    webhook_scenes.prepare()
    tokens.create("pager", scopes=["trigger"], actor="ada")
    return as_admin


def page_of(client: Client, address: str) -> str:
    busy = WebhookEndpoint.objects.filter(name="Any JSON").first()
    return client.get(address.format(webhook=busy.pk if busy else 0)).content.decode()


@pytest.mark.parametrize("address", LISTS)
def test_a_list_says_once_whose_clock_it_is(used: Client, address: str) -> None:
    page = page_of(used, address)
    assert page.count(SAID) == 1
    without, times = re.subn(r'<time datetime="[^"]+[+-]\d\d:\d\d">[^<]+</time>', "", page.partition(SAID)[2])
    assert times > 0
    assert re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", without) == []


@pytest.mark.parametrize("address", ["/", "/runs/", "/suppressed/", "/configuration/webhooks/"])
def test_where_nothing_is_there_nothing_is_said(as_admin: Client, address: str) -> None:
    assert SAID not in page_of(as_admin, address)
