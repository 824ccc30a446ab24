"""What a run works with: the event that set it off, as its resource was told of last; and what its conditions see."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import reduce
from typing import Any

from . import conditions, words
from .models import Event, Run, Workflow

NEWS = 20  # so many of the newest events on a resource are laid over one another
TRIGGER, WAIT, REPEAT = "at the trigger", "after the wait", "before the repeat"


def data_of(run: Run) -> dict[str, Any]:
    """Return the data of the run's event; where it waited or repeats, what was told since of the resource over it.

    What was told later counts: an incident that was resolved while a run waited is resolved, and stays so when the
    news after that say nothing of its status.
    """
    event, data = run.event, dict(run.event.data)
    if not event.resource or run.manual or not (run.number or run.workflow.wait):
        return data
    since = Event.objects.filter(resource=event.resource, pk__gt=event.pk).order_by("-pk")
    # The index leaves blank resources out: SQLite takes it for a query that says so itself.
    news = since.exclude(resource="").values_list("data", flat=True)[:NEWS]
    return reduce(laid_over, list(news)[::-1], data)


def laid_over(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return both in one, what is new before what is old, in the data and one level below."""
    both = {
        name: {**old[name], **value} for name, value in new.items() if isinstance(value, dict) and _object(old, name)
    }
    return {**old, **new, **both}


def _object(data: Mapping[str, Any], name: str) -> bool:
    return isinstance(data.get(name), dict)


def look(workflow: Workflow, data: Mapping[str, Any], *, when: str, at: datetime) -> tuple[str, dict[str, Any]]:
    """Return why the workflow must not run on this data, or '', and the note of it that a run keeps."""
    verdict = conditions.examine(workflow.conditions, data, join=workflow.condition)
    note = {"when": when, "at": at.isoformat(), "join": workflow.condition, "held": verdict.held}
    note["looks"] = [one.as_dict() for one in verdict.looks]
    return "" if verdict.held else words.of_refusal(verdict.looks, join=workflow.condition), note
