"""Configuration → Integrations: the catalogue, Setup, Disconnect."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required, permission_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import services
from .catalogue import cards
from .diagnosis import Diagnosis
from .forms import FORMS, IntegrationForm
from .providers import PROVIDERS

MANAGE = "integrations.manage_integrations"


def _actor(request: HttpRequest) -> str:
    return request.user.get_username()


@never_cache
@require_safe
@login_required
@permission_required(MANAGE, raise_exception=True)
def catalogue(request: HttpRequest) -> HttpResponse:
    """One card for each way out, in priority order."""
    return render(request, "integrations/catalogue.html", {"cards": cards()})


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@permission_required(MANAGE, raise_exception=True)
def setup(request: HttpRequest, kind: str) -> HttpResponse:
    """The form of one integration; Connect proves the settings before they are in force."""
    if kind not in FORMS:
        raise Http404
    form = FORMS[kind](request.POST or None, instance=services.stored(kind))
    found = None
    if request.method == "POST" and form.is_valid():
        found = _connect(request, kind, form)
        if not form.errors:
            return _connected(request, kind, found)
    context = {"form": form, "kind": kind, "label": _label(kind), "connected": services.is_connected(kind)}
    context |= {"diagnosis": found, "problem": services.problem(kind)}
    context["suggestion"] = form.in_words(found.proposal) if found else ""
    return render(request, "integrations/setup.html", context, status=422 if form.errors else 200)


def _connected(request: HttpRequest, kind: str, found: Diagnosis | None) -> HttpResponse:
    said, warning = services.after_connect(kind)
    messages.success(request, said)
    if warning:
        messages.warning(request, warning)
    if found and found.cause:
        messages.info(request, found.cause)
    return redirect("integrations")


def _connect(request: HttpRequest, kind: str, form: IntegrationForm) -> Diagnosis | None:
    """Call the service; its objections end up beside the fields. Returns what the check found."""
    try:
        return services.connect(kind, form.values, actor=_actor(request), check=not form.cleaned_data["skip_check"])
    except ValidationError as error:
        form.add_error(None, error)
    except services.CheckFailed as error:
        found = error.diagnosis
        form.add_error(found.field if found.field in form.fields else None, found.cause)
        return found
    return None


def _label(kind: str) -> str:
    return next(provider.label for provider in PROVIDERS if provider.name == kind)


@require_POST
@login_required
@permission_required(MANAGE, raise_exception=True)
def disconnect(request: HttpRequest, kind: str) -> HttpResponse:
    """Take an integration out of force and erase its credentials."""
    if kind not in FORMS:
        raise Http404
    if services.disconnect(kind, actor=_actor(request)):
        messages.success(
            request,
            f"{_label(kind)} is disconnected and its credentials are erased. "
            f"Mail leaves through {services.in_force().label} from now on.",
        )
    return redirect("integrations")
