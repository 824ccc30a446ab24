"""Mails that SendGrid told more of, and addresses that nothing is sent to, for tests/scenes.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from integrations import clock
from integrations.feedback import Kind, Notice
from integrations.models import SendGridIntegration
from tests.test_runs import SEV1, with_tasks
from workflows import documents, outcomes, runs, services, sparing, suppression, told
from workflows.events import Incoming
from workflows.leases import Lease
from workflows.models import Delivery, Recipient

if TYPE_CHECKING:
    from playwright.sync_api import Page


LONG = "550 5.1.1 The account that you tried to reach does not exist, and a very long text says so. " * 4 + "x" * 200
ADDRESSES = ["oncall@example.org", "zoe@example.org", "long." + "x" * 50 + "@" + "department." * 10 + "example.org"]


def prepare() -> None:
    """Store a mail of which much was told, and one whose recipients were all suppressed because of it."""
    key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE" + "x" * 88
    SendGridIntegration.objects.create(event_key=key, base_url="https://api.sendgrid.com")
    tasks = [{"subject": "Told", "to": ADDRESSES}, {"subject": "Suppressed", "to": ADDRESSES[1:]}]
    document = with_tasks(*tasks)
    document["workflows"][0] |= {"slug": "told", "name": "Tell those who are told of"}
    documents.load(document)
    services.trigger(Incoming("incident_created", SEV1))
    runs.execute_due()
    mail, other = (Delivery.objects.filter(subject=name).latest("pk") for name in ("Told", "Suppressed"))
    sent = {"state": "accepted", "provider": "sendgrid", "accepted_at": clock.now(), "next_attempt_at": None}
    Delivery.objects.filter(pk=mail.pk).update(**sent)
    Recipient.objects.filter(delivery=mail).update(state="accepted", code=202, reply="queued as Zw3xYh0PTq2")
    told.record(_told(mail))
    refused = ("max@example.org", "kim@example.org")
    suppression.enlist(
        suppression.finding(
            address, "refused", since=clock.now(), reason="550 5.1.1 no such user", told_by="smtp", delivery_id=mail.pk
        )
        for address in refused
    )
    Delivery.objects.exclude(pk=other.pk).filter(next_attempt_at__isnull=False).update(
        next_attempt_at=clock.now() + timedelta(hours=1)
    )
    for held in Lease().claim():
        sparing.spare_suppressed(held, suppression.of(ADDRESSES))
        outcomes.record_nobody_left(held)


def _told(mail: Delivery) -> list[Notice]:
    happened = [
        *((ADDRESSES[0], kind, "") for kind in (Kind.PROCESSED, Kind.DELIVERED)),
        *((ADDRESSES[1], kind, LONG if kind is Kind.BOUNCE else "") for kind in (Kind.PROCESSED, Kind.BOUNCE)),
        *((ADDRESSES[2], kind, "") for kind in (Kind.PROCESSED, Kind.DEFERRED, Kind.DELIVERED, Kind.SPAM_REPORT)),
    ]
    return [
        Notice(f"scene-{n}", kind, clock.now() + timedelta(seconds=n), address, delivery=str(mail.pk), reason=reason)
        for n, (address, kind, reason) in enumerate(happened)
    ]


def open_one(subject: str) -> Callable[[Page], None]:
    """Open the newest mail with this subject."""

    def act(page: Page) -> None:
        row = Delivery.objects.filter(subject=subject).latest("pk")
        page.goto(page.url.split("?")[0] + f"deliveries/{row.pk}/")

    return act
