"""The editor: a workflow and its actions, each action beside the mail that comes out of it."""

from __future__ import annotations

from typing import Any

from csp.decorators import csp_update
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from . import changes, drafts, editing, filter_sheet, overview, preview, samples, starters, variables, words
from .editor_forms import ActionForm, WorkflowForm
from .entrance import admins, for_editors, is_admin, refuse_locked
from .models import Action, Workflow
from .samples import Sample

# The mail stands in a frame of its own, without scripts, which obeys this page's policy besides: a mail brings its
# styles and names its pictures.
WITH_A_MAIL = {"style-src": ["'unsafe-inline'"], "img-src": ["https:"]}
GET_OR_POST = ["GET", "HEAD", "POST"]
VIEWS = ("desktop", "phone", "dark", "text", "headers")
CHANGED = (
    "Somebody else has changed it since you opened it. What you typed still stands here: look at the stored one in "
    "another tab, then save again to put yours in its place."
)
MOST_TOLD = 1000  # characters of a message
PUBLIC = {"sender": "from"}  # form fields that the API calls otherwise


@require_http_methods(GET_OR_POST)
@for_editors
def new_workflow(request: HttpRequest) -> HttpResponse:
    return _edit_workflow(request, Workflow(trigger_type="incident"))


@require_http_methods(GET_OR_POST)
@for_editors
def workflow(request: HttpRequest, slug: str) -> HttpResponse:
    return _edit_workflow(request, get_object_or_404(overview.with_runs(), slug=slug))


def _edit_workflow(request: HttpRequest, row: Workflow) -> HttpResponse:
    if request.method == "POST":
        refuse_locked(request, row)
    page = _of_workflow(request, row)
    form = WorkflowForm(request.POST if request.method == "POST" else None, instance=row, admin=is_admin(request))
    if request.method == "POST" and not form.rows.redrawn and form.is_valid() and _saved(request, form):
        messages.success(request, f"'{row.name}' is saved.")
        return redirect("action-new", row.slug) if page["created"] else redirect("workflow", row.slug)
    form.prepare(chosen=request.POST.get("event", ""), refused="refused" in request.POST)
    if form.rows.redrawn:
        page["seen"] = request.POST.get("seen", "")
    page |= {"form": form, "refused": "refused" in request.POST or bool(form.errors)}
    wrong = form.errors and not form.rows.redrawn
    return render(request, "workflows/workflow.html", page, status=422 if wrong else 200)


def _of_workflow(request: HttpRequest, row: Any) -> dict[str, Any]:
    """Return what its page shows of it as it is stored: what is typed becomes another."""
    page: dict[str, Any] = {"created": row.pk is None, "slug": row.slug, "name": row.name}
    if row.pk is None:
        return page | {"starters": starters.all_of_them()}
    page |= {"seen": editing.version(row), "timing": words.of_timing(row, zone=settings.TIME_ZONE)}
    page |= {"actions": list(row.actions.defer("body")), "enabled": row.enabled}
    page |= {"waiting": row.waiting, "has_run": row.has_run}
    return page | _lock(request, row)


def _lock(request: HttpRequest, row: Workflow) -> dict[str, Any]:
    """Return whether this person may only read it, and who may change it."""
    read_only = row.locked and not is_admin(request)
    return {"locked": row.locked, "read_only": read_only, "admins": admins() if read_only else []}


def _saved(request: HttpRequest, form: WorkflowForm | ActionForm) -> bool:
    """Save what the form holds; where somebody was quicker, say so and keep what was typed."""
    save: Any = editing.save_workflow if isinstance(form, WorkflowForm) else editing.save_action
    try:
        changes.carry_out(request, save, form.instance, fields=form.stored, seen=request.POST.get("seen", ""))
    except editing.Changed:
        form.add_error(None, CHANGED)
        return False
    return True


@require_http_methods(GET_OR_POST)
@for_editors
@csp_update(WITH_A_MAIL)  # type: ignore[arg-type]
def new_action(request: HttpRequest, slug: str) -> HttpResponse:
    row = get_object_or_404(Workflow, slug=slug)
    refuse_locked(request, row)
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
    page = {"action": row, "created": row.pk is None, "slug": row.workflow.slug, "name": row.name}
    page["seen"], sample = editing.version(row), _sample(request, row.workflow)
    page |= _lock(request, row.workflow)
    form = ActionForm(request.POST if request.method == "POST" else None, instance=row, admin=is_admin(request))
    if request.method != "POST" or "preview" in request.POST:
        return _page(request, form, sample, **page)
    if "send_to_me" in request.POST:
        page["sent"] = _send_to_author(request, row, sample) if form.is_valid() else {"problem": "Mend this first:"}
        return _page(request, form, sample, **page, wrong=bool(form.errors))
    refuse_locked(request, row.workflow)
    if form.is_valid() and _saved(request, form):
        _say_saved(request, row, sample)
        return redirect("workflow", row.workflow.slug)
    return _page(request, form, sample, **page, wrong=bool(form.errors))


def _say_saved(request: HttpRequest, row: Action, sample: Sample) -> None:
    """Say that it is saved, and what keeps a mail from being made with the event that its author was looking at."""
    problems = drafts.of(row, sample).problems
    if not problems:
        return messages.success(request, f"'{row.name}' is saved.")
    told = " ".join(f"{name.capitalize()}: {text}." for name, texts in problems.items() for text in texts)
    text = f"'{row.name}' is saved. With the event that you looked at ({sample.label}), no mail could be sent: {told}"
    return messages.warning(request, text[:MOST_TOLD])


def _page(request: HttpRequest, form: ActionForm, sample: Sample, **page: Any) -> HttpResponse:
    context = _shown(request, form, sample) | page
    for field, note in context["notes"]:
        note["problems"] = [] if field.errors else note["problems"]  # the preview says the same in other words
    context |= {"variables": variables.of(sample.data), "examples": filter_sheet.groups()}
    context["samples"] = samples.of(form.instance.workflow)
    return render(request, "workflows/action.html", context, status=422 if page.get("wrong") else 200)


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
    context["variables"] = variables.of(sample.data) if request.POST.get("listed", sample.key) != sample.key else None
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
