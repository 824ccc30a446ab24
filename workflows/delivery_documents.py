"""Runs and deliveries as documents: what the API answers and `deliveries --json` prints, in a stable order."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Prefetch, QuerySet

from . import samples, search
from .models import Attempt, Delivery, Recipient, Run


def whole(rows: QuerySet[Delivery], *, but_recipients_of: Collection[uuid.UUID] = ()) -> QuerySet[Delivery]:
    """Let rows be read with all that a document tells, by few queries; without the mails' bytes and transcripts."""
    recipients = Prefetch("recipients", Recipient.objects.exclude(delivery__in=but_recipients_of))
    attempts = Prefetch("attempts", Attempt.objects.defer("transcript"))
    rows = rows.prefetch_related(recipients, "recipients__told", attempts)
    rows = rows.select_related("workflow").defer("content")
    # Not by a join: so both databases go on walking the index that sorts, and stop at the limit.
    return rows.annotate(is_test=Exists(Run.objects.filter(samples.is_test(), pk=OuterRef("run"))))


def run(row: Run) -> dict[str, Any]:
    """Return the document of a run that knows its workflow and event; mails have recipients as far as there is room."""
    return {
        "id": str(row.pk),
        "workflow": row.workflow.slug,
        "event_id": str(row.event_id),
        "event": row.event.name,
        "status": row.status,
        "reason": row.status_message or None,
        "by_hand": row.manual,
        "repeat": row.number,
        "due_at": _time(row.due_at),
        "started_at": _time(row.started_at),
        "finished_at": _time(row.finished_at),
        "deliveries": _within_room(row.deliveries.order_by("position")),
    }


def deliveries(rows: QuerySet[Delivery], *, most: int | None = None) -> list[dict[str, Any]]:
    """Return the documents of the first so many rows, or of all."""
    return [_delivery(row) for row in whole(rows)[:most]]


def _within_room(rows: QuerySet[Delivery]) -> list[dict[str, Any]]:
    left_out = search.without_room(rows)
    return [
        _delivery(row) | ({"recipients": None} if row.pk in left_out else {})
        for row in whole(rows, but_recipients_of=left_out)
    ]


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "run": str(row.run_id),
        "workflow": row.workflow.slug,
        "task": row.action_name,
        "test": row.is_test,  # type: ignore[attr-defined]
        "state": row.state,
        "provider": row.provider or None,
        "message_id": row.message_id or None,
        "from": row.sent_from or row.requested_from or None,
        "subject": row.subject,
        "triggered_at": _time(row.triggered_at),
        "next_attempt_at": _time(row.next_attempt_at),
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
