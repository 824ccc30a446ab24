"""FireHydrant: each delivery holds the incident as it is now, and does not say what has happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Foreign, Reading
from .parts import an_object, child, digest, fitting, needed, text


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Return the incident; its milestone is its state, so what changes anything else is taken for a repeat."""
    payload = an_object(body, name="the payload")
    incident = child(child(payload, "data"), "incident")
    if not incident:
        return Reading(ignored="It is not about an incident: nothing is told.")
    told = _incident(incident)
    event = Foreign(
        "status_updated",
        digest(payload),
        {"incident": told},
        first="incident_created",
        subject=told["id"],
        state=fitting(told["status"]) or "none",  # blank would never be a repeat
    )
    return Reading((event,))


def _incident(incident: dict[str, Any]) -> dict[str, Any]:
    severity, priority = child(incident, "severity"), child(incident, "priority")
    title = text(incident, "name")
    return {
        "id": fitting(needed(incident, "id")),
        "sequential_id": incident.get("number"),
        "title": title,
        "name": title,
        "summary": text(incident, "summary"),
        "description": text(incident, "description"),
        "status": text(incident, "current_milestone"),
        "severity": text(severity, "slug") or None,
        "priority": text(priority, "slug") or None,
        "source": "firehydrant",
        "url": text(incident, "private_status_page_url") or None,
        "labels": incident.get("labels") or {},
        "started_at": text(incident, "started_at") or text(incident, "created_at") or None,
        "raw_severity": severity or None,
        "data": incident,
    }
