"""Datadog: the body is what the user's template says, so we say the template. All its values are texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Foreign, Reading
from .parts import an_object, fitting, moment, needed, text

TEMPLATE = (
    '{"id": "$ID", "cycle": "$ALERT_CYCLE_KEY", "transition": "$ALERT_TRANSITION", "title": "$EVENT_TITLE", '
    '"text": "$TEXT_ONLY_MSG", "priority": "$ALERT_PRIORITY", "type": "$ALERT_TYPE", "tags": "$TAGS", "url": "$LINK", '
    '"at": "$DATE"}'
)
# A state that is told again is a repeat.
STATES = {
    "Triggered": "triggered",
    "Re-Triggered": "triggered",
    "Warn": "warning",
    "Re-Warn": "warning",
    "No Data": "no data",
    "Re-No Data": "no data",
    "Recovered": "resolved",
}


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Return what was told. The key of a cycle is the same from trigger to recovery."""
    payload = an_object(body, name="the payload")
    transition, subject = needed(payload, "transition"), fitting(needed(payload, "cycle"))
    if transition not in STATES:
        return Reading(ignored=f"Datadog's '{transition[:60]}' triggers nothing.")
    state = STATES[transition]
    is_over = state == "resolved"
    alert = _alert(payload, status="resolved" if is_over else "open")
    alert["ended_at" if is_over else "started_at"] = moment(text(payload, "at"))
    first, key = "" if is_over else "alert_created", fitting(f"{needed(payload, 'id')} {transition}")
    event = Foreign("alert_status_updated", key, {"alert": alert}, first=first, subject=subject, state=state)
    return Reading((event,))


def _alert(payload: dict[str, Any], *, status: str) -> dict[str, Any]:
    return {
        "id": fitting(needed(payload, "cycle")),
        "title": text(payload, "title"),
        "summary": text(payload, "title"),
        "description": text(payload, "text"),
        "status": status,
        "severity": text(payload, "priority") or text(payload, "type") or None,
        "source": "datadog",
        "labels": _labels(text(payload, "tags")),
        "url": text(payload, "url") or None,
        "external_id": text(payload, "id"),
        "data": payload,
    }


def _labels(tags: str) -> dict[str, str]:
    pairs = [tag.strip().partition(":") for tag in tags.split(",") if tag.strip()]
    return {name: value for name, _, value in pairs}
