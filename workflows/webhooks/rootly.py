"""Rootly's outgoing webhooks: its incident is shaped like ours already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Foreign, Reading, Unreadable
from .parts import an_object, child, fitting, needed, text

# The object in the data, and the name of the event. A type that is not here falls back to its family below.
_TYPES = {
    "incident.created": ("incident", "incident_created"),
    "incident.in_triage": ("incident", "incident_in_triage"),
    "incident.updated": ("incident", "incident_updated"),
    "incident.mitigated": ("incident", "status_updated"),
    "incident.resolved": ("incident", "status_updated"),
    "incident.cancelled": ("incident", "status_updated"),
    "incident.scheduled.created": ("incident", "incident_created"),
    "incident.scheduled.updated": ("incident", "incident_updated"),
    "incident.scheduled.in_progress": ("incident", "status_updated"),
    "incident.scheduled.completed": ("incident", "status_updated"),
    "incident_post_mortem.created": ("post_mortem", "post_mortem_created"),
    "incident_post_mortem.updated": ("post_mortem", "post_mortem_updated"),
    "incident_post_mortem.published": ("post_mortem", "status_updated"),
    "alert.created": ("alert", "alert_created"),
    "pulse.created": ("pulse", "pulse_created"),
}
_FAMILIES = {
    "alert.": ("alert", "alert_status_updated"),
    "incident_event.": ("timeline", "timeline_updated"),
    "incident_status_page_event.": ("timeline", "status_page_timeline_updated"),
}
# What an incident holds, and the name by which Rootly's own templates for mails ask for it.
_RAW = {
    "services": "raw_services",
    "groups": "raw_groups",
    "environments": "raw_environments",
    "functionalities": "raw_functionalities",
    "incident_types": "raw_types",
}
_STATES = {"acknowledged": "acknowledged", "resolved": "resolved", "created": "open"}


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Return what Rootly told. Runs of its workflows are never taken: their mails could make alerts again."""
    payload = an_object(body, name="the payload")
    event, resource = child(payload, "event"), child(payload, "data")
    kind, key = needed(event, "type"), fitting(needed(event, "id"))
    what, name = _meaning(kind)
    if not name:
        return Reading(ignored=f"Rootly's '{kind[:60]}' triggers nothing.")
    if _is_private(resource) and not options.get("private"):
        return Reading(ignored="It is about a private incident; this endpoint does not take those.")
    return Reading((_event(what, name, key=key, kind=kind, resource=resource),))


def _meaning(kind: str) -> tuple[str, str]:
    """Return object and event of a type, or two blanks."""
    if kind.endswith(".deleted"):
        return "", ""
    family = next((found for prefix, found in _FAMILIES.items() if kind.startswith(prefix)), ("", ""))
    return _TYPES.get(kind, family)


def _is_private(resource: dict[str, Any]) -> bool:
    """Say whether the resource is a private incident or belongs to one, as far as it tells."""
    incident = resource.get("incident")
    return bool(resource.get("private")) or (isinstance(incident, dict) and bool(incident.get("private")))


def _event(what: str, name: str, *, key: str, kind: str, resource: dict[str, Any]) -> Foreign:
    if what == "timeline":
        incident = _incident_of(resource) | {"events": [resource]}
        return Foreign(name, key, {"incident": incident}, subject=incident["id"], thin=True)
    make = {"incident": _incident, "post_mortem": _as_it_is, "alert": _alert, "pulse": _pulse}[what]
    data = {what: make(resource, kind)}
    return Foreign(name, key, data, subject=data[what]["id"] if what == "incident" else "")


def _incident_of(entry: dict[str, Any]) -> dict[str, Any]:
    """Return what an entry of a timeline says of its incident."""
    incident = child(entry, "incident")
    identity = text(entry, "incident_id") or text(incident, "id")
    if not identity:
        raise Unreadable("The entry of a timeline does not say of which incident: 'incident_id' is missing.")
    return {**_raw(incident), **incident, "id": fitting(identity), "source": "rootly"}


def _incident(resource: dict[str, Any], kind: str) -> dict[str, Any]:
    severity, title = resource.get("severity"), text(resource, "title")
    ours = {"id": fitting(needed(resource, "id")), "title": title, "name": title, "source": "rootly"}
    if isinstance(severity, dict):
        ours["severity"] = text(severity, "name") or text(severity, "slug")
        return {"raw_severity": severity, **_raw(resource), **resource, **ours}
    return {**_raw(resource), **resource, **ours, "severity": text(resource, "severity") or None}


def _raw(incident: dict[str, Any]) -> dict[str, Any]:
    return {raw: told for name, raw in _RAW.items() if (told := incident.get(name)) is not None}


def _as_it_is(resource: dict[str, Any], kind: str) -> dict[str, Any]:
    return {**resource, "id": fitting(needed(resource, "id")), "source": "rootly"}


def _alert(resource: dict[str, Any], kind: str) -> dict[str, Any]:
    summary = text(resource, "summary")
    ours = {"id": fitting(needed(resource, "id")), "title": text(resource, "title") or summary}
    ours |= {"source": text(resource, "source") or "rootly", "status": _status(resource, kind)}
    url = text(resource, "url") or text(resource, "external_url") or None
    return {**resource, **ours, "url": url, "labels": _labels(resource.get("labels"))}


def _status(resource: dict[str, Any], kind: str) -> str:
    """Return the status of an alert: an end tells more than the word, the type more than nothing."""
    if text(resource, "ended_at"):
        return "resolved"
    return _STATES.get(kind.removeprefix("alert."), text(resource, "status") or "open")


def _labels(value: Any) -> Any:
    """Return the list of {key, value} as an object; other lists stay as they are."""
    if not isinstance(value, list) or not all(isinstance(item, dict) and "key" in item for item in value):
        return value or {}
    return {str(item["key"]): item.get("value") for item in value}


def _pulse(resource: dict[str, Any], kind: str) -> dict[str, Any]:
    return {**resource, "source": text(resource, "source") or "rootly"}
