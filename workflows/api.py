"""The HTTP entrance for services that trigger workflows."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse

from rootmail.http import Problem, api, bounded_body

from . import events, services


@api("POST", scope="trigger")
def trigger(request: HttpRequest) -> HttpResponse:
    """Take an event and answer with the runs it made; they are committed by then."""
    try:
        incoming = events.read_event(bounded_body(request))
    except events.EventError as error:
        raise Problem(400, "Bad request", str(error)) from error
    done = services.trigger(incoming)
    return JsonResponse(done.as_dict(), status=200 if done.repeated else 202)
