"""The desk of a lab: a process that does what an operator and a client do, one JSON line for each wish."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

from django.core.management import call_command
from django.db import connection, connections
from django.db.models import Count, Exists, OuterRef

from integrations import pauses, services
from integrations.models import AuditEvent, ProviderState
from workflows import documents, events, interventions
from workflows.models import Delivery, Run
from workflows.services import trigger

ACTOR = "lab"
NOBODY = str(uuid.UUID(int=0))


def migrate() -> None:
    call_command("migrate", verbosity=0, interactive=False)


def load(document: dict[str, Any]) -> None:
    documents.load(document)


def trigger_event(data: dict[str, Any], key: str | None = None) -> list[str]:
    incoming = events.make_event("incident_created", data, key=key)
    return [str(run.pk) for run in trigger(incoming, triggered_by="user").runs]


def trigger_many(number: int, data: dict[str, Any]) -> list[str]:
    return [run for _ in range(number) for run in trigger_event(data)]


def connect(values: dict[str, Any], proven: bool = False, kind: str = "smtp") -> None:
    """Connect without a check, as an operator may. `proven`: as if a check had found the settings right."""
    services.connect(kind, values, actor=ACTOR, check=False)
    if proven:
        pauses.forget(kind, proven=True)


def disconnect(kind: str = "smtp") -> None:
    services.disconnect(kind, actor=ACTOR)


def try_now(kind: str = "smtp") -> bool:
    return pauses.try_now(kind, actor=ACTOR)


def cancel(since: str) -> dict[str, float]:
    """Cancel everything that waits; return when each was cancelled, by its Message-ID."""
    waiting = list(Delivery.objects.filter(run__gt=since, state__in=Delivery.WAITING).values_list("pk", flat=True))
    interventions.intervene("cancel", waiting, actor=ACTOR)
    ended = Delivery.objects.filter(pk__in=waiting, state=Delivery.State.CANCELLED)
    return dict.fromkeys(ended.values_list("message_id", flat=True), time.time())


def last_run() -> str:
    """Return the newest run: ids sort by time."""
    return str(Run.objects.order_by("pk").values_list("pk", flat=True).last() or NOBODY)


def states(since: str = NOBODY) -> dict[str, int]:
    """Count the deliveries in each state, and the runs that have not ended yet and that no held mail keeps open."""
    rows = Delivery.objects.filter(run__gt=since)
    counted = rows.order_by().values_list("state").annotate(number=Count("pk"))
    held = Delivery.objects.filter(run=OuterRef("pk"), state=Delivery.State.HELD)
    going_on = Run.objects.filter(status__in=[Run.Status.QUEUED, Run.Status.STARTED], pk__gt=since)
    return dict(counted) | {"open runs": going_on.exclude(Exists(held)).count()}


def deliveries(since: str = NOBODY) -> list[dict[str, Any]]:
    rows = Delivery.objects.filter(run__gt=since).order_by("pk").prefetch_related("recipients", "attempts")
    return [_delivery(row) for row in rows.defer("content")]


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "run": str(row.run_id),
        "state": row.state,
        "reason": row.reason,
        "message_id": row.message_id,
        "provider": row.provider,
        "provider_id": row.provider_id,
        "hold": row.hold_unknown,
        "leased": row.lease is not None,
        "give_up_at": row.give_up_at.timestamp(),
        "recipients": [
            {"address": one.address, "state": one.state, "reply": one.reply} for one in row.recipients.all()
        ],
        "attempts": [
            {"at": one.at.timestamp(), "provider": one.provider, "outcome": one.outcome, "stage": one.stage,
             "reply": one.reply}
            for one in row.attempts.all()
        ],
    }  # fmt: skip


def envelopes() -> dict[str, list[str]]:
    """Return whom every mail was ever for, by its Message-ID."""
    rows = Delivery.objects.defer("content").prefetch_related("recipients")
    return {row.message_id: [one.address for one in row.recipients.all()] for row in rows}


def runs(since: str = NOBODY) -> list[dict[str, Any]]:
    rows = Run.objects.filter(pk__gt=since).order_by("pk").annotate(mails=Count("deliveries"))
    return [
        {"id": str(row.pk), "status": row.status, "why": row.status_message, "mails": row.mails, "tries": row.tries}
        for row in rows
    ]


def provider(kind: str = "smtp") -> dict[str, Any]:
    state = ProviderState.objects.filter(pk=kind).values("reason", "failures", "version", "paused_at").first() or {}
    return {name: value if isinstance(value, str | int) else str(value) for name, value in state.items()}


def audit_log() -> list[str]:
    return [f"{one.action} by {one.actor}: {one.details}" for one in AuditEvent.objects.order_by("pk")]


WISHES: dict[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        migrate, load, trigger_event, trigger_many, connect, disconnect, try_now, cancel, last_run, states, deliveries,
        envelopes, runs, provider, audit_log,
    )
}  # fmt: skip


def serve() -> None:
    """Answer each line until there are no more. A database that was cut off is connected to again."""
    for line in sys.stdin:
        wish = json.loads(line)
        try:
            answer = {"done": WISHES[wish["name"]](**wish["with"])}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
            connections.close_all()
        assert not connection.in_atomic_block
        print(json.dumps(answer), flush=True)  # noqa: T201 (the answer)
