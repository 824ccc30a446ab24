"""What providers tell of a mail after they have accepted it: the door through which workflows hear of it."""

from __future__ import annotations

from django.db.models import QuerySet

from . import clock
from .models import SendGridIntegration
from .transports import sendgrid_events
from .transports.sendgrid_events import Kind, Notice

__all__ = ["Kind", "NotGenuine", "Notice", "Unreadable", "note_heard", "read_sendgrid"]


class NotGenuine(Exception):
    """It was not signed with the key that an admin has entered."""


class Unreadable(Exception):
    """It was signed, and is not what SendGrid sends."""


def read_sendgrid(body: bytes, *, signature: str, timestamp: str) -> list[Notice]:
    """Return what a POST of SendGrid's Event Webhook tells; raises NotGenuine, or Unreadable.

    The key counts whether SendGrid is connected or not: what it accepted before is told of for days.
    """
    keys = list(_with_key().values_list("event_key", flat=True))
    if not keys:
        raise NotGenuine("No verification key is stored: paste it in Configuration → Integrations → SendGrid.")
    if not any(sendgrid_events.genuine(body, signature=signature, timestamp=timestamp, key=key) for key in keys):
        raise NotGenuine("The signature is missing or wrong. Compare the verification key on the SendGrid page.")
    try:
        return sendgrid_events.notices(body)
    except ValueError as error:
        raise Unreadable(f"The body is not a JSON array of events: {error}.") from error


def note_heard() -> None:
    """Remember when events last came, for the page on which they are set up."""
    _with_key().update(event_heard_at=clock.now())


def _with_key() -> QuerySet[SendGridIntegration]:
    return SendGridIntegration.objects.exclude(event_key="")
