"""The page of the workflows."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from . import overview, starters
from .list_forms import WorkflowFilterForm


@never_cache
@require_safe
@login_required
def workflows(request: HttpRequest) -> HttpResponse:
    """The workflows that the filter lets through: what sets each off, what it does, how its runs went lately."""
    form = WorkflowFilterForm(request.GET)
    wanted = form.wanted if form.is_valid() else None
    place = {name: request.GET.get(name, "").replace("\x00", "") for name in ("after", "before")}
    page = overview.page(wanted, **place) if wanted else overview.Page([])
    context: dict[str, Any] = {"form": form, "page": page, "wanted": wanted, "days": overview.DAYS}
    context |= {"query": wanted.query if wanted else "", "here": request.GET.urlencode()}
    if not page.rows and wanted == overview.Wanted():
        context["starters"] = starters.all_of_them()
    return render(request, "workflows/workflows.html", context, status=422 if form.errors else 200)
