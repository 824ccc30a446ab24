"""What the pages begin with that change something."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from .models import Workflow

CHANGE = "workflows.change_delivery"  # an Editor's: workflows and actions go with it
MANAGE = "integrations.manage_integrations"  # an Admin's: locked workflows go with it
BACKEND = "django.contrib.auth.backends.ModelBackend"  # the one of ours that knows permissions
MAY = {CHANGE: "Only Editors and Admins may open this page.", MANAGE: "Only Admins may open this page."}
LOCKED = "This workflow is locked: only Admins may change it and its actions."
View = Callable[..., HttpResponseBase]


def for_everybody(view: View) -> View:
    """Guard a page that keeps itself up to date; where its reader was logged out, all of it leads to the log-in."""
    guarded = login_required(view)

    @wraps(view)
    def entered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.headers.get("HX-Request") == "true" and not request.user.is_authenticated:
            return HttpResponse(headers={"HX-Refresh": "true"})
        return guarded(request, *args, **kwargs)

    return never_cache(entered)


def for_editors(view: View) -> View:
    """Guard a page: for Editors and Admins, kept by no browser. Whoever has to log in comes back to a page."""
    return _for(CHANGE, view)


def for_admins(view: View) -> View:
    """Guard a page likewise, for Admins alone; no secret of it stands in error reports."""
    return sensitive_post_parameters()(_for(MANAGE, view))


def _for(permission: str, view: View) -> View:
    @wraps(view)
    def entered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.has_perm(permission):
            return view(request, *args, **kwargs)
        if request.user.is_authenticated:
            raise PermissionDenied(MAY[permission])
        asked = request.get_full_path() if request.method in ("GET", "HEAD") else _page(kwargs)
        return redirect_to_login(asked)

    return never_cache(entered)


def refuse_locked(request: HttpRequest, workflow: Workflow) -> None:
    """Raise PermissionDenied where this person may read the workflow and not change it."""
    if workflow.locked and not is_admin(request):
        raise PermissionDenied(LOCKED)


def is_admin(request: HttpRequest) -> bool:
    return request.user.has_perm(MANAGE)


def admins() -> list[str]:
    """Return who may change a locked workflow."""
    found = User.objects.with_perm(MANAGE, backend=BACKEND).order_by("username")
    return list(found.values_list("username", flat=True))


def _page(arguments: dict[str, Any]) -> str:
    """Return the page that a form which needs these arguments stands on."""
    for argument, name in (("slug", "workflow"), ("run", "run"), ("pk", "delivery"), ("endpoint", "webhook")):
        if argument in arguments:
            return reverse(name, args=[arguments[argument]])
    return reverse("home")


def before(request: HttpRequest) -> dict[str, UUID]:
    """Return what a list that goes on behind a row filters by; ids sort by time. Http404 where it names none."""
    try:
        return {"pk__lt": UUID(request.GET["before"])} if "before" in request.GET else {}
    except ValueError as error:
        raise Http404 from error
