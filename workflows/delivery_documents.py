"""Deliveries as documents: the names of the public API, a stable order."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from .models import Attempt, Delivery, Recipient


def deliveries(rows: Iterable[Delivery]) -> list[dict[str, Any]]:
    """Return the document of `manage.py deliveries --json`."""
    return [_delivery(row) for row in rows]


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "run": str(row.run_id),
        "workflow": row.workflow.slug,
        "task": row.action_name,
        "state": row.state,
        "provider": row.provider or None,
        "message_id": row.message_id or None,
        "from": row.sent_from or row.requested_from or None,
        "subject": row.subject,
        "triggered_at": _time(row.triggered_at),
        "accepted_at": _time(row.accepted_at),
        "bounced_at": _time(row.bounced_at),
        "reason": row.reason or None,
        "warnings": row.warnings,
        "recipients": [_recipient(recipient) for recipient in row.recipients.all()],
        "attempts": [_attempt(attempt) for attempt in row.attempts.all()],
    }


def _recipient(row: Recipient) -> dict[str, Any]:
    told = [{"at": _time(one.at), "kind": one.kind, "reason": one.reason or None} for one in row.told.all()]
    return {"address": row.address, "kind": row.kind, "state": row.state, **_said(row), "told": told}


def _attempt(row: Attempt) -> dict[str, Any]:
    return {
        "at": _time(row.at),
        "provider": row.provider or None,
        "stage": row.stage,
        "outcome": row.outcome,
        **_said(row),
        "tls": row.tls or None,
        "milliseconds": row.milliseconds,
    }


def _said(row: Recipient | Attempt) -> dict[str, Any]:
    return {"code": row.code, "enhanced_code": row.enhanced_code or None, "reply": row.reply or None}


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
