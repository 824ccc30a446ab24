"""What every page of the configuration begins with."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from .forms import FORMS

MANAGE = "integrations.manage_integrations"
View = Callable[..., HttpResponseBase]


def for_admins(view: View) -> View:
    """Guard a page: for an Admin alone, kept by no browser, and no secret of it in error reports."""
    guarded = permission_required(MANAGE, raise_exception=True)(view)

    @wraps(view)
    def entered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return (
            guarded(request, *args, **kwargs)
            if request.user.is_authenticated
            else _to_login(request, kwargs.get("kind"))
        )

    return never_cache(sensitive_post_parameters()(entered))


def _to_login(request: HttpRequest, kind: str | None) -> HttpResponseBase:
    """Lead to the log-in and from there to a page that can be opened, not into a part of one nor to a mere action."""
    page = reverse("integration-setup", args=[kind]) if kind in FORMS else reverse("integrations")
    if request.method in ("GET", "HEAD"):
        page = request.get_full_path()
    if not is_htmx(request):
        return redirect_to_login(page)
    if request.method == "POST":
        return HttpResponse(status=401)  # its page stays, with what was typed
    shown = urlsplit(request.headers.get("HX-Current-URL", "")).path or page
    return HttpResponse(headers={"HX-Redirect": redirect_to_login(shown).url})


def actor_of(request: HttpRequest) -> str:
    return request.user.get_username()


def known(kind: str) -> str:
    """Return the kind of an integration that has a form; Http404 on any other."""
    if kind not in FORMS:
        raise Http404
    return kind


def is_htmx(request: HttpRequest) -> bool:
    """Tell whether a part of a page is asked for."""
    return request.headers.get("HX-Request") == "true"
