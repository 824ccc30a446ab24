"""An installation in use, for the pictures of the manual: `make screenshots` writes them, too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from integrations.models import SmtpIntegration
from tests.fake_relay import FakeRelay
from tests.test_runs import queued, with_tasks
from workflows import delivery, runs
from workflows.models import Attempt, Delivery

if TYPE_CHECKING:
    from playwright.sync_api import Page


SUBJECTS = (
    "SEV1: checkout is slow", "Incident 4711 opened: payments", "Störung behoben: Anmeldung", "SEV2: search is down",
    "Update: checkout, 30 minutes in", "Resolved: checkout is slow",
)  # fmt: skip
CATALOGUE = "/configuration/integrations/"
Picture = tuple[str, str, "Callable[[Page], None]"]  # name, path, and what is done there
BODY = """# {{ incident.title | default: 'Checkout is slow' }}

Payments take **eleven seconds** since 14:02. The team is looking at the database.

| Service | State |
| --- | --- |
| Checkout | slow |
| Login | works |

[Follow the incident](https://status.example.com 'btn')
"""


def prepare(relay: FakeRelay) -> None:
    """Send a handful of mails through a relay that does not know everybody, and give the day before a history."""
    relay.replies = {"RCPT TO:<zoe@": "550 5.1.1 <zoe@example.org>: no such user here"}
    SmtpIntegration.objects.create(
        connected=True, address="127.0.0.1", port=relay.port, ssl=False,
        enable_starttls_auto=False, default_from="Incident Desk <desk@example.com>",
        connected_by="ada", connected_at=timezone.now() - timedelta(days=12),
    )  # fmt: skip
    queued(with_tasks(*(_task(subject) for subject in SUBJECTS)))
    runs.execute_due()
    delivery.send_due()
    _yesterday()
    SmtpIntegration.objects.update(openssl_verify_mode="peer", enable_starttls=True)
    row = SmtpIntegration.objects.get()
    row.address, row.port = "smtp.example.com", 587
    row.save()


def _task(subject: str) -> dict[str, Any]:
    others = ["zoe@example.org"] if subject == SUBJECTS[1] else []
    return {"subject": subject, "to": ["oncall@example.org", *others], "body": BODY}


def _yesterday() -> None:
    mail, now = Delivery.objects.latest("pk"), timezone.now()
    for hours, outcome in [(hour, "accepted") for hour in range(1, 20)] + [(5, "deferred"), (6, "failed")]:
        Attempt.objects.create(
            delivery=mail, at=now - timedelta(hours=hours), provider="smtp", stage="data", outcome=outcome
        )


def _explain(port: int) -> Callable[[Page], None]:
    """Try the documented defaults, TLS from the first byte, against a server that wants STARTTLS."""

    def act(page: Page) -> None:
        page.get_by_label("Address").fill("localhost")
        page.get_by_label("Port").fill(str(port))
        page.get_by_role("button", name="Connect", exact=True).click()
        page.locator("table.steps tr.bad").wait_for()
        page.wait_for_load_state()

    return act


def _story(page: Page) -> None:
    page.get_by_role("link", name=SUBJECTS[1]).click()
    page.wait_for_load_state()


def _edit(page: Page) -> None:
    page.get_by_role("link", name="Mail", exact=True).first.click()
    page.wait_for_load_state()


def empty(port: int) -> list[Picture]:
    return [("check", f"{CATALOGUE}smtp/", _explain(port))]


def in_use() -> list[Picture]:
    return [
        ("integrations", CATALOGUE, lambda page: page.get_by_text("Connected", exact=True).click()),
        ("deliveries", "/", lambda page: None),
        ("delivery", "/", _story),
        ("action", "/workflows/tell/", _edit),
    ]
