"""Configuration → Audit log."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from . import audit
from .entrance import for_admins
from .people_forms import AuditForm


@require_safe
@for_admins
def listed(request: HttpRequest) -> HttpResponse:
    """The entries that the filter lets through, newest first."""
    form = AuditForm(request.GET)
    wanted = form.wanted if form.is_valid() else audit.Wanted()
    events, following = audit.page(wanted, before=_position(request))
    query = request.GET.copy()
    query.pop("before", None)
    rows = [(event, audit.in_words(event.details)) for event in events]
    context = {"form": form, "events": rows, "following": following, "query": query.urlencode()}
    context["filtered"] = wanted != audit.Wanted()
    return render(request, "people/audit.html", context, status=422 if form.errors else 200)


def _position(request: HttpRequest) -> int | None:
    before = request.GET.get("before", "")
    if not before:
        return None
    if not (before.isascii() and before.isdigit() and len(before) < 19):
        raise Http404
    return int(before)


@require_safe
@for_admins
def export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The same as a CSV file, all of it, written while it is read."""
    form = AuditForm(request.GET)
    if not form.is_valid():
        raise Http404
    answer = StreamingHttpResponse(audit.as_csv(form.wanted), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="audit-{timezone.localdate():%Y-%m-%d}.csv"'
    return answer
