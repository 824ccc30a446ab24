"""Pages of runs: the list, one run, and starting one by hand."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import events, run_control, run_story, samples, words
from .entrance import before, for_editors, for_everybody
from .models import Run, Workflow
from .run_forms import RunFilterForm, StartForm

PAGE = 50
CANCELLED = "It is cancelled: nothing more comes of it."
IN_HAND = "It is being carried out just now. It does not come again."


@require_safe
@never_cache
@login_required
def runs(request: HttpRequest) -> HttpResponse:
    """The runs that the filter lets through, newest first."""
    form = RunFilterForm(request.GET)
    rows: list[Run] = list(_wanted(request, form)[: PAGE + 1]) if form.is_valid() else []
    query = request.GET.copy()
    if len(rows) > PAGE:
        query["before"] = str(rows[PAGE - 1].pk)
    context = {"form": form, "runs": rows[:PAGE], "older": query.urlencode() if len(rows) > PAGE else ""}
    return render(request, "workflows/runs.html", context, status=422 if form.errors else 200)


def _wanted(request: HttpRequest, form: RunFilterForm) -> Any:
    wanted = {name: form.cleaned_data[name] for name in ("status",) if form.cleaned_data[name]}
    if form.cleaned_data["workflow"]:
        # By its key: over a join neither database reads the index that sorts, but all its runs.
        slug = form.cleaned_data["workflow"]
        wanted["workflow"] = Workflow.objects.filter(slug=slug).values_list("pk", flat=True).first()
    rows = Run.objects.filter(**wanted, **before(request)).exclude(event__name=samples.PREVIEW)
    return rows.select_related("workflow", "event").defer("event__data", "checks").order_by("-pk")


@require_safe
@for_everybody
def run(request: HttpRequest, run: UUID) -> HttpResponse:
    """One run: why it is as it is, and what may be done."""
    row = get_object_or_404(Run.objects.select_related("workflow", "event"), pk=run)
    payload = events.beginning(row.event.data, most=run_story.PAYLOAD)
    context = {"run": row, "story": run_story.of(row), "payload": payload[: run_story.PAYLOAD]}
    context |= {"cut": len(payload) > run_story.PAYLOAD, "preview": row.event.name == samples.PREVIEW}
    context["timing"] = words.of_timing(row.workflow, zone=settings.TIME_ZONE)
    return render(request, "workflows/run.html", context)


@require_POST
@for_editors
def act(request: HttpRequest, run: UUID, verb: str) -> HttpResponse:
    """Cancel a run, with what repeats, or run it again."""
    row = get_object_or_404(Run.objects.select_related("workflow", "event"), pk=run)
    try:
        if verb == "again":
            made = run_control.again(row, actor=request.user.get_username())
            messages.success(request, "It runs again. This is the new run.")
            return redirect("run", made.pk)
        waited = run_control.cancel(row, actor=request.user.get_username())
        messages.success(request, CANCELLED if waited else IN_HAND)
    except run_control.NotPossible as error:
        messages.warning(request, str(error))
    except run_control.Gone as error:
        raise Http404 from error
    return redirect("run", run)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def start(request: HttpRequest, slug: str) -> HttpResponse:
    """Run a workflow by hand, on a sample or on data of one's own."""
    workflow = get_object_or_404(Workflow, slug=slug)
    form = StartForm(request.POST if request.method == "POST" else None, workflow=workflow)
    if form.is_bound and form.is_valid():
        event, data = form.chosen
        try:
            made = run_control.start(workflow, event=event, data=data, actor=request.user.get_username())
            return redirect("run", made.pk)
        except run_control.NotPossible as error:
            form.add_error(None, str(error))
        except run_control.Gone as error:
            raise Http404 from error
    context = {"form": form, "workflow": workflow, "closed": not workflow.enabled and not form.is_bound}
    return render(request, "workflows/start.html", context, status=422 if form.errors else 200)
