"""What becomes of what Opsgenie, Datadog, FireHydrant and incident.io post."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workflows.webhooks import Foreign, Reading
from workflows.webhooks.datadog import TEMPLATE
from workflows.webhooks.parts import digest

from .foreign import a_payload, read, the_event

OPSGENIE = {
    "id": "a-77",
    "title": "Disk full on db-2",
    "summary": "Disk full on db-2",
    "description": "",
    "status": "open",
    "severity": "P2",
    "source": "opsgenie",
    "labels": ["db"],
    "external_id": "db-2/disk",
    "started_at": "2026-03-02T09:00:00.123000+00:00",
    "updated_at": "2026-03-02T09:00:00.456000+00:00",
}


@pytest.mark.parametrize(
    ("action", "status", "key", "first"),
    [
        ("Create", "open", "a-77 Create", "alert_created"),
        ("Acknowledge", "acknowledged", "a-77 Acknowledge 1772442000456000000", ""),
        ("UnAcknowledge", "open", "a-77 UnAcknowledge 1772442000456000000", ""),
        ("Close", "resolved", "a-77 Close 1772442000456000000", ""),
    ],
)
def test_opsgenies_alert_is_an_event(action: str, status: str, key: str, first: str) -> None:
    payload = a_payload("opsgenie") | {"action": action}
    data = {"alert": OPSGENIE | {"status": status, "data": payload}}
    told = {"first": first, "subject": "a-77", "state": status, "last": action == "Close", "ordered": True}
    assert the_event("opsgenie", payload) == Foreign("alert_status_updated", key, data, **told)


@pytest.mark.parametrize("action", ["AddNote", "AssignOwnership", "Add Team", "Delete", "Restart the pump"])
def test_what_else_opsgenie_tells_is_no_error(action: str) -> None:
    ignored = Reading(ignored=f"Opsgenie's '{action}' triggers nothing.")
    assert read("opsgenie", a_payload("opsgenie") | {"action": action}) == ignored


DATADOG = {
    "id": "90412",
    "title": "[P2] Disk full",
    "summary": "[P2] Disk full",
    "description": "over 90 %",
    "status": "open",
    "severity": "P2",
    "source": "datadog",
    "labels": {"host": "db-2", "team": "db", "monitor": ""},
    "url": "https://app.example.org/m/5",
    "external_id": "771",
}


@pytest.mark.parametrize(
    ("transition", "state"),
    [
        ("Triggered", "triggered"),
        ("Re-Triggered", "triggered"),
        ("Warn", "warning"),
        ("Re-Warn", "warning"),
        ("No Data", "no data"),
        ("Re-No Data", "no data"),
    ],
)
def test_datadogs_alert_is_an_event(transition: str, state: str) -> None:
    payload = a_payload("datadog") | {"transition": transition}
    alert = DATADOG | {"started_at": "2026-03-02T09:00:00+00:00", "data": payload}
    key, first = f"771 {transition}", "alert_created"
    event = Foreign("alert_status_updated", key, {"alert": alert}, first=first, subject="90412", state=state)
    assert the_event("datadog", payload) == event


def test_datadogs_recovery_is_never_a_beginning() -> None:
    payload = a_payload("datadog") | {"transition": "Recovered", "priority": "", "at": "soon"}
    alert = DATADOG | {"status": "resolved", "severity": "error", "ended_at": None, "data": payload}
    event = Foreign("alert_status_updated", "771 Recovered", {"alert": alert}, subject="90412", state="resolved")
    assert the_event("datadog", payload) == event


@pytest.mark.parametrize("transition", ["Renotify", "Invented"])
def test_what_else_datadog_tells_is_no_error(transition: str) -> None:
    ignored = Reading(ignored=f"Datadog's '{transition}' triggers nothing.")
    assert read("datadog", a_payload("datadog") | {"transition": transition}) == ignored


def test_datadogs_template_names_what_is_read() -> None:
    assert set(json.loads(TEMPLATE)) == set(a_payload("datadog"))


def test_firehydrants_incident_is_an_event() -> None:
    payload = a_payload("firehydrant")
    incident = {
        "id": "7b0e",
        "sequential_id": 12,
        "title": "Checkout slow",
        "name": "Checkout slow",
        "summary": "",
        "description": "",
        "status": "mitigated",
        "severity": "SEV1",
        "priority": None,
        "source": "firehydrant",
        "url": None,
        "labels": {},
        "started_at": "2026-03-02 09:15:00 UTC",
        "raw_severity": {"slug": "SEV1"},
        "data": payload["data"]["incident"],
    }
    assert the_event("firehydrant", payload) == Foreign(
        "status_updated",
        digest(payload),
        {"incident": incident},
        first="incident_created",
        subject="7b0e",
        state="mitigated",
    )


def test_firehydrants_incident_without_a_milestone_has_a_state_all_the_same() -> None:
    assert the_event("firehydrant", {"data": {"incident": {"id": "7b0e"}}}).state == "none"


def test_what_else_firehydrant_tells_is_no_error() -> None:
    ignored = Reading(ignored="It is not about an incident: nothing is told.")
    assert read("firehydrant", {"data": {"alert": {"id": "1"}}}) == ignored


INCIDENT_IO = {
    "id": "01JX",
    "slug": "INC-7",
    "title": "Checkout slow",
    "name": "Checkout slow",
    "summary": "",
    "status": "Fixing",
    "status_category": "live",
    "severity": "Major",
    "source": "incident.io",
    "url": "https://app.incident.io/x/7",
    "started_at": "2026-03-02T09:15:00Z",
    "raw_severity": {"name": "Major"},
    "data": a_payload("incident_io")["public_incident.incident_status_updated_v2"]["incident"],
}


def an_incident_io(kind: str, about: dict[str, Any]) -> dict[str, Any]:
    return {"event_type": kind, kind: about}


@pytest.mark.parametrize(("headers", "key"), [({"webhook-id": "m1"}, "m1"), ({"svix-id": "m2"}, "m2")])
def test_incident_ios_change_of_status_is_an_event(headers: dict[str, str], key: str) -> None:
    incident = INCIDENT_IO | {"previous_status": "Investigating", "message": "Rolling back"}
    event = the_event("incident_io", a_payload("incident_io"), headers=headers)
    assert event == Foreign("status_updated", key, {"incident": incident}, subject="01JX")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("public_incident.incident_created_v2", "incident_created"),
        ("public_incident.incident_updated_v2", "incident_updated"),
        ("public_incident.incident_updated_v17", "incident_updated"),
    ],
)
def test_incident_ios_incident_is_an_event(kind: str, name: str) -> None:
    payload = an_incident_io(kind, INCIDENT_IO["data"])
    assert the_event("incident_io", payload) == Foreign(
        name, digest(payload), {"incident": INCIDENT_IO}, subject="01JX"
    )


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("public_incident.action_created_v1", "action_item_created"),
        ("public_incident.action_updated_v1", "action_item_updated"),
        ("public_incident.follow_up_created_v2", "action_item_created"),
        ("public_incident.follow_up_updated_v2", "action_item_updated"),
    ],
)
def test_incident_ios_task_is_an_action_item(kind: str, name: str) -> None:
    task = {"id": "f1", "title": "Add a canary", "status": "outstanding", "incident_id": "01JX"}
    payload = an_incident_io(kind, task)
    item = {"id": "f1", "summary": "Add a canary", "description": "", "status": "outstanding", "source": "incident.io"}
    data = {"action_item": item | {"data": task}, "incident": {"id": "01JX"}}
    assert the_event("incident_io", payload) == Foreign(name, digest(payload), data, subject="01JX", thin=True)


INCIDENT_IO_ALERT = {
    "id": "a1",
    "title": "Disk full",
    "description": "db-2",
    "status": "firing",
    "created_at": "2026-03-02",
    "deduplication_key": "d1",
    "source_url": "https://m.example.org/1",
    "resolved_at": None,
}


def test_incident_ios_alert_is_an_event() -> None:
    payload = an_incident_io("public_alert.alert_created_v1", INCIDENT_IO_ALERT)
    alert = {
        "id": "a1",
        "title": "Disk full",
        "summary": "Disk full",
        "description": "db-2",
        "status": "open",
        "source": "incident.io",
        "url": "https://m.example.org/1",
        "external_id": "d1",
        "started_at": "2026-03-02",
        "updated_at": "2026-03-02",
        "ended_at": None,
        "data": INCIDENT_IO_ALERT,
    }
    assert the_event("incident_io", payload) == Foreign(
        "alert_status_updated",
        digest(payload),
        {"alert": alert},
        first="alert_created",
        subject="a1",
        state="open",
        ordered=True,
    )


def test_so_is_its_end() -> None:
    about = INCIDENT_IO_ALERT | {"status": "", "resolved_at": "2026-03-03", "updated_at": "2026-03-04"}
    event = the_event("incident_io", an_incident_io("public_alert.alert_resolved_v1", about))
    assert (event.name, event.first, event.subject, event.state) == ("alert_status_updated", "", "a1", "resolved")
    assert (event.last, event.ordered) == (True, True)
    times = {"started_at": "2026-03-02", "updated_at": "2026-03-04", "ended_at": "2026-03-03"}
    alert = event.data["alert"]
    assert {name: alert[name] for name in ("id", "status", *times)} == {"id": "a1", "status": "resolved"} | times


@pytest.mark.parametrize("kind", ["private_incident.incident_created_v2", "public_incident.invented_v1"])
def test_what_else_incident_io_tells_is_no_error(kind: str) -> None:
    ignored = Reading(ignored=f"incident.io's '{kind}' triggers nothing.")
    assert read("incident_io", an_incident_io(kind, {"id": "1"})) == ignored
