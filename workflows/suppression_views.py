"""Suppressed addresses: whom nothing is sent to, why, and how that ends."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from integrations import clock

from . import suppression
from .entrance import for_admins, for_editors
from .suppression import Wanted
from .suppression_forms import FilterForm, ReleaseAllForm
from .told import SENDGRID

AT_SENDGRID = " SendGrid keeps such a list of its own: remove the address there, too, or SendGrid drops the mail."


@require_safe
@for_editors
def suppressed(request: HttpRequest) -> HttpResponse:
    """The addresses in force that are wanted, the newest first."""
    form = FilterForm(request.GET)
    wanted = form.wanted if form.is_valid() else Wanted()
    rows, following = ([], None) if form.errors else suppression.page(wanted, before=_place(request))
    context = {"form": form, "rows": rows, "following": following, "wanted": wanted, "now": clock.now()}
    context |= {"days": settings.SUPPRESSION_DAYS, "releasable": suppression.releasable(wanted).count() if rows else 0}
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


@require_POST
@for_admins
def release_all(request: HttpRequest) -> HttpResponse:
    """Send again to everybody who was shown, but for those who reported spam."""
    form = ReleaseAllForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Nobody was released: look at the list again.")
        return redirect("suppressed")
    actor, until = request.user.get_username(), form.cleaned_data["until"]
    found = suppression.release_all(form.wanted, until=until, actor=actor)
    there = AT_SENDGRID.replace("the address", "them") if found[SENDGRID] else ""
    number = found.total()
    if number:
        said = f"{number} address{'es are' if number > 1 else ' is'} released: the next mails go there again.{there}"
        messages.success(request, said)
    else:
        messages.warning(request, "Nothing was changed: they are not suppressed any more.")
    return redirect("suppressed")
