"""Events to try a template against: a built-in one for each kind, and the last real ones of a workflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db.models import Q

from . import events, ids
from .events import Incoming
from .models import Event, Run, Workflow

EXAMPLES = Path(__file__).parent / "examples"
REAL = 10  # of the last real events
SEARCHED = 500  # of the last events of all, for those that a workflow hears
PREVIEW = "preview"  # the name of the event that a test mail is made for; no workflow hears it


def is_test(prefix: str = "") -> Q:
    """Return which runs are those of test mails; `prefix` leads to a run.

    Older versions ran one again, and told its workflow's own recipients.
    """
    return Q(**{f"{prefix}event__name": PREVIEW, f"{prefix}manual": False})


@dataclass(frozen=True, slots=True)
class Sample:
    """An event that happened, or might have. `key` tells it from the others of its workflow."""

    key: str
    label: str
    event: str
    data: dict[str, Any]


def of(workflow: Workflow) -> list[Sample]:
    """Return a built-in event for each trigger of the workflow, and before them its last real ones."""
    names = workflow.triggers or [workflow.trigger_type]
    return [*_real(workflow), *(_built_in(name, kind=workflow.trigger_type) for name in names)]


def heard(workflow: Workflow) -> list[Sample]:
    """Return the last real events that it hears, also those that its conditions keep away, and a built-in one."""
    newest = Event.objects.order_by("-pk").values_list("pk", "name")[:SEARCHED]
    names = [(pk, name) for pk, name in newest if events.hears(workflow.triggers, name, kind=workflow.trigger_type)]
    rows = Event.objects.filter(pk__in=[pk for pk, _ in names[:REAL]]).order_by("-pk")
    ours = [row for row in rows if events.object_type(Incoming(row.name, row.data)) in (None, workflow.trigger_type)]
    return [*map(_happened, ours), _built_in(workflow.trigger_type, kind=workflow.trigger_type)]


def chosen(samples: list[Sample], key: str) -> Sample:
    """Return the sample with this key; where there is none, the first built-in one."""
    built_in = next(sample for sample in samples if not _is_id(sample.key))
    return next((sample for sample in samples if sample.key == key), built_in)


def _built_in(name: str, *, kind: str) -> Sample:
    return Sample(name, f"Built-in: {name.replace('_', ' ')}", name, _data(kind))


@cache
def _data(kind: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((EXAMPLES / f"{kind}.json").read_text(encoding="utf-8"))
    return data


def _real(workflow: Workflow) -> list[Sample]:
    runs = Run.objects.filter(workflow=workflow).exclude(event__name=PREVIEW)
    newest = runs.order_by("-event_id").select_related("event")[:REAL]
    return [_happened(run.event) for run in newest]


def _happened(event: Event) -> Sample:
    when = f"{ids.made_at(event.pk):%Y-%m-%d %H:%M} UTC"
    return Sample(str(event.pk), f"{event.name.replace('_', ' ')}, {when}", event.name, event.data)


def _is_id(key: str) -> bool:
    try:
        UUID(key)
    except ValueError:
        return False
    return True
