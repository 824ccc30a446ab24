"""What the pages begin with that change deliveries."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.cache import never_cache

CHANGE = "workflows.change_delivery"  # an Editor's: workflows and actions go with it
MANAGE = "integrations.manage_integrations"  # an Admin's
View = Callable[..., HttpResponseBase]


def for_editors(view: View) -> View:
    """Guard a page: for Editors and Admins, kept by no browser. Whoever has to log in comes back to a page."""
    return _entered(view, CHANGE)


def for_admins(view: View) -> View:
    """Guard a page in the same way, for Admins alone."""
    return _entered(view, MANAGE)


def _entered(view: View, permission: str) -> View:
    guarded = permission_required(permission, raise_exception=True)(view)

    @wraps(view)
    def entered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return guarded(request, *args, **kwargs)
        asked = request.get_full_path() if request.method in ("GET", "HEAD") else _page(kwargs)
        return redirect_to_login(asked)

    return never_cache(entered)


def _page(arguments: dict[str, Any]) -> str:
    """Return the page that a form which needs these arguments stands on."""
    for argument, name in (("slug", "workflow"), ("run", "run"), ("pk", "delivery")):
        if argument in arguments:
            return reverse(name, args=[arguments[argument]])
    return reverse("home")
