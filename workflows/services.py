"""What may be done with workflows: trigger them, and ring for the workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection
from django.db.models import Prefetch

from integrations import clock

from . import events, known, occasions, schedule, shift, tasks
from .bell import Bell
from .events import Incoming
from .inserting import insert_alone, made
from .models import Event, Run, Workflow

logger = logging.getLogger(__name__)


MOST_SKIPPED = 100  # workflows of which an event keeps why they did not run
RACES = 20  # so often one of a batch may lose against its own twin before that is a defect


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
            "skipped": _told(self.skipped),
            "repeat": self.repeated,
        }


def _told(skipped: Iterable[tuple[Workflow, str]]) -> list[dict[str, str]]:
    return [{"workflow": workflow.slug, "reason": reason} for workflow, reason in skipped]


class UsedBefore(events.EventError):
    """The idempotency key of one event of a batch belongs to another event; `number` counts from 1."""

    def __init__(self, incoming: Incoming, event: Event, *, number: int) -> None:
        other = event.name if event.name != incoming.name else f"{event.name} about something else"
        super().__init__(
            f"The id '{incoming.key}' was used before, on {event.received_at:%Y-%m-%d at %H:%M:%S} UTC, for another "
            f"event: {other}. Nothing is stored: send this one with an id of its own."
        )
        self.number = number


def trigger(incoming: Incoming, *, triggered_by: str = "system") -> Triggered:
    """Make a run of every workflow that hears this event; they are committed when this returns.

    Nothing is rendered or sent here. The workers are rung for.
    """
    return trigger_all([incoming], triggered_by=triggered_by)[0]


def trigger_all(batch: Sequence[Incoming], *, triggered_by: str = "system") -> list[Triggered]:
    """Do so for several events in one transaction, all of them or none: one answer each, in their order.

    Raises UsedBefore.
    """
    for _ in range(RACES):
        done = _made_of_all(batch, triggered_by=triggered_by)
        try:
            _store(done)
            return done
        except IntegrityError as error:
            # One of them arrived twice at once and the other one won, or a workflow was deleted: it is known now.
            lost = error
    raise lost


def _store(done: Sequence[Triggered]) -> None:
    """Store the events that are new and their runs, by as many statements for a hundred as for one; ring for workers.

    Nothing is looked up here: on SQLite nobody else can write meanwhile. Where nothing is new, the end of the
    transaction waits for the disk all the same: what is answered may have been stored by somebody else just now.
    """
    new = [made for made in done if not made.repeated]
    # In one order: of two batches with the same keys or resources, none waits for the other that waits for it.
    stored = sorted((made.event for made in new), key=lambda event: str(event.key))
    runs = sorted((run for made in new for run in made.runs), key=lambda run: (run.workflow_id, str(run.once_key)))
    if runs and not connection.in_atomic_block:  # nobody's locks wait for the broker
        ring()  # a worker takes longer to hear of it than we to store them, and looks again and again
    # Rings again where the ring before has not spoken for this moment.
    insert_alone(stored, runs, then=ring if runs else lambda: None)


def _made_of_all(batch: Sequence[Incoming], *, triggered_by: str) -> list[Triggered]:
    """Return what becomes of each event, not stored yet where it is new."""
    told = _known([incoming.key for incoming in batch if incoming.key])
    workflows = known.workflows()
    done, once = [], set[tuple[int, str]]()
    for number, incoming in enumerate(batch, start=1):
        if incoming.key and incoming.key in told:
            done.append(told[incoming.key])
            _demand_same(incoming, done[-1].event, number=number)
            continue
        made = _made(incoming, workflows, triggered_by=triggered_by, once=once)
        done.append(made)
        if incoming.key:
            told[incoming.key] = replace(made, skipped=[], repeated=True)
    return done


def _demand_same(incoming: Incoming, event: Event, *, number: int) -> None:
    if (incoming.name, events.resource(incoming)) != (event.name, event.resource):
        raise UsedBefore(incoming, event, number=number)


def _known(keys: Sequence[str]) -> dict[str, Triggered]:
    """Return what came of the events with these idempotency keys, where they are known."""
    if not keys:
        return {}
    first = Run.objects.filter(number=0, manual=False)  # neither its repeats nor what somebody ran again
    runs = Prefetch("runs", first.select_related("workflow").order_by("pk"))
    found = Event.objects.filter(key__in=keys).prefetch_related(runs)
    return {str(event.key): Triggered(event, list(event.runs.all()), repeated=True) for event in found}


def _made(
    incoming: Incoming, workflows: Iterable[Workflow], *, triggered_by: str, once: set[tuple[int, str]]
) -> Triggered:
    """Return an event and its runs, not stored yet. `once`: the workflows and resources of its batch that run once."""
    event = made(
        Event,
        name=incoming.name,
        key=incoming.key,
        resource=events.resource(incoming),
        data=incoming.data,
        received_at=clock.now(),
    )
    kind = events.object_type(incoming)
    hearing = [workflow for workflow in workflows if _hears(workflow, incoming.name, kind=kind)]
    busy = _busy_with(event.resource, hearing) | {pk for pk, resource in once if resource == event.resource}
    runs, skipped = [], []
    for workflow in hearing:
        reason, note = why_skipped(workflow, incoming.data, at=event.received_at)
        if reason:
            skipped.append((workflow, reason))
        else:
            runs.append(_run(workflow, event, note, triggered_by=triggered_by, busy=workflow.pk in busy))
    once |= {(run.workflow_id, run.once_key) for run in runs if run.once_key}
    event.skipped = _told(skipped[:MOST_SKIPPED])
    return Triggered(event, runs, skipped)


def _hears(workflow: Workflow, event: str, *, kind: str | None) -> bool:
    of_its_kind = kind in (None, workflow.trigger_type)
    return of_its_kind and events.hears(workflow.triggers, event, kind=workflow.trigger_type)


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
    run = made(Run, workflow_id=workflow.pk, event_id=event.pk, due_at=due, triggered_by=triggered_by)
    run.workflow, run.event = workflow, event
    run.checks = [note] if workflow.conditions else []
    if busy:
        run.status, run.finished_at = Run.Status.CANCELED, event.received_at
        run.status_message = f"It runs once for each resource, and has a run for {event.resource} already."
    elif workflow.run_once_per_resource and event.resource:
        run.once_key = event.resource
    return run


RING_AGAIN_AFTER = 5.0  # seconds; the sweeper rings in the meantime
RING_EVERY = 0.1  # seconds: a task for every event would cost more than its mail
RING_WITHIN = 1.0  # seconds: whoever tells of an event gives up after a few
_silent_until = _spoken_for_until = 0.0


def ring() -> None:
    """Tell a worker that something is due, and that it shall look on for a moment.

    That moment is longer than the one in which this process rings no more, so nothing waits for the sweeper. A broker
    that is down costs a log line, not the request: the sweeper rings again. One that hangs holds up one request in a
    while for a second; as long as one ring has not come through, there is no other.
    """
    global _spoken_for_until
    now = time.monotonic()
    if now < max(_silent_until, _spoken_for_until) or _bell.is_ringing:
        return
    _spoken_for_until = now + RING_EVERY
    try:
        if not _bell.ring(shift.until(2 * RING_EVERY), within=RING_WITHIN):
            _be_silent(f"nothing within {RING_WITHIN:g} s")
    except RuntimeError as error:  # the system gives us no thread
        _be_silent(error)


def _ring(until: float) -> None:
    try:
        tasks.work.apply_async(args=[until], retry=False)
    except Exception as error:
        _be_silent(error)


_bell = Bell(_ring)


def _be_silent(why: object) -> None:
    global _silent_until
    _silent_until = time.monotonic() + RING_AGAIN_AFTER
    logger.warning("The broker does not answer (%s). The sweeper will ring again.", why)
