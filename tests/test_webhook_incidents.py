"""What becomes of what PagerDuty and Rootly post."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.webhooks import Foreign, Reading

from .foreign import a_payload, a_rootly, read, the_event

PAGERDUTY = {
    "id": "Q2ABC",
    "sequential_id": 318,
    "title": "Checkout slow",
    "name": "Checkout slow",
    "status": "acknowledged",
    "severity": "P1",
    "source": "pagerduty",
    "url": "https://x.pagerduty.com/incidents/Q2ABC",
    "started_at": "2026-03-02T09:15:00Z",
    "raw_services": [{"id": "PS1", "name": "Checkout"}],
    "raw_groups": [{"id": "PT1", "name": "Shop"}],
    "raw_severity": {"id": "PP1", "name": "P1"},
    "resolution_message": None,
    "data": a_payload("pagerduty")["event"]["data"],
}


def a_pagerduty(event_type: str, **data: Any) -> dict[str, Any]:
    payload: dict[str, Any] = a_payload("pagerduty")
    payload["event"] |= {"event_type": event_type}
    payload["event"]["data"] |= data
    return payload


@pytest.mark.parametrize(
    ("event_type", "name", "more"),
    [
        ("incident.triggered", "incident_created", {}),
        ("incident.acknowledged", "status_updated", {"acknowledged_at": "2026-03-02T09:20:11.040Z"}),
        ("incident.unacknowledged", "status_updated", {}),
        ("incident.resolved", "status_updated", {"resolved_at": "2026-03-02T09:20:11.040Z"}),
        ("incident.reopened", "status_updated", {}),
        ("incident.priority_updated", "severity_updated", {}),
        ("incident.service_updated", "services_updated", {}),
        ("incident.incident_type.changed", "incident_types_updated", {}),
        ("incident.role.assigned", "role_assignments_updated", {}),
        ("incident.delegated", "incident_updated", {}),
        ("incident.escalated", "incident_updated", {}),
        ("incident.reassigned", "incident_updated", {}),
        ("incident.responder.added", "incident_updated", {}),
        ("incident.responder.replied", "incident_updated", {}),
        ("incident.conference_bridge.updated", "incident_updated", {}),
    ],
)
def test_pagerdutys_incident_is_an_event(event_type: str, name: str, more: dict[str, str]) -> None:
    event = the_event("pagerduty", a_pagerduty(event_type))
    assert event == Foreign(name, "01J9ZK3T5W8M", {"incident": PAGERDUTY | more}, subject="Q2ABC")


def test_pagerdutys_urgency_stands_for_a_priority() -> None:
    event = the_event("pagerduty", a_pagerduty("incident.triggered", priority=None, urgency="low", service=None))
    told = event.data["incident"]
    assert (told["severity"], told["raw_severity"], told["raw_services"]) == ("low", None, [])


def test_pagerdutys_note_is_thin() -> None:
    entry = {"id": "PN1", "event": "Rolling back", "occurred_at": "2026-03-02T09:31:00.000Z"}
    told = {"id": "Q2ABC", "url": "https://x.pagerduty.com/incidents/Q2ABC", "source": "pagerduty", "events": [entry]}
    assert the_event("pagerduty", a_payload("pagerduty_note")) == Foreign(
        "timeline_updated", "01J9ZK8888", {"incident": told}, subject="Q2ABC", thin=True
    )


def test_pagerdutys_status_update_is_thin() -> None:
    payload = a_payload("pagerduty_note")
    payload["event"] |= {"event_type": "incident.status_update_published"}
    payload["event"]["data"] |= {"type": "incident_status_update", "message": "Half done", "content": None}
    event = the_event("pagerduty", payload)
    assert (event.name, event.thin) == ("timeline_updated", True)
    assert event.data["incident"]["events"][0]["event"] == "Half done"


@pytest.mark.parametrize(
    ("event_type", "name"),
    [
        ("incident.task.created", "action_item_created"),
        ("incident.task.updated", "action_item_updated"),
        ("incident.task.completed", "action_item_updated"),
    ],
)
def test_pagerdutys_task_is_an_action_item(event_type: str, name: str) -> None:
    payload = a_payload("pagerduty_note")
    about = {"id": "T1", "type": "incident_task", "title": "Tell finance", "status": "open"}
    about |= {"incident": {"id": "Q2ABC", "summary": "Checkout slow"}}
    payload["event"] |= {"event_type": event_type, "data": about}
    item = {"id": "T1", "summary": "Tell finance", "description": "", "status": "open", "source": "pagerduty"}
    incident = {"id": "Q2ABC", "title": "Checkout slow", "name": "Checkout slow", "source": "pagerduty"}
    data = {"incident": incident, "action_item": item | {"data": about}}
    assert the_event("pagerduty", payload) == Foreign(name, "01J9ZK8888", data, subject="Q2ABC", thin=True)


def test_pagerdutys_fields_are_an_event_each() -> None:
    incident = {
        "id": "Q2ABC",
        "title": "Checkout slow",
        "name": "Checkout slow",
        "url": "https://x.pagerduty.com/incidents/Q2ABC",
        "source": "pagerduty",
        "custom_fields": [
            {
                "custom_field": {"id": "PF1", "label": "Affected region", "slug": "affected_region"},
                "value": "Europe",
            },
            {"custom_field": {"id": "PF2", "label": "Orders at risk", "slug": "orders_at_risk"}, "value": 1240},
        ],
    }
    assert read("pagerduty", a_payload("pagerduty_fields")).events == tuple(
        Foreign(
            f"custom_fields.{slug}.updated",
            f"01J9ZK9999 {slug}",
            {"incident": incident},
            subject="Q2ABC",
            thin=True,
        )
        for slug in ("affected_region", "orders_at_risk")
    )


@pytest.mark.parametrize(
    ("event_type", "ignored"),
    [
        ("pagey.ping", "A test from PagerDuty: received, it triggers nothing."),
        ("incident.workflow.started", "PagerDuty's 'incident.workflow.started' triggers nothing."),
        ("incident.action_invocation.created", "PagerDuty's 'incident.action_invocation.created' triggers nothing."),
        ("service.updated", "PagerDuty's 'service.updated' triggers nothing."),
        ("incident.invented", "PagerDuty's 'incident.invented' triggers nothing."),
    ],
)
def test_what_else_pagerduty_tells_is_no_error(event_type: str, ignored: str) -> None:
    assert read("pagerduty", {"event": {"id": "1", "event_type": event_type}}) == Reading(ignored=ignored)


def test_pagerdutys_header_stands_for_a_missing_id() -> None:
    payload = a_pagerduty("incident.triggered")
    del payload["event"]["id"]
    assert the_event("pagerduty", payload, headers={"x-webhook-id": "w-1"}).key == "w-1"


ROOTLY = a_payload("rootly")["data"] | {"name": "Checkout slow", "source": "rootly"}
ROOTLY_KEY = "5a3e0a52-6f1c-4b0e-9d5f-0d8f2f7f1c11"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("incident.created", "incident_created"),
        ("incident.in_triage", "incident_in_triage"),
        ("incident.updated", "incident_updated"),
        ("incident.mitigated", "status_updated"),
        ("incident.resolved", "status_updated"),
        ("incident.cancelled", "status_updated"),
        ("incident.scheduled.created", "incident_created"),
        ("incident.scheduled.updated", "incident_updated"),
        ("incident.scheduled.in_progress", "status_updated"),
        ("incident.scheduled.completed", "status_updated"),
    ],
)
def test_rootlys_incident_is_an_event(kind: str, name: str) -> None:
    event = the_event("rootly", a_rootly(kind))
    assert event == Foreign(name, ROOTLY_KEY, {"incident": ROOTLY}, subject=ROOTLY["id"])


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        (None, {"severity": None}),
        ({"name": "SEV1", "slug": "sev1"}, {"severity": "SEV1", "raw_severity": {"name": "SEV1", "slug": "sev1"}}),
        ({"slug": "sev1"}, {"severity": "sev1", "raw_severity": {"slug": "sev1"}}),
    ],
)
def test_rootlys_severity_may_be_an_object(severity: Any, told: dict[str, Any]) -> None:
    event = the_event("rootly", a_rootly("incident.created", severity=severity))
    assert event.data["incident"] == ROOTLY | told


PARTS = {
    "services": [{"name": "Checkout", "notify_emails": ["shop@example.org"]}],
    "groups": [{"name": "SRE"}],
    "environments": [],
    "functionalities": [{"name": "Pay"}],
    "incident_types": [{"name": "Customer facing"}],
}
RAW_PARTS = {
    "raw_services": [{"name": "Checkout", "notify_emails": ["shop@example.org"]}],
    "raw_groups": [{"name": "SRE"}],
    "raw_environments": [],
    "raw_functionalities": [{"name": "Pay"}],
    "raw_types": [{"name": "Customer facing"}],
}


@pytest.mark.parametrize("severity", ["sev1", {"slug": "sev1"}])
def test_rootlys_services_and_groups_have_the_names_that_its_templates_use(severity: Any) -> None:
    told = the_event("rootly", a_rootly("incident.created", severity=severity, **PARTS)).data["incident"]
    assert {name: told.get(name) for name in (*PARTS, *RAW_PARTS)} == PARTS | RAW_PARTS


def test_what_rootly_names_so_itself_stays() -> None:
    payload = a_rootly("incident.created", services=[{"name": "x"}], raw_services=[{"name": "y"}], groups=None)
    told = the_event("rootly", payload).data["incident"]
    assert (told["raw_services"], "raw_groups" in told) == ([{"name": "y"}], False)


def test_the_incident_of_rootlys_timeline_has_them_too() -> None:
    payload = a_rootly("incident_event.created", {"id": "e1", "incident": {"id": "i1"} | PARTS})
    told = the_event("rootly", payload).data["incident"]
    assert {name: told.get(name) for name in RAW_PARTS} == RAW_PARTS


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("incident_post_mortem.created", "post_mortem_created"),
        ("incident_post_mortem.updated", "post_mortem_updated"),
        ("incident_post_mortem.published", "status_updated"),
    ],
)
def test_rootlys_post_mortem_is_an_event(kind: str, name: str) -> None:
    event = the_event("rootly", a_rootly(kind, {"id": "p1", "title": "Why"}))
    assert event == Foreign(name, ROOTLY_KEY, {"post_mortem": {"id": "p1", "title": "Why", "source": "rootly"}})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("incident_event.created", "timeline_updated"),
        ("incident_event.updated", "timeline_updated"),
        ("incident_status_page_event.created", "status_page_timeline_updated"),
    ],
)
@pytest.mark.parametrize("whose", [{"incident_id": "i1"}, {"incident": {"id": "i1"}}])
def test_rootlys_timeline_is_thin(kind: str, name: str, whose: dict[str, Any]) -> None:
    entry = {"id": "e1", "event": "Rolling back"} | whose
    incident = {"id": "i1", "source": "rootly", "events": [entry]}
    event = the_event("rootly", a_rootly(kind, entry))
    assert event == Foreign(name, ROOTLY_KEY, {"incident": incident}, subject="i1", thin=True)


ROOTLY_ALERT = a_payload("rootly_alert")["data"] | {
    "title": "Disk full on db-2",
    "labels": {"team": "db", "host": "db-2"},
    "url": "https://app.example.org/m/5",
}


@pytest.mark.parametrize(
    ("kind", "changes", "name", "status"),
    [
        ("alert.created", {}, "alert_created", "open"),
        ("alert.acknowledged", {}, "alert_status_updated", "acknowledged"),
        ("alert.resolved", {}, "alert_status_updated", "resolved"),
        ("alert.updated", {"status": "triggered"}, "alert_status_updated", "triggered"),
        ("alert.invented", {"ended_at": "2026-03-02T10:00:00Z"}, "alert_status_updated", "resolved"),
    ],
)
def test_rootlys_alert_is_an_event(kind: str, changes: dict[str, Any], name: str, status: str) -> None:
    event = the_event("rootly", a_rootly(kind, a_payload("rootly_alert")["data"], **changes))
    assert event == Foreign(name, ROOTLY_KEY, {"alert": ROOTLY_ALERT | changes | {"status": status}})


def test_rootlys_pulse_is_an_event() -> None:
    event = the_event("rootly", a_rootly("pulse.created", {"id": "u1", "summary": "Deployed", "source": "ci"}))
    pulse = {"id": "u1", "summary": "Deployed", "source": "ci"}
    assert event == Foreign("pulse_created", ROOTLY_KEY, {"pulse": pulse})


@pytest.mark.parametrize(
    "kind",
    ["incident.deleted", "alert.deleted", "incident_event.deleted", "genius_workflow_run.completed", "never.heard"],
)
def test_what_else_rootly_tells_is_no_error(kind: str) -> None:
    assert read("rootly", a_rootly(kind)) == Reading(ignored=f"Rootly's '{kind}' triggers nothing.")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("incident.created", {"id": "i1", "title": "x", "private": True}),
        ("incident_event.created", {"id": "e1", "incident": {"id": "i1", "private": True}}),
        ("incident_post_mortem.created", {"id": "p1", "incident": {"id": "i1", "private": True}}),
    ],
)
def test_rootlys_private_incidents_are_taken_only_where_people_want_that(kind: str, data: dict[str, Any]) -> None:
    ignored = Reading(ignored="It is about a private incident; this endpoint does not take those.")
    assert read("rootly", a_rootly(kind, data)) == ignored
    assert len(read("rootly", a_rootly(kind, data), options={"private": True}).events) == 1
