"""The page of the workflows."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from . import overview


@never_cache
@require_safe
@login_required
def workflows(request: HttpRequest) -> HttpResponse:
    """Every workflow: what sets it off, what it does, how its runs went lately."""
    context = {"overviews": overview.of_workflows(), "shown": overview.SHOWN, "days": overview.DAYS}
    return render(request, "workflows/workflows.html", context)
