"""Configuration → API tokens."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from . import tokens
from .entrance import actor_of, for_admins
from .models import ApiToken
from .people_forms import TokenForm


@require_http_methods(["GET", "HEAD", "POST"])
@for_admins
def listed(request: HttpRequest) -> HttpResponse:
    """Every token, and the form that makes one more. A new one is in the answer itself, so it is shown once."""
    form = TokenForm(request.POST or None, initial={"trigger": True})
    token = ""  # nosec B105 # none was made
    if request.method == "POST" and form.is_valid():
        token = _create(request, form)
    context = {"form": form, "token": token, "tokens": tokens.listed()}
    if token:
        context |= {"name": form.cleaned_data["name"], "form": TokenForm(initial={"trigger": True})}
    return render(request, "people/tokens.html", context, status=422 if form.errors else 200)


def _create(request: HttpRequest, form: TokenForm) -> str:
    """Return the new token, or '' where the form now holds the objections."""
    try:
        return tokens.create(form.cleaned_data["name"], scopes=form.scopes, actor=actor_of(request))
    except ValidationError as error:
        found = error.message_dict
        form.add_error(None, ["Turn on at least one scope."] if found.pop("scopes", None) else [])
        form.add_error("name", found.pop("name", []))
    return ""


@require_POST
@for_admins
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a token out of force, for good."""
    row = get_object_or_404(ApiToken, pk=pk)
    if tokens.revoke(row.name, actor=actor_of(request)):
        messages.success(request, f"The token '{row.name}' is revoked. Who still uses it is answered with 401.")
    return redirect("tokens")
