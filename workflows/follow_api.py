"""The HTTP entrances for services that follow what they triggered: they ask what became of it, and act on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict

from rootmail.http import Problem, api, caller

from . import delivery_documents, interventions, run_control
from .forms import FilterForm
from .models import Delivery, Run
from .search import DeliveryFilter, at_once, matching

_LOST_PLUS = re.compile(r":\S+ \d\d(:?\d\d)?$")  # a + in an address is a blank


@api("GET", "HEAD", scope="read")
def run(request: HttpRequest, run: str) -> HttpResponse:
    """One run, with its mails."""
    return JsonResponse(delivery_documents.run(_run(run)))


@api("GET", "HEAD", scope="read")
def deliveries(request: HttpRequest) -> HttpResponse:
    """The mails that the filter lets through, newest first, and the address of those that follow."""
    wanted, before = _wanted(request)
    rows = matching(wanted).filter(pk__lt=before) if before else matching(wanted)
    keys, more = at_once(rows)
    further = request.GET.copy()
    further["before"] = str(keys[-1]) if keys else ""
    found = delivery_documents.deliveries(rows.filter(pk__in=keys))
    return JsonResponse({"deliveries": found, "next": f"{request.path}?{further.urlencode()}" if more else None})


@api("GET", "HEAD", scope="read")
def delivery(request: HttpRequest, pk: str) -> HttpResponse:
    """One mail."""
    found = delivery_documents.deliveries(Delivery.objects.filter(pk=pk))
    if not found:
        raise _gone("delivery")
    return JsonResponse(found[0])


@api("POST", scope="write")
def act_on_run(request: HttpRequest, run: str, verb: str) -> HttpResponse:
    """Cancel a run, with what repeats, or run it again: then the answer is the new run."""
    row = _run(run)
    try:
        if verb == "again":
            made = run_control.again(row, actor=caller(request))
            return JsonResponse({"id": str(made.pk), "status": made.status}, status=201)
        run_control.cancel(row, actor=caller(request))
    except run_control.NotPossible as error:
        raise Problem(409, "Conflict", str(error)) from error
    except run_control.Gone as error:
        raise _gone("run") from error
    return JsonResponse({"id": str(row.pk), "status": _run(run).status})


@api("POST", scope="write")
def act_on_delivery(request: HttpRequest, pk: str, verb: str) -> HttpResponse:
    """Send a mail again, cancel it, or consider it delivered."""
    key = UUID(pk)
    outcome = interventions.intervene(verb, [key], actor=caller(request))
    if outcome.left:
        raise Problem(409, "Conflict", f"Nothing was changed: {', '.join(outcome.left)}.")
    state = Delivery.objects.filter(pk=key).values_list("state", flat=True).first()
    if state is None:
        raise _gone("delivery")
    return JsonResponse({"id": str(key), "state": state})


def _wanted(request: HttpRequest) -> tuple[DeliveryFilter, UUID | None]:
    """Read the query; a name that is none, or a value that is blank, would otherwise ask for all."""
    form = FilterForm(request.GET)
    wrong = [f"{name}: {text}" for name, texts in form.errors.items() for text in texts]
    wrong = [*_slips(request.GET, known=[*form.fields, "before"]), *wrong]
    if wrong:
        raise Problem(400, "Bad request", " ".join(wrong))
    try:
        return form.wanted, UUID(request.GET["before"]) if "before" in request.GET else None
    except ValueError as error:
        raise Problem(400, "Bad request", "before: This is no delivery's id.") from error


def _slips(query: QueryDict, *, known: list[str]) -> Iterator[str]:
    """Say what a form takes for nothing, or for something else; a page's own address has blank fields."""
    for name, values in query.lists():
        if name not in known:
            yield f"{name}: There is no such filter, only {', '.join(known)}."
        elif not all(value.strip() for value in values):
            yield f"{name}: It is blank. Leave it out."
        elif len(values) > 1 and name != "state":
            yield f"{name}: It may be there once."
        elif name == "bounced" and values[0] not in ("true", "false", "on"):
            yield "bounced: Say true, or leave it out."
        elif name in ("since", "until") and _LOST_PLUS.search(values[0]):
            yield f"{name}: The + of a zone is %2B in an address."


def _run(pk: str) -> Run:
    row = Run.objects.select_related("workflow", "event").defer("event__data").filter(pk=pk).first()
    if row is None:
        raise _gone("run")
    return row


def _gone(what: str) -> Problem:
    return Problem(404, "Not found", f"There is no such {what}; it may have been erased.")
