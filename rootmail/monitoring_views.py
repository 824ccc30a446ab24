"""The page that Prometheus reads."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from . import metrics as numbers
from . import monitors


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with every number, in the format that the scraper asks for."""
    if not monitors.is_monitor(request):
        return HttpResponse(monitors.ADVICE, status=403, content_type="text/plain; charset=utf-8")
    text, content_type = numbers.exposition(request.headers.get("Accept", ""))
    return HttpResponse(text, content_type=content_type)
