"""Opsgenie and the alerts of Jira Service Management. Nothing is signed: a header of one's own proves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Foreign, Reading
from .parts import an_object, child, fitting, moment, needed, number, text

STATES = {"Create": "open", "Acknowledge": "acknowledged", "UnAcknowledge": "open", "Close": "resolved"}


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Return what was told. A team that is added makes it tell Create again: that one has the same key."""
    payload = an_object(body, name="the payload")
    action, alert = needed(payload, "action"), child(payload, "alert")
    if action not in STATES:
        return Reading(ignored=f"Opsgenie's '{action[:60]}' triggers nothing.")
    subject = fitting(needed(alert, "alertId"))
    is_new = action == "Create"
    key = f"{subject} Create" if is_new else f"{subject} {action} {number(alert, 'updatedAt')}"
    data = {"alert": _alert(alert, payload, status=STATES[action])}
    first = "alert_created" if is_new else ""
    event = Foreign(
        "alert_status_updated",
        fitting(key),
        data,
        first=first,
        subject=subject,
        state=STATES[action],
        last=action == "Close",
        ordered=True,
    )
    return Reading((event,))


def _alert(alert: dict[str, Any], payload: dict[str, Any], *, status: str) -> dict[str, Any]:
    return {
        "id": fitting(needed(alert, "alertId")),
        "title": text(alert, "message"),
        "summary": text(alert, "message"),
        "description": text(alert, "description"),
        "status": status,
        "severity": text(alert, "priority") or None,
        "source": "opsgenie",
        "labels": alert.get("tags") or [],
        "external_id": text(alert, "alias"),
        "started_at": moment(number(alert, "createdAt")),
        "updated_at": moment(_milliseconds(number(alert, "updatedAt"))),
        "data": payload,
    }


def _milliseconds(told: int) -> int:
    """Return Unix milliseconds: `updatedAt` comes in nanoseconds, in old examples in milliseconds."""
    return told // 1_000_000 if told > 10**15 else told
