"""What may be done with workflows: trigger them, and ring for the workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from integrations import clock

from . import events, occasions, schedule, tasks
from .events import Incoming
from .models import Event, Run, Workflow

logger = logging.getLogger(__name__)


RACES = 5  # so often an event may lose against its own twin before that is a defect


@dataclass(frozen=True, slots=True)
class Triggered:
    """What an event led to. `repeated`: its idempotency key was known, nothing new was made."""

    event: Event
    runs: list[Run]
    skipped: list[tuple[Workflow, str]] = field(default_factory=list)
    repeated: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The document of the API."""
        return {
            "event_id": str(self.event.pk),
            "runs": [{"id": str(run.pk), "workflow": run.workflow.slug, "status": run.status} for run in self.runs],
            "skipped": [{"workflow": workflow.slug, "reason": reason} for workflow, reason in self.skipped],
        }


def trigger(incoming: Incoming, *, triggered_by: str = "system") -> Triggered:
    """Make a run of every workflow that hears this event; they are committed when this returns.

    Nothing is rendered or sent here. The workers are rung for once the transaction has been committed.
    """
    return trigger_all([incoming], triggered_by=triggered_by)[0]


def trigger_all(batch: Sequence[Incoming], *, triggered_by: str = "system") -> list[Triggered]:
    """Do so for several events in one transaction, all of them or none: one answer each, in their order."""
    for _ in range(RACES):
        try:
            with transaction.atomic():
                done = [_known(incoming) or _store(incoming, triggered_by=triggered_by) for incoming in batch]
                if any(one.runs and not one.repeated for one in done):
                    transaction.on_commit(ring)
            return done
        except IntegrityError as error:  # one of them arrived twice at once, the other one won: it is known now
            lost = error
    raise lost


def _known(incoming: Incoming) -> Triggered | None:
    event = Event.objects.filter(key=incoming.key).first() if incoming.key else None
    if event is None:
        return None
    first = event.runs.filter(number=0, manual=False)  # neither its repeats nor what somebody ran again
    return Triggered(event, list(first.select_related("workflow").order_by("pk")), repeated=True)


def _store(incoming: Incoming, *, triggered_by: str) -> Triggered:
    event = Event(
        name=incoming.name,
        key=incoming.key,
        resource=events.resource(incoming),
        data=incoming.data,
        received_at=clock.now(),
    )
    event.save(force_insert=True)
    hearing = list(_hearing(incoming))
    busy = _busy_with(event.resource, hearing)
    made, skipped = [], []
    for workflow in hearing:
        reason, note = why_skipped(workflow, incoming.data, at=event.received_at)
        if reason:
            skipped.append((workflow, reason))
        else:
            run = _run(workflow, event, note, triggered_by=triggered_by, busy=workflow.pk in busy)
            made.append(run)
    Run.objects.bulk_create(made)
    return Triggered(event, made, skipped)


def _hearing(incoming: Incoming) -> Iterable[Workflow]:
    kind = events.object_type(incoming)
    for workflow in Workflow.objects.order_by("slug"):
        if kind in (None, workflow.trigger_type) and events.hears(
            workflow.triggers, incoming.name, kind=workflow.trigger_type
        ):
            yield workflow


def _busy_with(resource: str, hearing: Sequence[Workflow]) -> set[int]:
    """Return which of the workflows that run once for a resource have done so for this one."""
    once = [workflow.pk for workflow in hearing if workflow.run_once_per_resource]
    if not once or not resource:
        return set()
    return set(Run.objects.filter(workflow__in=once, once_key=resource).values_list("workflow", flat=True))


def why_skipped(workflow: Workflow, data: dict[str, Any], *, at: datetime) -> tuple[str, dict[str, Any]]:
    """Return why this workflow does not run on this data, or an empty text; and what its conditions saw."""
    if not workflow.enabled:
        return "The workflow is switched off.", {}
    return occasions.look(workflow, data, when=occasions.TRIGGER, at=at)


def _run(workflow: Workflow, event: Event, note: dict[str, Any], *, triggered_by: str, busy: bool) -> Run:
    due = event.received_at + schedule.parse_duration(workflow.wait)
    run = Run(workflow=workflow, event=event, due_at=due, triggered_by=triggered_by)
    run.checks = [note] if workflow.conditions else []
    if busy:
        run.status, run.finished_at = Run.Status.CANCELED, event.received_at
        run.status_message = f"It runs once for each resource, and has a run for {event.resource} already."
    elif workflow.run_once_per_resource and event.resource:
        run.once_key = event.resource
    return run


RING_AGAIN_AFTER = 5.0  # seconds; the sweeper rings in the meantime
_silent_until = 0.0


def ring() -> None:
    """Tell a worker that something is due.

    A broker that is down costs a log line, not the request: the sweeper rings again. One that cannot even be
    reached holds up one request in a while for the seconds of its connection time-out, not every one.
    """
    global _silent_until
    if time.monotonic() < _silent_until:
        return
    try:
        tasks.work.apply_async(retry=False)
    except Exception as error:
        _silent_until = time.monotonic() + RING_AGAIN_AFTER
        logger.warning("The broker does not answer (%s). The sweeper will ring again.", error)
