"""The editor: a workflow and its actions, each action beside the mail that comes out of it."""

from __future__ import annotations

from typing import Any

from csp.decorators import csp_update
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from . import drafts, editing, filter_sheet, preview, samples, variables
from .editor_forms import ActionForm, WorkflowForm
from .entrance import for_editors
from .models import Action, Workflow
from .samples import Sample

# The mail stands in a frame of its own, without scripts, which obeys this page's policy besides: a mail brings its
# styles and names its pictures.
WITH_A_MAIL = {"style-src": ["'unsafe-inline'"], "img-src": ["https:"]}
GET_OR_POST = ["GET", "HEAD", "POST"]
VIEWS = ("desktop", "phone", "dark", "text", "headers")
PUBLIC = {"sender": "from"}  # form fields that the API calls otherwise


@require_http_methods(GET_OR_POST)
@for_editors
def new_workflow(request: HttpRequest) -> HttpResponse:
    return _edit_workflow(request, Workflow(trigger_type="incident"))


@require_http_methods(GET_OR_POST)
@for_editors
def workflow(request: HttpRequest, slug: str) -> HttpResponse:
    return _edit_workflow(request, get_object_or_404(Workflow, slug=slug))


def _edit_workflow(request: HttpRequest, row: Workflow) -> HttpResponse:
    created, slug = row.pk is None, row.slug
    form = WorkflowForm(request.POST if request.method == "POST" else None, instance=row)
    if request.method == "POST" and form.is_valid():
        editing.save_workflow(row, actor=request.user.get_username())
        messages.success(request, f"'{row.name}' is saved.")
        return redirect("action-new", row.slug) if created else redirect("workflow", row.slug)
    actions = [] if created else list(row.actions.defer("body"))
    context = {"form": form, "created": created, "slug": slug, "actions": actions}
    return render(request, "workflows/workflow.html", context, status=422 if form.errors else 200)


@require_POST
@for_editors
def delete_workflow(request: HttpRequest, slug: str) -> HttpResponse:
    row = get_object_or_404(Workflow, slug=slug)
    if editing.delete_workflow(row, actor=request.user.get_username()):
        messages.success(request, f"'{row.name}' is deleted.")
        return redirect("workflows")
    messages.warning(request, "It has run, and its mails are told under Deliveries: switch it off instead.")
    return redirect("workflow", slug)


@require_http_methods(GET_OR_POST)
@for_editors
@csp_update(WITH_A_MAIL)  # type: ignore[arg-type]
def new_action(request: HttpRequest, slug: str) -> HttpResponse:
    row = get_object_or_404(Workflow, slug=slug)
    return _edit_action(request, Action(workflow=row, name="Send an Email", position=1))


@require_http_methods(GET_OR_POST)
@for_editors
@csp_update(WITH_A_MAIL)  # type: ignore[arg-type]
def action(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    return _edit_action(request, _action(slug, number))


def _action(slug: str, number: int) -> Action:
    return get_object_or_404(Action.objects.select_related("workflow"), workflow__slug=slug, pk=number)


def _edit_action(request: HttpRequest, row: Action) -> HttpResponse:
    """Show the form beside its preview; save, send it to its author, or only look, as the button says."""
    sample, page = _sample(request, row.workflow), {"action": row, "created": row.pk is None, "slug": row.workflow.slug}
    form = ActionForm(request.POST if request.method == "POST" else None, instance=row)
    if request.method != "POST":
        page["name"] = row.name
        return _page(request, form, sample, **page)
    page["name"] = Action.objects.filter(pk=row.pk).values_list("name", flat=True).first() or ""
    valid = form.is_valid()
    if "preview" not in request.POST and "send_to_me" not in request.POST and valid:
        editing.save_action(row, actor=request.user.get_username())
        messages.success(request, f"'{row.name}' is saved.")
        return redirect("workflow", row.workflow.slug)
    if "send_to_me" in request.POST and valid:
        page["sent"] = _send_to_author(request, row, sample)
    return _page(request, form, sample, **page)


def _page(request: HttpRequest, form: ActionForm, sample: Sample, **page: Any) -> HttpResponse:
    context = _shown(request, form, sample) | page
    context |= {"variables": variables.of(sample.data), "examples": filter_sheet.groups()}
    context["samples"] = samples.of(form.instance.workflow)
    wrong = form.errors and "preview" not in request.POST
    return render(request, "workflows/action.html", context, status=422 if wrong else 200)


def _send_to_author(request: HttpRequest, row: Action, sample: Sample) -> dict[str, Any]:
    address = getattr(request.user, "email", "")
    if not address:
        return {"problem": "Your account has no e-mail address. Give it one under your name, above."}
    try:
        delivery = drafts.send_to(address, row, sample, actor=request.user.get_username())
    except drafts.NotMade as error:
        return {"problem": str(error)}
    return {"delivery": delivery, "address": address}


@require_POST
@for_editors
@csp_update(WITH_A_MAIL)  # type: ignore[arg-type]
def preview_action(request: HttpRequest, slug: str) -> HttpResponse:
    """Answer htmx while somebody types: what is wrong at which field, and the mail where there is one."""
    row = get_object_or_404(Workflow, slug=slug)
    form, sample = ActionForm(request.POST, instance=Action(workflow=row, position=1)), _sample(request, row)
    context = _shown(request, form, sample)
    context["variables"] = variables.of(sample.data) if request.POST.get("listed") != sample.key else None
    return render(request, "workflows/_preview_answer.html", context)


def _sample(request: HttpRequest, row: Workflow) -> Sample:
    return samples.chosen(samples.of(row), request.POST.get("sample", request.GET.get("sample", "")))


def _shown(request: HttpRequest, form: ActionForm, sample: Sample) -> dict[str, Any]:
    """Return what a preview shows: the draft, and the notes at each field."""
    view = request.POST.get("view", "desktop")
    if view not in VIEWS:
        raise Http404
    typed = form.unchecked() if form.is_bound else form.instance
    draft = drafts.of(typed, sample) if form.is_bound or typed.pk else drafts.Draft()
    context: dict[str, Any] = {"form": form, "draft": draft, "sample": sample, "view": view, "views": VIEWS}
    context["notes"] = [(field, _notes(draft, field.name)) for field in form if field.name not in form.SWITCHES]
    context["framed"] = view in preview.FRAMED
    if draft.content:
        context |= _look(draft, view)
    return context


def _notes(draft: drafts.Draft, name: str) -> dict[str, list[str]]:
    public = PUBLIC.get(name, name)
    return {"problems": draft.problems.get(public, []), "warnings": draft.warnings.get(public, [])}


def _look(draft: drafts.Draft, view: str) -> dict[str, Any]:
    if view in preview.FRAMED:
        return {"html": preview.html(draft.content, dark=view == "dark")}
    return {"shown": preview.plain(draft.content, view, sender=draft.sender)[: preview.LONGEST]}


@require_POST
@for_editors
def change_action(request: HttpRequest, slug: str, number: int, verb: str) -> HttpResponse:
    """Move an action up or down, or delete it."""
    row, actor = _action(slug, number), request.user.get_username()
    if verb == "delete":
        editing.delete_action(row, actor=actor)
        messages.success(request, f"'{row.name}' is deleted.")
    elif not editing.move(row, up=verb == "up", actor=actor):
        messages.info(request, f"'{row.name}' stands at that end already.")
    return redirect("workflow", slug)
