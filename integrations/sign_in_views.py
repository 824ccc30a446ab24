"""Log-in, the first admin, and passwords: Django's own views with our templates, entries and refusals."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from axes.utils import reset
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, views
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from rootmail import first_start

from . import links, people, sign_in
from .people_forms import FirstAdminForm, ForgottenForm, OwnPasswordForm

METHODS = ["GET", "HEAD", "POST"]


class LogIn(views.LoginView):
    """Without any account, nobody could log in: lead to the page that makes the first."""

    redirect_authenticated_user = True

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not User.objects.exists():
            return redirect("first-admin")
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        until = sign_in.address_locked_until(request)
        return _locked(request, until=until, everybody=True) if until else super().post(request, *args, **kwargs)


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: dict[str, Any] | None) -> HttpResponse:
    """Answer a log-in, or a password of somebody inside, that django-axes refuses: say when to try again."""
    return _locked(request, until=sign_in.locked_until(request, credentials))


def _locked(request: HttpRequest, *, until: datetime, everybody: bool = False) -> HttpResponse:
    context = {"until": until, "everybody": everybody}
    answer = render(request, "registration/locked_out.html", context, status=429)
    answer["Retry-After"] = str(max(int((until - timezone.now()).total_seconds()), 1))
    answer["Cache-Control"] = "no-store, private"
    return answer


@never_cache
@sensitive_post_parameters()
@require_http_methods(METHODS)
def first_admin(request: HttpRequest) -> HttpResponse:
    """Make the first account, for whoever knows the token. Once there is an account, there is no such page."""
    if User.objects.exists():
        raise Http404
    form = FirstAdminForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if first_start.is_right(form.cleaned_data["token"]):
            return _make_first_admin(request, form.cleaned_data)
        form.add_error("token", "This is not the token. If there is none, start rootmail with manage.py up.")
    return render(request, "registration/first_admin.html", {"form": form}, status=422 if form.errors else 200)


def _make_first_admin(request: HttpRequest, values: dict[str, Any]) -> HttpResponse:
    try:
        person = people.create_first_admin(values["username"], address=values["email"], password=values["password1"])
    except people.AlreadyThere as error:
        raise Http404 from error
    first_start.forget()
    login(request, person, backend=settings.AUTHENTICATION_BACKENDS[-1])
    messages.success(request, f"Welcome, {person.username}. Connect your mail server next.")
    return redirect("integrations")


@method_decorator(never_cache, name="dispatch")
class PasswordChange(views.PasswordChangeView):
    """A new password ends every other session of its owner."""

    template_name = "registration/password_change.html"
    success_url = reverse_lazy("home")
    form_class = OwnPasswordForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def form_valid(self, form: Any) -> HttpResponse:
        answer = super().form_valid(form)
        people.password_changed(form.user, by="password")
        messages.success(self.request, "Your password is changed. Everywhere else you are logged out.")
        return answer


@never_cache
@require_http_methods(METHODS)
def forgotten(request: HttpRequest) -> HttpResponse:
    """Take an address and say the same whether somebody has it or not, and whether it was asked for too often."""
    form = ForgottenForm(request.POST or None)
    sent = request.method == "POST" and form.is_valid()
    if sent and sign_in.may_ask_for_link(request):
        people.ask_for_link(form.cleaned_data["email"])
    context = {"form": form, "sent": sent}
    return render(request, "registration/forgotten.html", context, status=422 if form.errors else 200)


class PasswordSet(views.PasswordResetConfirmView):
    """The page that a mailed link opens. Django moves the link's secret out of the address first."""

    template_name = "registration/password_set.html"
    token_generator = links.TOKENS
    success_url = reverse_lazy("login")

    def get_user(self, uidb64: str) -> User | None:
        person = super().get_user(uidb64)
        return person if person and person.is_active else None

    def form_valid(self, form: Any) -> HttpResponse:
        answer = super().form_valid(form)
        people.password_changed(form.user, by="link")
        reset(username=form.user.get_username())  # whoever forgot it has probably tried too often
        messages.success(self.request, "Your password is set. Log in with it.")
        return answer
