"""Suppressed addresses: whom nothing is sent to, why, and how that ends."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from . import suppression
from .entrance import for_admins, for_editors
from .suppression_forms import SearchForm
from .told import SENDGRID

AT_SENDGRID = " SendGrid keeps such a list of its own: remove the address there, too, or SendGrid drops the mail."


@require_safe
@for_editors
def suppressed(request: HttpRequest) -> HttpResponse:
    """The addresses in force that hold what was looked for, the newest first."""
    form = SearchForm(request.GET)
    search = form.cleaned_data["search"] if form.is_valid() else ""
    rows, following = ([], None) if form.errors else suppression.page(search, before=_place(request))
    context = {"form": form, "rows": rows, "following": following, "search": search}
    context["days"] = settings.SUPPRESSION_DAYS
    return render(request, "workflows/suppressed.html", context, status=422 if form.errors else 200)


def _place(request: HttpRequest) -> int | None:
    before = request.GET.get("before", "")
    if before and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise Http404
    return int(before) if before else None


@require_POST
@for_admins
def release(request: HttpRequest, number: int) -> HttpResponse:
    """Send to one address again from now on."""
    row = suppression.release(number, actor=request.user.get_username())
    if row:
        there = AT_SENDGRID if row.told_by == SENDGRID else ""
        messages.success(request, f"{row.address} is released: the next mail goes there again.{there}")
    else:
        messages.warning(request, "Nothing was changed: it is not suppressed any more.")
    return redirect("suppressed")
