"""Every workflow at a glance: what sets it off, what it does, how its runs went lately."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery, prefetch_related_objects
from django.db.models.functions import Coalesce
from django.utils import timezone

from . import samples, words
from .models import Action, Run, Workflow

SHOWN = 50
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

    @property
    def timing(self) -> str:
        return words.of_timing(self.workflow, zone=settings.TIME_ZONE)

    @cached_property
    def actions(self) -> list[Action]:
        return list(self.workflow.actions.all())

    @property
    def last_at(self) -> datetime | None:
        """When the newest run ended, else began, else is due."""
        return (self.last.finished_at or self.last.started_at or self.last.due_at) if self.last else None


@dataclass(frozen=True)
class Wanted:
    """Which workflows; what is blank does not matter."""

    search: str = ""
    kind: str = ""
    state: str = ""

    @property
    def query(self) -> str:
        """These as a query of an address."""
        return urlencode({name: value for name, value in asdict(self).items() if value})


STATES = {"on": Q(enabled=True), "off": Q(enabled=False), "locked": Q(locked=True)}


@dataclass(frozen=True)
class Page:
    """Some workflows by name; and behind or before which slug the neighbouring pages begin, None without one."""

    rows: list[Overview]
    previous: str | None = None
    next: str | None = None


def page(wanted: Wanted, *, after: str = "", before: str = "") -> Page:
    """Return the workflows that follow one of them, or come just before it, or the first.

    It goes on from a slug and not from a number, so nothing is missed or doubled when one is made or deleted.
    """
    rows = _matching(wanted)
    place = Workflow.objects.filter(slug=after or before).first() if after or before else None
    if place and before:
        found = list(rows.filter(_beside(place, "lt")).order_by("-name", "-slug")[: SHOWN + 1])
        if len(found) > SHOWN:
            return _page(found[:SHOWN][::-1], previous=True, next=True)
        place = None  # the first page has room for them: no page is shorter than it need be
    found = list((rows.filter(_beside(place, "gt")) if place else rows).order_by("name", "slug")[: SHOWN + 1])
    return _page(found[:SHOWN], previous=place is not None, next=len(found) > SHOWN)


def _page(rows: list[Workflow], *, previous: bool, next: bool) -> Page:
    if not rows:
        return Page([])
    return Page(_overviews(rows), rows[0].slug if previous else None, rows[-1].slug if next else None)


def _beside(place: Workflow, side: str) -> Q:
    return Q(**{f"name__{side}": place.name}) | Q(name=place.name, **{f"slug__{side}": place.slug})


def _matching(wanted: Wanted) -> QuerySet[Workflow]:
    rows = Workflow.objects.all()
    if wanted.search:
        rows = rows.filter(Q(name__icontains=wanted.search) | Q(slug__icontains=wanted.search))
    if wanted.kind:
        rows = rows.filter(trigger_type=wanted.kind)
    return rows.filter(STATES[wanted.state]) if wanted.state else rows


def _overviews(workflows: list[Workflow]) -> list[Overview]:
    """Look at all of them with as many queries as at one."""
    actions = Prefetch("actions", queryset=Action.objects.defer("body", "preheader"))
    prefetch_related_objects(workflows, actions)
    newest = _newest_runs(workflows)
    counts = _counts()
    return [Overview(one, newest.get(one.pk), *counts.get(one.pk, (0, 0))) for one in workflows]


def _newest_runs(workflows: list[Workflow]) -> dict[int, Run]:
    # Ids sort by time, and an index holds workflow and id.
    runs_of_it = Run.objects.filter(workflow=OuterRef("pk")).exclude(event__name=samples.PREVIEW)
    newest = runs_of_it.order_by("-pk").values("pk")[:1]
    asked = Workflow.objects.filter(pk__in=[one.pk for one in workflows]).annotate(newest=Subquery(newest))
    found = Run.objects.defer("status_message").filter(pk__in=asked.values("newest"))
    return {run.workflow_id: run for run in found}


def with_runs() -> QuerySet[Any]:
    """Return workflows that know how many of their runs wait (`waiting`), and whether any has begun (`has_run`)."""
    runs = Run.objects.filter(workflow=OuterRef("pk")).exclude(event__name=samples.PREVIEW).order_by()
    waits = Q(status=Run.Status.QUEUED)
    number = runs.filter(waits).values("workflow").annotate(number=Count("pk")).values("number")
    return Workflow.objects.annotate(waiting=Coalesce(Subquery(number), 0), has_run=Exists(runs.exclude(waits)))


def _counts() -> dict[int, tuple[int, int]]:
    """Return how many runs of each workflow were completed, and how many ended, within the last days."""
    lately = Run.objects.filter(finished_at__gt=timezone.now() - timedelta(days=DAYS))
    ended = lately.exclude(event__name=samples.PREVIEW).order_by()
    rows = ended.values("workflow").annotate(
        completed=Count("pk", filter=Q(status=Run.Status.COMPLETED)), ended=Count("pk")
    )
    return {row["workflow"]: (row["completed"], row["ended"]) for row in rows}
