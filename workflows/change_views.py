"""The buttons of workflows and actions: switch, move, duplicate, delete, begin with a template."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from . import documents, editing, starters
from .changes import carry_out
from .entrance import for_editors
from .models import Action, Workflow

RAN = "Runs of it have begun, and their mails are told under Deliveries: switch it off instead."
ORDER_CHANGED = "Somebody has added or deleted an action meanwhile. Load the page again, then move it."


@require_POST
@for_editors
def change_workflow(request: HttpRequest, slug: str, verb: str) -> HttpResponse:
    """Switch a workflow on or off, for the list as it was filtered, or make a copy of it."""
    row = get_object_or_404(Workflow, slug=slug)
    if verb == "duplicate":
        return _duplicate(request, row)
    carry_out(request, editing.switch_workflow, row, on=verb == "on")
    messages.success(request, f"'{row.name}' is switched {verb}.")
    if "page" in request.POST:
        return redirect("workflow", slug)
    query = request.GET.urlencode()
    return redirect(f"{reverse('workflows')}?{query}" if query else "workflows")


def _duplicate(request: HttpRequest, row: Workflow) -> HttpResponse:
    try:
        copy = starters.duplicate(row, actor=request.user.get_username())
    except documents.DocumentError as error:
        messages.error(request, f"Nothing was copied. {error}")
        return redirect("workflow", row.slug)
    messages.success(request, f"'{copy.name}' is made. It is switched off.")
    return redirect("workflow", copy.slug)


@require_POST
@for_editors
def delete_workflow(request: HttpRequest, slug: str) -> HttpResponse:
    row = get_object_or_404(Workflow, slug=slug)
    if carry_out(request, editing.delete_workflow, row):
        messages.success(request, f"'{row.name}' is deleted.")
        return redirect("workflows")
    messages.warning(request, RAN)
    return redirect("workflow", slug)


@require_POST
@for_editors
def start(request: HttpRequest, starter: str) -> HttpResponse:
    """Make a workflow of a template, and open it."""
    found = starters.named(starter)
    if found is None:
        raise Http404
    row = starters.make(found, actor=request.user.get_username())
    messages.success(request, f"'{row.name}' is made. Look at its actions, then switch it on.")
    return redirect("workflow", row.slug)


@require_POST
@for_editors
def change_action(request: HttpRequest, slug: str, number: int, verb: str) -> HttpResponse:
    """Move an action up or down, switch it, or delete it."""
    row = get_object_or_404(Action.objects.select_related("workflow"), workflow__slug=slug, pk=number)
    if verb == "delete":
        carry_out(request, editing.delete_action, row)
        messages.success(request, f"'{row.name}' is deleted.")
        return redirect("workflow", slug)
    if verb in ("on", "off"):
        carry_out(request, editing.switch_action, row, on=verb == "on")
    elif not carry_out(request, editing.move, row, up=verb == "up"):
        messages.info(request, f"'{row.name}' is the {'first' if verb == 'up' else 'last'} action already.")
    return redirect(f"{reverse('workflow', args=[slug])}#action-{row.pk}")  # the browser goes on from there


@require_POST
@for_editors
def order_actions(request: HttpRequest, slug: str) -> HttpResponse:
    """Take the order of the actions from a script: their keys, from the top."""
    row = get_object_or_404(Workflow, slug=slug)
    try:
        order = [int(key) for key in request.POST.getlist("order")]
        carry_out(request, editing.reorder, row, order=order)
    except (ValueError, editing.Changed):
        return HttpResponse(ORDER_CHANGED, status=409, content_type="text/plain; charset=utf-8")
    return HttpResponse(status=204)
