"""What load balancers and container platforms ask: is this process alive, can it take requests?"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from . import about, health, monitors


def alive(request: HttpRequest) -> HttpResponse:
    """Answer, and touch nothing: a database that is away is no reason to start a web server again."""
    return HttpResponse("ok\n", content_type="text/plain")


def ready(request: HttpRequest) -> HttpResponse:
    """Answer 200 or 503; what was found is told to monitoring alone."""
    found = health.look()
    details = {"checks": found.checks, "code": about.at_start()["code"]} if monitors.is_monitor(request) else {}
    return JsonResponse({"ready": found.ready, **details}, status=200 if found.ready else 503)


PROBES = {"/healthz": alive, "/readyz": ready}


class AnswerProbes:
    """Answer them whatever host they name, and without a redirect to HTTPS."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        probe = PROBES.get(request.path_info) if request.method in ("GET", "HEAD") else None
        if probe is None:
            return self._get_response(request)
        answer = probe(request)
        answer["Cache-Control"] = "no-store"
        return answer
