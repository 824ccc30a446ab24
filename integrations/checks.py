"""What `manage.py check` refuses to start with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from . import senders
from .transports.default import default_settings


@register(Tags.security)
def encryption_key_is_set(**_: Any) -> list[CheckMessage]:
    """Without FERNET_KEYS the field library would quietly take SECRET_KEY."""
    keys = getattr(settings, "FERNET_KEYS", None)
    if keys and all(keys) and settings.SECRET_KEY not in keys:
        return []
    return [
        Error(
            "FERNET_KEYS must hold at least one key, and not SECRET_KEY.",
            hint="Remove the setting to have a key generated, or set it to a long random text.",
            id="integrations.E001",
        )
    ]


@register()
def default_sender_is_usable(**_: Any) -> list[CheckMessage]:
    """A mistake here would show only with the first mail."""
    found: list[CheckMessage] = []
    try:
        default_settings(settings.DEFAULT_SENDER_URL)
    except ValueError as error:
        found.append(Error(f"DEFAULT_SENDER_URL: {error}", id="integrations.E002"))
    try:
        senders.parse_mailbox(settings.DEFAULT_FROM_EMAIL)
    except senders.SenderError as error:
        found.append(Error(f"DEFAULT_SENDER: {error}", id="integrations.E003"))
    return found
