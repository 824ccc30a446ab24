"""One's own account."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from . import people
from .people_forms import OwnAddressForm


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """Show who one is here, and take another address from whoever knows the password."""
    person = get_object_or_404(User, pk=request.user.pk)
    form = OwnAddressForm(request, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            return _change_address(request, person, form.cleaned_data["email"])
        except ValidationError as error:
            form.add_error(None, error)
    context = {"form": form, "person": person, "role": people.role_of(person)}
    return render(request, "registration/account.html", context, status=422 if form.errors else 200)


def _change_address(request: HttpRequest, person: User, address: str) -> HttpResponse:
    if people.change_address(person, address, actor=person.get_username()):
        messages.success(request, f"Your e-mail address is {person.email} now.")
    else:
        messages.info(request, "That is your address already.")
    return redirect("account")
