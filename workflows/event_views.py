"""Pages of events: what came in, which runs it made, and why a workflow that heard it did not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from . import run_story, samples
from .entrance import before
from .events import beginning
from .models import Event, Run, Workflow
from .run_forms import EventFilterForm

PAGE = 50


@dataclass(frozen=True, slots=True)
class Heard:
    """An event and what came of it. `skipped`: slug and name of each workflow that did not run, and why."""

    event: Event
    runs: list[Run]
    skipped: list[tuple[str, str, str]]

    @property
    def unheard(self) -> bool:
        """No workflow had a trigger of its name. NULL is another matter: why there was no run is not known."""
        return not self.runs and self.event.skipped == []


@require_safe
@never_cache
@login_required
def events(request: HttpRequest) -> HttpResponse:
    """The events that the filter lets through, newest first."""
    form = EventFilterForm(request.GET)
    rows = list(_wanted(request, form)[: PAGE + 1]) if form.is_valid() else []
    query = request.GET.copy()
    if len(rows) > PAGE:
        query["before"] = str(rows[PAGE - 1].pk)
    older = query.urlencode() if len(rows) > PAGE else ""
    context = {"form": form, "events": _heard(rows[:PAGE]), "older": older}
    return render(request, "workflows/events.html", context, status=422 if form.errors else 200)


def _wanted(request: HttpRequest, form: EventFilterForm) -> QuerySet[Event]:
    rows = Event.objects.exclude(name=samples.PREVIEW).filter(**before(request))
    if about := form.cleaned_data["about"]:
        # The index leaves blank ones out: SQLite takes it for a query that says so itself.
        rows = rows.exclude(resource="").filter(resource=about)
    return _with_runs(rows.defer("data").order_by("-pk"))


def _with_runs(rows: QuerySet[Event]) -> QuerySet[Event]:
    """Bring their runs along, without the repeats of these."""
    first = Run.objects.filter(number=0).select_related("workflow").defer("checks").order_by("pk")
    return rows.prefetch_related(Prefetch("runs", first))


def _heard(rows: Sequence[Event]) -> list[Heard]:
    slugs = {one["workflow"] for row in rows for one in row.skipped or ()}
    names = dict(Workflow.objects.filter(slug__in=slugs).values_list("slug", "name"))
    return [
        Heard(
            row,
            list(row.runs.all()),
            [(one["workflow"], names.get(one["workflow"], ""), one["reason"]) for one in row.skipped or ()],
        )
        for row in rows
    ]


@require_safe
@never_cache
@login_required
def event(request: HttpRequest, event: UUID) -> HttpResponse:
    """One event: what came of it, and its data."""
    row = get_object_or_404(_with_runs(Event.objects.all()), pk=event)
    payload = beginning(row.data, most=run_story.PAYLOAD)
    context = {"heard": _heard([row])[0], "payload": payload[: run_story.PAYLOAD]}
    context["cut"] = len(payload) > run_story.PAYLOAD
    return render(request, "workflows/event.html", context)
