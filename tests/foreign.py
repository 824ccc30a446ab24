"""What foreign senders post, for the tests of webhooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from workflows.webhooks import SENDERS, Foreign, Reading

PAYLOADS = Path(__file__).parent / "payloads"
EACH = {"grouping": "alert"}


def a_payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def read(
    kind: str, payload: Any, *, options: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Reading:
    return SENDERS[kind].read(headers or {}, payload, options or {})


def the_event(kind: str, payload: Any, **how: Any) -> Foreign:
    reading = read(kind, payload, **how)
    assert (len(reading.events), reading.ignored) == (1, "")
    return reading.events[0]


def an_alert(status: str, *, start: str = "2026-03-02T09:14:05.512Z") -> dict[str, Any]:
    one: dict[str, Any] = a_payload("alertmanager")["alerts"][0]
    return one | {"status": status, "startsAt": start}


def a_group(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    frame: dict[str, Any] = a_payload("alertmanager")
    return frame | {"alerts": list(alerts)} | more


BINARY = {
    "ce-specversion": "1.0",
    "ce-id": "8c1",
    "ce-source": "/ci/deploys",
    "ce-type": "org.example.incident_created",
    "content-type": "application/json",
}
STRUCTURED = {"content-type": "Application/CloudEvents+JSON; charset=utf-8"}


def a_rootly(kind: str, data: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    payload: dict[str, Any] = a_payload("rootly")
    payload["event"]["type"] = kind
    payload["data"] = (payload["data"] if data is None else data) | changes
    return payload
