"""What every page of the configuration begins with."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib.auth.decorators import login_required, permission_required
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from .forms import FORMS
from .providers import PROVIDERS

MANAGE = "integrations.manage_integrations"
View = Callable[..., HttpResponseBase]


def for_admins(view: View) -> View:
    """Guard a page: for an Admin alone, kept by no browser, and no secret of it in error reports."""
    guarded = permission_required(MANAGE, raise_exception=True)(view)
    return never_cache(sensitive_post_parameters()(login_required(guarded)))


def actor_of(request: HttpRequest) -> str:
    return request.user.get_username()


def label_of(kind: str) -> str:
    return next(provider.label for provider in PROVIDERS if provider.name == kind)


def known(kind: str) -> str:
    """Return the kind of an integration that has a form; Http404 on any other."""
    if kind not in FORMS:
        raise Http404
    return kind


def is_htmx(request: HttpRequest) -> bool:
    """Tell whether a part of a page is asked for."""
    return request.headers.get("HX-Request") == "true"
