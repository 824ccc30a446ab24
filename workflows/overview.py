"""Every workflow at a glance: what sets it off, what it does, how its runs went lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import Count, OuterRef, Prefetch, Q, Subquery
from django.utils import timezone

from . import samples, words
from .models import Action, Run, Workflow

SHOWN = 200
DAYS = 7


@dataclass(frozen=True)
class Overview:
    """One workflow for people. `last` is its newest run; of the `ended` ones of late, `completed` were completed."""

    workflow: Workflow
    last: Run | None
    completed: int
    ended: int

    @property
    def kind(self) -> str:
        return words.of_kind(self.workflow.trigger_type)

    @property
    def triggers(self) -> list[str]:
        return [words.of_trigger(name, kind=self.workflow.trigger_type) for name in self.workflow.triggers]

    @property
    def join(self) -> str:
        return words.of_join(self.workflow.condition, number=len(self.workflow.conditions))

    @property
    def conditions(self) -> list[str]:
        return [words.of_condition(condition) for condition in self.workflow.conditions]

    @cached_property
    def actions(self) -> list[Action]:
        return list(self.workflow.actions.all())

    @property
    def last_at(self) -> datetime | None:
        """When the newest run ended, else began, else is due."""
        return (self.last.finished_at or self.last.started_at or self.last.due_at) if self.last else None


def of_workflows() -> list[Overview]:
    """Return the first workflows by name, with as many queries for hundreds as for one."""
    actions = Prefetch("actions", queryset=Action.objects.defer("body", "preheader"))
    # Events sort by time, and an index holds workflow and event.
    runs_of_it = Run.objects.filter(workflow=OuterRef("pk")).exclude(event__name=samples.PREVIEW)
    newest = runs_of_it.order_by("-event_id").values("pk")[:1]
    rows = Workflow.objects.annotate(newest=Subquery(newest)).prefetch_related(actions).order_by("name", "slug")
    workflows = list(rows[:SHOWN])
    runs = Run.objects.defer("status_message").in_bulk([one.newest for one in workflows if one.newest])
    counts = _counts()
    return [Overview(one, runs.get(one.newest), *counts.get(one.pk, (0, 0))) for one in workflows]


def _counts() -> dict[int, tuple[int, int]]:
    """Return how many runs of each workflow were completed, and how many ended, within the last days."""
    lately = Run.objects.filter(finished_at__gt=timezone.now() - timedelta(days=DAYS))
    ended = lately.exclude(event__name=samples.PREVIEW).order_by()
    rows = ended.values("workflow").annotate(
        completed=Count("pk", filter=Q(status=Run.Status.COMPLETED)), ended=Count("pk")
    )
    return {row["workflow"]: (row["completed"], row["ended"]) for row in rows}
