"""Send again, cancel, consider delivered: one mail at once, many after a question."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from . import ids, interventions
from .entrance import for_editors
from .forms import ConfirmForm, FilterForm
from .interventions import Outcome, Verb
from .models import Delivery
from .search import DeliveryFilter

SECONDS = 20.0  # of work within one request


@require_POST
@for_editors
def act(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    """Do it with one mail, and go back to its page."""
    known = _verb(verb)
    get_object_or_404(Delivery.objects.only("pk"), pk=pk)
    outcome = interventions.intervene(verb, [pk], actor=request.user.get_username())
    if outcome.done:
        messages.success(request, f"{known.label}: it {known.past}.")
    else:
        messages.warning(request, f"Nothing was changed: {_reasons(outcome.left)}.")
    return redirect("delivery", pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
@for_editors
def act_on_all(request: HttpRequest, verb: str) -> HttpResponse:
    """Say what would be done with all that match, and how many they are; do it."""
    known, form = _verb(verb), FilterForm(request.GET)
    if not form.is_valid() or not form.wanted:
        messages.error(request, "Choose by a filter which deliveries are meant.")
        return redirect("home")
    confirmed = ConfirmForm(request.POST)
    if request.method != "POST" or not confirmed.is_valid():
        return _ask(request, known, form.wanted, before=ids.new_id())
    before, after = confirmed.cleaned_data["before"], confirmed.cleaned_data["after"]
    outcome = interventions.intervene(
        verb, form.wanted, actor=request.user.get_username(), seconds=SECONDS, before=before, after=after
    )
    if outcome.go_on_after:
        return _ask(request, known, form.wanted, before=before, so_far=outcome)
    _tell(request, known, outcome)
    return redirect(f"{reverse('home')}?{form.wanted.as_query()}")


def _ask(
    request: HttpRequest, verb: Verb, wanted: DeliveryFilter, *, before: UUID, so_far: Outcome | None = None
) -> HttpResponse:
    after = so_far.go_on_after if so_far else None
    tally = interventions.tally(verb.name, wanted, before=before, after=after)
    context = {"verb": verb, "wanted": wanted, "tally": tally, "before": before, "after": after, "so_far": so_far}
    status = 422 if request.method == "POST" and not so_far else 200
    return render(request, "workflows/confirm.html", context, status=status)


def _tell(request: HttpRequest, verb: Verb, outcome: Outcome) -> None:
    many = "1 delivery" if outcome.done == 1 else f"{outcome.done:,} deliveries"
    left = f" Left alone: {_reasons(outcome.left, counted=True)}." if outcome.left else ""
    (messages.success if outcome.done else messages.warning)(request, f"{verb.label}: {many} done.{left}")


def _reasons(left: Counter[str], *, counted: bool = False) -> str:
    return ", ".join(f"{number:,} {why}" if counted else why for why, number in left.most_common())


def _verb(name: str) -> Verb:
    if name not in interventions.VERBS:
        raise Http404
    return interventions.VERBS[name]
