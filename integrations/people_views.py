"""Configuration → People."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from . import links, people
from .entrance import actor_of, for_admins
from .models import PasswordLink
from .people import Role
from .people_forms import AddressForm, InviteForm, RoleForm


@dataclass(frozen=True, slots=True)
class Row:
    """One person on the page: `link` works still, `form` takes another address."""

    person: User
    role: Role
    link: PasswordLink | None
    form: AddressForm


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
    return _page(request, form)


def _page(request: HttpRequest, invitation: InviteForm, wrong: AddressForm | None = None) -> HttpResponse:
    """Draw the page; `wrong` is the form of one person that could not be accepted."""
    context = {"form": invitation, "rows": list(_rows(wrong)), "roles": Role}
    return render(request, "people/people.html", context, status=422 if wrong or invitation.errors else 200)


def _rows(wrong: AddressForm | None) -> Iterator[Row]:
    made = links.outstanding()
    for person in people.listed():
        form = wrong if wrong and wrong.person == person else AddressForm(person)
        yield Row(person, people.role_of(person), made.get(person.pk), form)


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
def change_address(request: HttpRequest, pk: int) -> HttpResponse:
    """Change the address of somebody, deactivated or not; one's own takes the password, on another page."""
    person = get_object_or_404(User, pk=pk)
    if person == request.user:
        messages.error(request, "Change your own address here, with your password.")
        return redirect("account")
    form = AddressForm(person, request.POST)
    try:
        if form.is_valid() and people.change_address(person, form.cleaned_data["email"], actor=actor_of(request)):
            messages.success(request, f"The e-mail address of {person.username} is {person.email} now.")
    except ValidationError as error:
        form.add_error(None, error)
    return _page(request, InviteForm(), wrong=form) if form.errors else redirect("people")


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
    try:
        if people.reactivate(person, actor=actor_of(request)):
            messages.success(request, f"{person.username} may log in again.")
    except people.Refused as error:
        messages.error(request, str(error))
    return redirect("people")
