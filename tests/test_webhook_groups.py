"""What becomes of what Alertmanager and Grafana post."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.webhooks import Foreign, Reading
from workflows.webhooks.parts import digest

from .foreign import EACH, a_group, a_payload, an_alert, read, the_event

CHECKOUT = "9f1c2ab37de04c55-2026-03-02T09:14:05.512Z"
GROUP = digest('{}/{team="shop"}:{alertname="CheckoutSlow"}')


def test_a_group_of_one_alert_is_an_event() -> None:
    payload = a_payload("alertmanager")
    alert = {
        "id": f"{GROUP}-2026-03-02T09:14:05.512Z",
        "title": "CheckoutSlow",
        "status": "open",
        "severity": "critical",
        "labels": {"alertname": "CheckoutSlow", "severity": "critical", "team": "shop"},
        "started_at": "2026-03-02T09:14:05.512Z",
        "ended_at": None,
        "source": "alertmanager",
        "summary": "Checkout p99 above 2 s",
        "description": "",
        "annotations": {"summary": "Checkout p99 above 2 s", "runbook_url": "https://wiki.example.org/checkout"},
        "runbook_url": "https://wiki.example.org/checkout",
        "url": "http://prom.example.org/graph?g0.expr=x",
        "external_id": '{}/{team="shop"}:{alertname="CheckoutSlow"}',
        "data": payload,
    }
    assert the_event("alertmanager", payload) == Foreign(
        "alert_status_updated",
        digest(GROUP, [f"{CHECKOUT} open"], 0),
        {"alert": alert},
        first="alert_created",
        subject=GROUP,
        state=f"open {digest([CHECKOUT], 0)}",
    )


def test_a_group_of_several_alerts_is_one_event() -> None:
    payload = a_payload("alertmanager_group")
    event = the_event("alertmanager", payload)
    assert event.data["alert"] == {
        "id": digest('{}:{team="shop"}') + "-2026-03-02T08:00:00Z",
        "title": "DiskFull, QueueLong, CheckoutSlow",
        "status": "open",
        "severity": "warning",
        "labels": {"team": "shop"},
        "started_at": "2026-03-02T08:00:00Z",
        "ended_at": None,
        "source": "alertmanager",
        "summary": "2 firing, 1 resolved, ... and 7 more",
        "description": (
            "- QueueLong\n- CheckoutSlow: Checkout p99 above 2 s\n- DiskFull: Disk over 90 % on db-2 (resolved)\n"
            "- ... and 7 more"
        ),
        "annotations": {},
        "runbook_url": None,
        "url": "http://am.example.org:9093",
        "external_id": '{}:{team="shop"}',
        "data": payload,
    }
    firing = ["2b2b2b2b2b2b2b2b-2026-03-02T08:10:00Z", "3c3c3c3c3c3c3c3c-2026-03-02T08:11:00Z"]
    assert (event.first, event.state, event.last) == ("alert_created", f"open {digest(firing, 7)}", False)


def test_a_group_has_its_severest_word_where_a_table_ranks_them() -> None:
    table = "critical = sev0\nWARNING = sev2"
    event = the_event("alertmanager", a_payload("alertmanager_group"), options={"severities": table})
    assert event.data["alert"]["severity"] == "sev0"


def test_a_group_that_is_over_ends_its_subject() -> None:
    over = an_alert("resolved") | {"endsAt": "2026-03-02T10:00:00Z"}
    event = the_event("alertmanager", a_group(over))
    told = (event.name, event.first, event.state, event.last, event.data["alert"]["ended_at"])
    assert told == ("alert_status_updated", "", "resolved", True, "2026-03-02T10:00:00Z")


def test_a_group_counts_what_it_does_not_list() -> None:
    alerts = [an_alert("firing") | {"fingerprint": f"f{index}"} for index in range(300)]
    alert = the_event("alertmanager", a_group(*alerts)).data["alert"]
    assert alert["description"].splitlines()[-1] == "- ... and 250 more"
    assert len(alert["description"].splitlines()) == 51
    assert alert["summary"] == "Checkout p99 above 2 s"


def test_a_group_keeps_its_state_while_the_same_alerts_fire() -> None:
    one, other = an_alert("firing"), an_alert("firing", start="2026-03-02T10:00:00Z") | {"fingerprint": "b"}
    both = the_event("alertmanager", a_group(one, other))
    swapped = the_event("alertmanager", a_group(other, one, notification_reason="repeat interval elapsed"))
    less = the_event("alertmanager", a_group(one, other | {"status": "resolved"}))
    repeated = the_event("alertmanager", a_group(one))
    assert (swapped.key, swapped.state) == (both.key, both.state)
    assert less.state != both.state
    assert (repeated.state, repeated.key == less.key) == (less.state, False)
    assert {one.subject for one in (both, swapped, less, repeated)} == {GROUP}


def test_each_alert_is_an_event_where_people_want_that() -> None:
    payload = a_group(an_alert("firing"), an_alert("firing"), an_alert("resolved", start="2026-03-01T00:00:00Z"))
    firing, resolved = read("alertmanager", payload, options=EACH).events
    alert = {
        "id": CHECKOUT,
        "title": "CheckoutSlow",
        "status": "open",
        "severity": "critical",
        "labels": {"alertname": "CheckoutSlow", "severity": "critical", "team": "shop", "pod": "checkout-7"},
        "started_at": "2026-03-02T09:14:05.512Z",
        "ended_at": None,
        "source": "alertmanager",
        "summary": "Checkout p99 above 2 s",
        "description": "",
        "annotations": {"summary": "Checkout p99 above 2 s", "runbook_url": "https://wiki.example.org/checkout"},
        "runbook_url": "https://wiki.example.org/checkout",
        "url": "http://prom.example.org/graph?g0.expr=x",
        "external_id": "9f1c2ab37de04c55",
        "data": payload | {"alerts": [an_alert("firing")]},
    }
    assert firing == Foreign(
        "alert_status_updated",
        f"{CHECKOUT} open",
        {"alert": alert},
        first="alert_created",
        subject=CHECKOUT,
        state="open",
    )
    earlier = "9f1c2ab37de04c55-2026-03-01T00:00:00Z"
    assert (resolved.name, resolved.first, resolved.key) == ("alert_status_updated", "", f"{earlier} resolved")
    assert (resolved.subject, resolved.state, resolved.data["alert"]["ended_at"]) == (earlier, "resolved", None)


def test_grafana_tells_values_and_its_own_links() -> None:
    payload = a_payload("grafana")
    event = the_event("grafana", payload, options=EACH | {"severities": "warning = sev2"})
    alert = {
        "id": "1e0d7c6b5a493827-2026-03-02T08:00:00Z",
        "title": "DiskFull",
        "status": "resolved",
        "severity": "sev2",
        "labels": {"alertname": "DiskFull", "severity": "warning", "host": "db-2"},
        "started_at": "2026-03-02T08:00:00Z",
        "ended_at": "2026-03-02T08:25:00Z",
        "source": "grafana",
        "summary": "Disk over 90 %",
        "description": "",
        "annotations": {"summary": "Disk over 90 %"},
        "runbook_url": None,
        "url": "https://g.example.org/alerting/grafana/abc/view",
        "values": {"B": 71.4},
        "external_id": "1e0d7c6b5a493827",
        "data": payload,
    }
    subject = "1e0d7c6b5a493827-2026-03-02T08:00:00Z"
    key = f"{subject} resolved 2026-03-02T08:25:00Z"
    assert event == Foreign("alert_status_updated", key, {"alert": alert}, subject=subject, state="resolved", last=True)


@pytest.mark.parametrize(
    ("links", "url"),
    [
        ({"panelURL": "https://p", "dashboardURL": "https://d"}, "https://p"),
        ({"dashboardURL": "https://d"}, "https://d"),
        ({"generatorURL": ""}, None),
    ],
)
def test_grafana_links_to_the_nearest(links: dict[str, str], url: str | None) -> None:
    payload = a_payload("grafana")
    payload["alerts"][0] |= links
    assert the_event("grafana", payload, options=EACH).data["alert"]["url"] == url


@pytest.mark.parametrize("options", [{}, EACH])
def test_grafanas_test_triggers_nothing(options: dict[str, Any]) -> None:
    ignored = Reading(ignored="A test from Grafana: received, it triggers nothing.")
    assert read("grafana", a_payload("grafana_test"), options=options) == ignored
