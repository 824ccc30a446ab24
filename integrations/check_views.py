"""What happens on a form of Configuration → Integrations before it is connected: check, correct, detect, explain.

Each view answers htmx with the parts of the page that change, and everybody else with a whole page.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from . import errands, services, stored, trials
from .diagnosis import Diagnosis, Step
from .entrance import actor_of, for_admins, is_htmx, known
from .errands import NoAnswer
from .fields import Undecryptable
from .form_answers import all_but_secret, form_page, form_parts
from .forms import FORMS, IntegrationForm, SmtpForm
from .models import Errand
from .providers import label_of


@require_POST
@for_admins
def begin(request: HttpRequest, kind: str) -> HttpResponse:
    """Begin the check of what was entered, or of what is stored, and show how it goes."""
    if request.POST.get("stored"):
        return _begin_stored(request, known(kind))
    form = FORMS[known(kind)](request.POST, instance=stored.row_of(kind))
    return _begin(request, kind, form, fields=all_but_secret(form))


def _begin_stored(request: HttpRequest, kind: str) -> HttpResponse:
    try:
        errand = services.begin_check(kind, None, actor=actor_of(request))
    except (NoAnswer, stored.NotConnected, Undecryptable) as error:
        found = Diagnosis.failed("worker", str(error))
        return render(request, "integrations/check.html", {"kind": kind, "label": label_of(kind), "found": found})
    return redirect("integration-check-progress", kind=kind, pk=errand.pk)


def _begin(request: HttpRequest, kind: str, form: IntegrationForm, *, fields: Iterable[str]) -> HttpResponse:
    if form.is_valid():
        if form.cleaned_data["skip_check"]:
            return form_parts(request, kind, form, fields=[], skip=True)
        try:
            errand = services.begin_check(kind, form.values, actor=actor_of(request))
            return form_parts(request, kind, form, fields=fields, errand=errand, connect=True, running=True)
        except ValidationError as error:
            form.add_error(None, error)
        except NoAnswer as error:
            return form_parts(request, kind, form, fields=fields, found=Diagnosis.failed("worker", str(error)))
    return form_parts(request, kind, form, fields=all_but_secret(form))


@require_safe
@for_admins
def progress(request: HttpRequest, kind: str, pk: uuid.UUID) -> HttpResponse:
    """Show how far a check has come; the page asks again until it is finished."""
    connect = "connect" in request.GET
    context: dict[str, Any] = {"kind": known(kind), "label": label_of(kind), "connect": connect}
    context |= _state(pk, actor=actor_of(request))
    page = "integrations/_check.html" if is_htmx(request) else "integrations/check.html"
    return render(request, page, context)


def _state(pk: uuid.UUID, *, actor: str) -> dict[str, Any]:
    """Return the errand and its steps so far, or what was found in the end."""
    try:
        if not Errand.objects.filter(pk=pk, asked_by=actor, job=Errand.Job.CHECK).exists():
            raise Http404
        errand = errands.look(pk)
    except NoAnswer as error:
        return {"found": Diagnosis.failed("worker", str(error))}
    report = json.loads(errand.report or '{"steps": []}')
    if errand.finished_at:
        return {"errand": errand, "found": Diagnosis.from_dict(report)}
    return {"errand": errand, "running": True, "steps": [Step(**step) for step in report["steps"]]}


@require_POST
@for_admins
def apply(request: HttpRequest, kind: str) -> HttpResponse:
    """Fill a proposed correction into the form; with htmx the check goes on at once, the password being still there."""
    try:
        proposal = json.loads(request.POST.get("proposal", ""))
    except (ValueError, RecursionError):
        proposal = None
    if not isinstance(proposal, dict) or not set(proposal) <= set(FORMS[known(kind)].base_fields):
        return HttpResponseBadRequest("This is no proposal.")
    form = FORMS[kind](_filled_in(request.POST, proposal), instance=stored.row_of(kind))
    if is_htmx(request):
        return _begin(request, kind, form, fields=proposal)
    return form_page(request, kind, _unbound(kind, form), changed=[str(form[name].label) for name in proposal])


def _filled_in(posted: Any, values: Mapping[str, Any]) -> Any:
    """Return what was posted with other values, as a browser sends them: a switch that is off is left out."""
    data = posted.copy()
    for name, value in values.items():
        data.pop(name, None)
        if value is not False:
            data[name] = "on" if value is True else str(value)
    return data


def _unbound(kind: str, form: IntegrationForm) -> IntegrationForm:
    """Return a form that shows these values and complains about nothing yet."""
    form.is_valid()
    shown = {name: value for name, value in form.cleaned_data.items() if name != form.secret}
    return FORMS[kind](initial=shown, instance=stored.row_of(kind))


@require_POST
@for_admins
def detect(request: HttpRequest, kind: str) -> HttpResponse:
    """Find the settings of the server whose name was entered, fill them in and say why."""
    if kind != "smtp":
        raise Http404
    form = SmtpForm(request.POST, instance=stored.row_of(kind))
    form.is_valid()
    found, proposal = _detected(request, form)
    if found is None:
        if is_htmx(request):
            return form_parts(request, kind, form, fields=form.errors)
        return form_page(request, kind, form)
    data = _filled_in(request.POST, proposal)
    shown = SmtpForm(data, instance=stored.row_of(kind))
    if not is_htmx(request):
        shown = _unbound(kind, shown)  # type: ignore[assignment]
    changed = [name for name, value in proposal.items() if form.cleaned_data.get(name) != value]
    shown.explain(found["reasons"], changed=changed)
    if is_htmx(request):
        return form_parts(request, kind, shown, fields=proposal, detection=found)
    return form_page(request, kind, shown, detection=found)


def _detected(request: HttpRequest, form: SmtpForm) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    form.errors.clear()
    try:
        found = trials.detect(
            request.POST.get("address", "").strip(),
            ca_certificates=request.POST.get("ca_certificates", "").strip(),
            actor=actor_of(request),
        )
    except ValidationError as error:
        form.add_error(None, error)
        return None, {}
    except NoAnswer as error:
        return {"ok": False, "cause": str(error), "ports": [], "reasons": {}}, {}
    return found, found["proposal"]


@require_POST
@for_admins
def mode(request: HttpRequest, kind: str) -> HttpResponse:
    """Say in words how the connection would be protected with the switches as they stand."""
    if kind != "smtp":
        raise Http404
    return render(request, "integrations/_mode.html", {"form": SmtpForm(request.POST)})
