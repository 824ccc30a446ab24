"""Configuration → People."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from . import links, people
from .entrance import actor_of, for_admins
from .people import Role
from .people_forms import InviteForm, RoleForm


@require_http_methods(["GET", "HEAD", "POST"])
@for_admins
def listed(request: HttpRequest) -> HttpResponse:
    """Everybody, and the form that invites one more."""
    form = InviteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            person = people.invite(actor=actor_of(request), **_invited(form.cleaned_data))
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return _show_link(request, person)
    made = links.outstanding()
    rows = [(person, people.role_of(person), made.get(person.pk)) for person in people.listed()]
    context = {"form": form, "rows": rows, "roles": Role}
    return render(request, "people/people.html", context, status=422 if form.errors else 200)


def _invited(values: dict[str, Any]) -> dict[str, Any]:
    return {"name": values["username"], "address": values["email"], "role": Role(values["role"])}


def _show_link(request: HttpRequest, person: User) -> HttpResponse:
    """Show the link in the answer itself: it is in no address, in no session, and not there after a reload."""
    handed = people.hand_out_link(person, actor=actor_of(request))
    return render(request, "people/link.html", {"person": person, "handed": handed})


@require_POST
@for_admins
def new_link(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a new link to set a password; the one of before ends."""
    return _show_link(request, get_object_or_404(User, pk=pk, is_active=True))


@require_POST
@for_admins
def change_role(request: HttpRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles.")
        return redirect("people")
    try:
        if people.set_role(person, Role(form.cleaned_data["role"]), actor=actor_of(request)):
            messages.success(request, f"{person.username} is {form.cleaned_data['role']} now.")
    except people.Refused as error:
        messages.error(request, str(error))
    return redirect("people")


@require_POST
@for_admins
def deactivate(request: HttpRequest, pk: int) -> HttpResponse:
    """Lock a person out; what that person has open ends at once."""
    person = get_object_or_404(User, pk=pk)
    try:
        if people.deactivate(person, actor=actor_of(request)):
            messages.success(request, f"{person.username} is deactivated and logged out everywhere.")
    except people.Refused as error:
        messages.error(request, str(error))
    return redirect("people")


@require_POST
@for_admins
def reactivate(request: HttpRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)
    if people.reactivate(person, actor=actor_of(request)):
        messages.success(request, f"{person.username} may log in again.")
    return redirect("people")
