"""Pages of deliveries: the list, one mail, and how it looks."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from csp.constants import NONE, SELF
from csp.decorators import csp
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from integrations import senders
from rootmail.banners import mail_waits

from . import interventions, preview, samples, search, story
from .entrance import CHANGE, for_everybody
from .forms import FilterForm
from .models import Delivery, Workflow
from .search import DeliveryFilter

# A mail's styles stand in it, its pictures anywhere. It can run nothing, and knows nothing of the site around it.
LOOKS = {
    "sandbox": True,
    "default-src": [NONE],
    "style-src": ["'unsafe-inline'"],
    "img-src": ["https:", "data:", f"{settings.SITE_URL}/static/icons/"],
    "form-action": [NONE],
    "base-uri": [NONE],
    "frame-ancestors": [SELF],
}


@require_safe
@never_cache
@login_required
def deliveries(request: HttpRequest) -> HttpResponse:
    """The mails that the filter lets through, newest first."""
    form, place = FilterForm(request.GET), _place(request)
    wanted = form.wanted if form.is_valid() else None
    page = search.Page([]) if wanted is None else search.page(wanted, **place)
    context: dict[str, Any] = {"form": form, "wanted": wanted, "page": page}
    if wanted and page.rows and request.user.has_perm(CHANGE):
        complete = not (page.newer or page.older)
        context["verbs"] = interventions.possible_with_some(page.rows, of=wanted, complete=complete)
    context["query"] = wanted.as_query() if wanted else ""
    if not page.rows and wanted == DeliveryFilter() and not place:
        context |= {"no_mail_yet": True, "workflows": Workflow.objects.filter(enabled=True).count()}
    if any(delivery.provider == "default" for delivery in page.rows):
        context["warning"] = senders.default_sender_warning()
    return render(request, "workflows/deliveries.html", context, status=422 if form.errors else 200)


def _place(request: HttpRequest) -> dict[str, UUID]:
    try:
        return {name: UUID(request.GET[name]) for name in ("before", "after") if request.GET.get(name)}
    except ValueError as error:
        raise Http404 from error


@require_safe
@for_everybody
def delivery(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One mail: what became of it, what to do, and how it looks."""
    view = request.GET.get("view", "desktop")
    if view not in preview.VIEWS:
        raise Http404
    rows = interventions.with_refusals(Delivery.objects.select_related("workflow").annotate(empty=Q(content=b"")))
    rows = story.with_counts(rows).annotate(is_test=samples.is_test("run__"))
    row = get_object_or_404(rows if view in preview.PLAIN else rows.defer("content"), pk=pk)
    told = story.of(row, paused=bool(mail_waits(request)))
    context: dict[str, Any] = {"delivery": row, "story": told, "view": view, "views": preview.VIEWS}
    context["framed"] = view in preview.FRAMED
    if view in preview.PLAIN:
        shown = preview.plain(bytes(row.content), view, sender=_sender(row))
        context |= {"shown": shown[: preview.LONGEST], "cut": len(shown) > preview.LONGEST}
    if request.user.has_perm(CHANGE):
        context["verbs"] = interventions.possible(row)
    return render(request, "workflows/delivery.html", context)


@require_safe
@never_cache
@login_required
@xframe_options_sameorigin
@csp(LOOKS)  # type: ignore[arg-type]  # typed for views without arguments of their own
def mail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The HTML part of a mail, for a frame: sandboxed by its own policy, too."""
    return HttpResponse(preview.html(_content(pk)[0], dark=request.GET.get("view") == "dark"))


@require_safe
@never_cache
@login_required
def source(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A mail as a file that mail programs open."""
    content, sender = _content(pk)
    answer = HttpResponse(preview.source(content, sender=sender), content_type="message/rfc822")
    answer["Content-Disposition"] = f'attachment; filename="{pk}.eml"'
    return answer


def _content(pk: UUID) -> tuple[bytes, str]:
    row = get_object_or_404(Delivery.objects.exclude(content=b""), pk=pk)
    return bytes(row.content), _sender(row)


def _sender(row: Delivery) -> str:
    """Return From as it is, or would be, written into the mail; '' where nobody has chosen it yet."""
    try:
        return senders.parse_mailbox(row.sent_from or row.requested_from).header_value
    except senders.SenderError:
        return ""
