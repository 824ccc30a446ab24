"""The HTTP entrance for services that trigger workflows."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse

from integrations import feedback
from rootmail.http import Problem, answering, api, bounded_body

from . import events, services, told


@api("POST", scope="trigger")
def trigger(request: HttpRequest) -> HttpResponse:
    """Take one event, or several at once, and answer with the runs they made; they are committed by then."""
    try:
        batch, several = events.read_events(
            bounded_body(request), key=request.headers.get("Idempotency-Key", "").strip().strip('"')
        )
    except events.EventError as error:
        raise Problem(400, "Bad request", str(error)) from error
    done = services.trigger_all(batch)
    document = {"events": [one.as_dict() for one in done]} if several else done[0].as_dict()
    return JsonResponse(document, status=200 if all(one.repeated for one in done) else 202)


@answering("POST")
def sendgrid_events(request: HttpRequest) -> HttpResponse:
    """Take what SendGrid's Event Webhook tells; its signature proves who it is. Repeated events are harmless."""
    signature = request.headers.get("X-Twilio-Email-Event-Webhook-Signature", "")
    timestamp = request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", "")
    try:
        told.record(feedback.read_sendgrid(bounded_body(request), signature=signature, timestamp=timestamp))
    except feedback.NotGenuine as error:
        raise Problem(403, "Forbidden", str(error)) from error
    except feedback.Unreadable as error:
        raise Problem(400, "Bad request", str(error)) from error
    return HttpResponse(status=204)
