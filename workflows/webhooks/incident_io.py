"""incident.io, by Standard Webhooks: the object stands under a key that is equal to the type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .base import Foreign, Reading
from .parts import an_object, child, digest, fitting, needed, text, without_nothing

NAMES = {
    "public_incident.incident_created": "incident_created",
    "public_incident.incident_updated": "incident_updated",
    "public_incident.incident_status_updated": "status_updated",
    "public_incident.action_created": "action_item_created",
    "public_incident.action_updated": "action_item_updated",
    "public_incident.follow_up_created": "action_item_created",
    "public_incident.follow_up_updated": "action_item_updated",
    "public_alert.alert_created": "alert_created",
    "public_alert.alert_resolved": "alert_status_updated",
}
_VERSION = re.compile(r"_v\d+\Z")
_STATUSES = {"firing": "open"}


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Return what was told; a private incident is told by its id alone, of which no mail can be made."""
    payload = an_object(body, name="the payload")
    kind = needed(payload, "event_type")
    name = NAMES.get(_VERSION.sub("", kind))
    if not name:
        return Reading(ignored=f"incident.io's '{kind[:80]}' triggers nothing.")
    key = fitting(headers.get("webhook-id") or headers.get("svix-id") or "") or digest(payload)
    about = child(payload, kind)
    if name.startswith("action_item"):
        return Reading((_task(name, about, key=key),))
    if name.startswith("alert"):
        return Reading((_told_of_alert(name, about, key=key),))
    incident = _incident(child(about, "incident") or about) | _change(about)
    return Reading((Foreign(name, key, {"incident": incident}, subject=incident["id"]),))


def _incident(incident: dict[str, Any]) -> dict[str, Any]:
    status, severity = child(incident, "incident_status"), child(incident, "severity")
    title = text(incident, "name")
    return {
        "id": fitting(needed(incident, "id")),
        "slug": text(incident, "reference"),
        "title": title,
        "name": title,
        "summary": text(incident, "summary"),
        "status": text(status, "name"),
        "status_category": text(status, "category") or None,
        "severity": text(severity, "name") or None,
        "source": "incident.io",
        "url": text(incident, "permalink") or None,
        "started_at": text(incident, "created_at") or None,
        "raw_severity": severity or None,
        "data": incident,
    }


def _change(about: dict[str, Any]) -> dict[str, Any]:
    """Return what a change of status says besides the incident; the new status is not always in it yet."""
    before, now = text(child(about, "previous_status"), "name"), text(child(about, "new_status"), "name")
    return without_nothing({"status": now, "previous_status": before, "message": text(about, "message")})


def _told_of_alert(name: str, about: dict[str, Any], *, key: str) -> Foreign:
    """Return the event of an alert; one that is resolved never fires again: the next one has another id."""
    alert = _alert(about)
    if is_over := name == "alert_status_updated":
        alert["status"] = "resolved"
    return Foreign(
        "alert_status_updated",
        key,
        {"alert": alert},
        first="" if is_over else "alert_created",
        subject=alert["id"],
        state="resolved" if is_over else "open",
        last=is_over,
        ordered=True,
    )


def _alert(alert: dict[str, Any]) -> dict[str, Any]:
    status, created, resolved = (text(alert, name) for name in ("status", "created_at", "resolved_at"))
    return {
        "id": fitting(needed(alert, "id")),
        "title": text(alert, "title"),
        "summary": text(alert, "title"),
        "description": text(alert, "description"),
        "status": _STATUSES.get(status, status),
        "source": "incident.io",
        "url": text(alert, "source_url") or None,
        "external_id": text(alert, "deduplication_key"),
        "started_at": created or None,
        "updated_at": text(alert, "updated_at") or resolved or created or None,
        "ended_at": resolved or None,
        "data": alert,
    }


def _task(name: str, task: dict[str, Any], *, key: str) -> Foreign:
    """Return an action or a follow-up; of its incident it knows the id at most."""
    incident = fitting(text(task, "incident_id"))
    item = {
        "id": fitting(needed(task, "id")),
        "summary": text(task, "title") or text(task, "description"),
        "description": text(task, "description"),
        "status": text(task, "status"),
        "source": "incident.io",
        "data": task,
    }
    data = {"action_item": item} | ({"incident": {"id": incident}} if incident else {})
    return Foreign(name, key, data, subject=incident, thin=bool(incident))
