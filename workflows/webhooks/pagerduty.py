"""PagerDuty Webhooks v3: one event a request. Only `incident` is whole; other data refers to one, and is thin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .base import Foreign, Reading
from .parts import an_object, child, children, fitting, named, needed, text, without_nothing

NAMES = {
    "incident.triggered": "incident_created",
    "incident.acknowledged": "status_updated",
    "incident.unacknowledged": "status_updated",
    "incident.resolved": "status_updated",
    "incident.reopened": "status_updated",
    "incident.priority_updated": "severity_updated",
    "incident.service_updated": "services_updated",
    "incident.incident_type.changed": "incident_types_updated",
    "incident.annotated": "timeline_updated",
    "incident.status_update_published": "timeline_updated",
    "incident.role.assigned": "role_assignments_updated",
    "incident.delegated": "incident_updated",
    "incident.escalated": "incident_updated",
    "incident.reassigned": "incident_updated",
    "incident.conference_bridge.updated": "incident_updated",
    "incident.task.created": "action_item_created",
    "incident.task.updated": "action_item_updated",
    "incident.task.completed": "action_item_updated",
}
FIELDS = "incident.custom_field_values.updated"
TEST = "pagey.ping"
# When it happened is told by the event alone, not by the incident.
_TIMES = {"incident.acknowledged": "acknowledged_at", "incident.resolved": "resolved_at"}
_NO_SLUG = re.compile("[^a-z0-9_-]+")


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Return what PagerDuty told. What is of no use is no error: after three of those it stops telling for a day."""
    event = child(an_object(body, name="the payload"), "event")
    kind = needed(event, "event_type")
    if kind == TEST:
        return Reading(ignored="A test from PagerDuty: received, it triggers nothing.")
    key = fitting(text(event, "id") or headers.get("x-webhook-id", "")) or needed(event, "id")
    if kind == FIELDS:
        return _fields_updated(event, key=key)
    name = "incident_updated" if kind.startswith("incident.responder.") else NAMES.get(kind, "")
    if not name:
        return Reading(ignored=f"PagerDuty's '{kind[:60]}' triggers nothing.")
    return Reading((_event(event, name=name, key=key),))


def _event(event: dict[str, Any], *, name: str, key: str) -> Foreign:
    about = child(event, "data")
    if about.get("type") == "incident":
        return _foreign(name, key, {"incident": _whole(about) | _time(event)}, is_thin=False)
    data = {"incident": _referred(about) | _news(about, at=text(event, "occurred_at"))}
    if name.startswith("action_item"):
        data["action_item"] = _task(about)
    return _foreign(name, key, data, is_thin=True)


def _foreign(name: str, key: str, data: dict[str, Any], *, is_thin: bool) -> Foreign:
    return Foreign(name, key, data, subject=data["incident"]["id"], thin=is_thin)


def _whole(incident: dict[str, Any]) -> dict[str, Any]:
    priority, service = child(incident, "priority"), child(incident, "service")
    title = text(incident, "title")
    return {
        "id": fitting(needed(incident, "id")),
        "sequential_id": incident.get("number"),
        "title": title,
        "name": title,
        "status": text(incident, "status"),
        "severity": text(priority, "summary") or text(incident, "urgency") or None,
        "source": "pagerduty",
        "url": text(incident, "html_url") or None,
        "started_at": text(incident, "created_at") or None,
        "raw_services": [named(service)] if service else [],
        "raw_groups": [named(team) for team in children(incident, "teams")],
        "raw_severity": named(priority) if priority else None,
        "resolution_message": text(child(incident, "resolve_reason"), "type") or None,
        "data": incident,
    }


def _time(event: dict[str, Any]) -> dict[str, Any]:
    name = _TIMES.get(text(event, "event_type"))
    return without_nothing({name: text(event, "occurred_at")}) if name else {}


def _referred(about: dict[str, Any]) -> dict[str, Any]:
    """Return what a thin event says of its incident."""
    incident = child(about, "incident")
    title = text(incident, "summary")
    told = {"title": title, "name": title, "url": text(incident, "html_url"), "source": "pagerduty"}
    return {"id": fitting(needed(incident, "id"))} | without_nothing(told)


def _news(about: dict[str, Any], *, at: str) -> dict[str, Any]:
    """Return the note or the status update, as an entry of the timeline."""
    note = text(about, "content") or text(about, "message")
    entry = without_nothing({"id": about.get("id"), "event": note, "occurred_at": at})
    return {"events": [entry]} if note and text(about, "type") != "incident_responder" else {}


def _task(about: dict[str, Any]) -> dict[str, Any]:
    summary = text(about, "title") or text(about, "summary") or text(about, "description")
    told = {"id": about.get("id"), "summary": summary, "description": text(about, "description")}
    return told | {"status": text(about, "status"), "source": "pagerduty", "data": about}


def _fields_updated(event: dict[str, Any], *, key: str) -> Reading:
    """Return an event for each field that changed; the list of changed ones holds the old values."""
    about = child(event, "data")
    fields = {_slug(one): one for one in children(about, "custom_fields")}
    changed = sorted({_slug(one) for one in children(about, "changed_custom_fields")} - {""})
    listed = [_custom_field(slug, one) for slug, one in fields.items() if slug]
    data = {"incident": _referred(about) | without_nothing({"custom_fields": listed})}
    if not changed:
        return Reading(ignored="PagerDuty names no field that has changed.")
    return Reading(
        tuple(
            _foreign(f"custom_fields.{slug}.updated", fitting(f"{key} {slug}"), data, is_thin=True) for slug in changed
        )
    )


def _slug(one: dict[str, Any]) -> str:
    return _NO_SLUG.sub("_", text(one, "name").lower())[:60]


def _custom_field(slug: str, one: dict[str, Any]) -> dict[str, Any]:
    label = text(one, "display_name") or text(one, "name")
    return {"custom_field": {"id": one.get("id"), "label": label, "slug": slug}, "value": one.get("value")}
