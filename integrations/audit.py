"""The append-only record of who changed the configuration."""

from __future__ import annotations

from typing import Any

from .models import AuditEvent

COMMAND_LINE = "command line"


def record(action: str, *, actor: str, **details: Any) -> None:
    """Write one audit entry. `details` must hold no secret: name changed secrets, never quote them."""
    AuditEvent.objects.create(action=action, actor=actor[:150], details=details)
