"""Who may come in: accounts and webhooks; and how long things are kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from integrations import clock, people
from workflows import endpoints, ids
from workflows.models import Delivery
from workflows.webhook_models import WebhookEndpoint

from .findings import Area, Check, Finding, ok, problem, warning

READY = ("database", "migrations")
LEFT_OVER = timedelta(days=2)


def look_at_accounts() -> Iterator[Finding]:
    admins = people.active_admins().distinct().count()
    if admins:
        yield ok(f"{admins} {'Admin' if admins == 1 else 'Admins'} with a password")
    else:
        yield problem(
            "nobody could come in as Admin",
            "The first account: by the token that manage.py up prints. Else manage.py createsuperuser.",
        )


def look_at_webhooks() -> Iterator[Finding]:
    """What is missing here is a secret that only the sender can make; an exchange that nobody ended leaves two."""
    rows = WebhookEndpoint.objects.order_by("name")
    proving = rows.exclude(scheme=endpoints.UNPROVED)
    without = list(proving.filter(secret__isnull=True).values_list("name", flat=True))
    exchanged = list(rows.filter(secret_before__isnull=False).values_list("name", flat=True))
    where = "Configuration → Webhooks → {}"
    if without:
        yield warning(
            f"no secret, so all posts are refused: {', '.join(without)}",
            f"Enter the sender's secret in {where.format(without[0])}.",
        )
    if exchanged:
        yield warning(
            f"the secret of before is still valid: {', '.join(exchanged)}",
            f"End the exchange in {where.format(exchanged[0])} once the sender uses the new one.",
        )
    if not without and not exchanged:
        yield ok(f"{rows.count()} set up")


def look_at_keeping() -> Iterator[Finding]:
    bodies, rows = settings.KEEP_BODIES_DAYS, settings.KEEP_DELIVERIES_DAYS
    endless = [name for name in ("KEEP_BODIES_DAYS", "KEEP_DELIVERIES_DAYS") if getattr(settings, name) <= 0]
    if endless:
        yield warning(f"{' and '.join(endless)} keep things for ever", "Watch the disk, or name a number of days.")
    elif _left_over(bodies):
        yield warning(
            f"content older than {bodies} days is still there",
            "Does beat run? It has old content erased every other minute.",
        )
    else:
        yield ok(f"content for {bodies} days, deliveries for {rows}")


def _left_over(days: int) -> bool:
    before = ids.first_id_at(clock.now() - timedelta(days=days) - LEFT_OVER)
    return Delivery.objects.filter(purged_at__isnull=True, pk__lt=before, state__in=Delivery.FINAL).exists()


PEOPLE = Area(
    "Access",
    (
        Check("accounts", look_at_accounts, needs=READY),
        Check("webhooks", look_at_webhooks, needs=READY),
        Check("keeping", look_at_keeping, needs=READY),
    ),
)
