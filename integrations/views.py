"""Configuration → Integrations: the catalogue, Setup, test mails, Disconnect."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import pauses, services, stored, trials
from .catalogue import cards
from .diagnosis import Diagnosis
from .entrance import actor_of, for_admins, is_htmx, known
from .errands import NoAnswer
from .fields import Undecryptable
from .form_answers import all_but_secret, form_page, form_parts
from .forms import FORMS, IntegrationForm, TestMailForm
from .providers import PROVIDERS, label_of


@require_safe
@for_admins
def catalogue(request: HttpRequest) -> HttpResponse:
    """One card for each way out, in priority order."""
    paused = pauses.all_paused(request)
    context = {"cards": cards(paused), "names": [one.name for one in PROVIDERS]}
    return render(request, "integrations/catalogue.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_admins
def setup(request: HttpRequest, kind: str) -> HttpResponse:
    """The form of one integration; Connect proves the settings before they are in force."""
    form = FORMS[known(kind)](request.POST if request.method == "POST" else None, instance=stored.row_of(kind))
    if request.method != "POST":
        return form_page(request, kind, form)
    found = _connect(request, kind, form) if form.is_valid() else None
    if not form.errors:
        return _connected(request, kind, found)
    if is_htmx(request):
        return form_parts(request, kind, form, fields=all_but_secret(form), found=found)
    return form_page(request, kind, form, found=found)


def _connected(request: HttpRequest, kind: str, found: Diagnosis | None) -> HttpResponse:
    said, warning = services.after_connect(kind)
    test = reverse("integration-test", args=[kind])
    messages.success(request, format_html('{} <a href="{}">Send a test e-mail</a> to see one arrive.', said, test))
    if warning:
        messages.warning(request, warning)
    if found and found.cause:
        messages.info(request, found.cause)
    if is_htmx(request):
        return HttpResponse(headers={"HX-Redirect": reverse("integrations")})
    return redirect("integrations")


def _connect(request: HttpRequest, kind: str, form: IntegrationForm) -> Diagnosis | None:
    """Call the service; its objections end up beside the fields. Returns what the check found."""
    check = not form.cleaned_data["skip_check"]
    try:
        return services.connect(
            kind,
            form.values,
            actor=actor_of(request),
            check=check,
            proof=_proof(request),
            seen=request.POST.get("seen"),
        )
    except ValidationError as error:
        form.add_error(None, error)
    except services.CheckFailed as error:
        found = error.diagnosis
        form.add_error(found.field if found.field in form.fields else None, found.cause)
        return found
    return None


def _proof(request: HttpRequest) -> uuid.UUID | None:
    """Return the number of the check that ran before the admin's eyes, if one did."""
    with suppress(ValueError):
        return uuid.UUID(request.POST.get("proof", ""))
    return None


@require_http_methods(["GET", "HEAD", "POST"])
@for_admins
def test_mail(request: HttpRequest, kind: str) -> HttpResponse:
    """Send a test mail through one way out, and show what became of it."""
    if kind not in [provider.name for provider in PROVIDERS]:
        raise Http404
    form = TestMailForm(request.POST or None, initial={"to": request.user.email})  # type: ignore[union-attr]
    sent = _send_test_mail(request, kind, form) if request.method == "POST" and form.is_valid() else None
    context = {"form": form, "kind": kind, "label": label_of(kind), "sent": sent}
    return render(request, "integrations/test_mail.html", context, status=422 if form.errors else 200)


def _send_test_mail(request: HttpRequest, kind: str, form: TestMailForm) -> dict[str, Any] | None:
    try:
        return trials.send_test_mail(kind, form.cleaned_data["to"], actor=actor_of(request))
    except ValidationError as error:
        form.add_error(None, error)
    except (NoAnswer, stored.NotConnected, Undecryptable) as error:
        form.add_error(None, str(error))
    return None


@require_POST
@for_admins
def try_now(request: HttpRequest, kind: str) -> HttpResponse:
    """End the wait of a paused provider: the next mail tries it."""
    if kind not in [provider.name for provider in PROVIDERS]:
        raise Http404
    if pauses.try_now(kind, actor=actor_of(request)):
        messages.success(request, f"The next mail tries {label_of(kind)} again. Its outcome stands here in a moment.")
    return redirect("integrations")


@require_http_methods(["GET", "HEAD", "POST"])
@for_admins
def disconnect(request: HttpRequest, kind: str) -> HttpResponse:
    """Ask once and say what happens then; on POST take the integration out of force and erase its credentials."""
    if request.method != "POST":
        context = {"kind": known(kind), "label": label_of(kind), "connected": stored.is_connected(kind)}
        context |= {"in_force": stored.in_force(), "next": stored.in_force(without=kind)}
        return render(request, "integrations/disconnect.html", context)
    if services.disconnect(known(kind), actor=actor_of(request)):
        messages.success(
            request,
            f"{label_of(kind)} is disconnected and its credentials are erased. "
            f"Mail leaves through {stored.in_force().label} from now on.",
        )
    return redirect("integrations")
