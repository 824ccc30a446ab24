"""What is stored for the scenes of webhooks: quiet, busy, long, right to left, refused, retired."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.utils import timezone

from workflows import endpoints, webhook_help
from workflows.models import Run
from workflows.webhook_models import WebhookEndpoint, WebhookReceipt

if TYPE_CHECKING:
    from playwright.sync_api import Page


WEBHOOKS = "/configuration/webhooks/"
LONG = "monitoring." * 8
WORDS = "The proof of origin is missing or wrong, and this is said at length. " * 6 + "x" * 300
ARABIC = "انقطاع الخدمة في مركز البيانات"
MAPPING = (
    "event = $.kind\nevent.fired = alert_created\nid = $.uuid\nalert.title = $.message\n" + f"alert.{'x' * 55} = $.y"
)


def prepare() -> None:
    """Store endpoints of several kinds, and what they were told."""
    _made("Alertmanager of the shop", "alertmanager", "bearer")
    busy = _made("Any JSON", "json", "none", options={"mapping": MAPPING, "severities": "critical = sev0"})
    _made(LONG[:100], "pagerduty", "pagerduty")
    _made(ARABIC, "rootly", "rootly", secret="theirs", retired_at=timezone.now() - timedelta(days=3))
    _told(busy)


def _made(name: str, kind: str, scheme: str, **values: Any) -> WebhookEndpoint:
    row = WebhookEndpoint(name=name, kind=kind, scheme=scheme, **values)
    endpoints.create(row, actor="ada")
    return row


def _told(row: WebhookEndpoint) -> None:
    """Let it have been posted to: something real, then one of everything that may become of a POST."""
    endpoints.exchange_secret(row, secret="another", actor="ada")
    token = endpoints.exchange_address(row, actor="ada").address.split("/")[-2]
    body = {"kind": "fired", "uuid": "1", "message": ARABIC, "host": "x" * 300, "token": "hunter2"}
    Client().post(f"/hooks/{token}/", json.dumps(body), "application/json")
    run = Run.objects.order_by("pk").first()
    for outcome, status, reason, times in (
        ("stored", 202, "", 1), ("duplicate", 200, "All of it was told before.", 1), ("ignored", 200, ARABIC, 1),
        ("test", 200, "A test.", 1), ("refused", 401, WORDS, 1200),
    ):  # fmt: skip
        event = str(run.event_id) if run and outcome == "stored" else None
        made = [{"name": "alert_created", "event": event, "repeat": outcome == "duplicate"}] * 14
        WebhookReceipt.objects.create(
            endpoint=row, at=timezone.now(), outcome=outcome, status=status, reason=reason, times=times,
            made=made if outcome in ("stored", "duplicate") else [],
            body="" if outcome == "refused" else webhook_help.sample("alertmanager"),
        )  # fmt: skip


def open_one(name: str) -> Any:
    """Return what opens the page of this endpoint, and everything that is folded there."""

    def act(page: Page) -> None:
        page.get_by_role("link", name=name).first.click()
        page.wait_for_load_state()
        _open_all(page)

    return act


def make_one(page: Page) -> None:
    page.get_by_label("Name").fill("Metrics of " + "x" * 80)
    with page.expect_navigation():  # which a script lets begin when it knows that the answer can be saved
        page.get_by_role("button", name="Make the address").click()
    page.wait_for_load_state()


def make_a_wrong_one(page: Page) -> None:
    page.get_by_label("Name").fill(LONG * 3)
    page.get_by_label("Mapping").fill("event = alert_created\n" + LONG * 3)
    with page.expect_navigation():  # which a script lets begin when it knows that the answer can be saved
        page.get_by_role("button", name="Make the address").click()
    page.wait_for_load_state()


def try_one(page: Page) -> None:
    open_one("Alertmanager of the shop")(page)
    page.get_by_role("button", name="Test", exact=True).click()
    page.wait_for_load_state()
    for summary in page.query_selector_all("details:not([open]) > summary"):
        if summary.is_visible() and "template" in (summary.text_content() or ""):
            summary.click()


def try_a_wrong_one(page: Page) -> None:
    open_one("Alertmanager of the shop")(page)
    page.get_by_label("Payload").fill('{"alerts": ' + LONG)
    page.get_by_role("button", name="Test", exact=True).click()
    page.wait_for_load_state()


def edit_one(page: Page) -> None:
    page.get_by_role("link", name="Any JSON").first.click()
    page.get_by_role("link", name="Edit").click()
    page.wait_for_load_state()
    _open_all(page)


def _open_all(page: Page) -> None:
    for summary in page.query_selector_all("details:not([open]) > summary"):
        if summary.is_visible():
            summary.click()
