"""The HTTP entrances for services that trigger workflows."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse

from integrations import feedback
from integrations.fields import Undecryptable
from rootmail.http import Problem, answering, api, bounded_body, demand_https

from . import events, intake, log_fields, services, told

logger = logging.getLogger(__name__)


@api("POST", scope="trigger")
def trigger(request: HttpRequest) -> HttpResponse:
    """Take one event, or several at once, and answer with the runs they made; they are committed by then."""
    try:
        batch, several = events.read_events(bounded_body(request), key=_key(request))
    except events.EventError as error:
        raise Problem(400, "Bad request", str(error)) from error
    try:
        done = services.trigger_all(batch)
    except services.UsedBefore as error:
        place = f"Event {error.number}: " if several else ""
        raise Problem(409, "Conflict", f"{place}{error}") from error
    _log_runs(done)
    document = {"events": [one.as_dict() for one in done]} if several else done[0].as_dict()
    return JsonResponse(document, status=200 if all(one.repeated for one in done) else 202)


def _key(request: HttpRequest) -> str | None:
    """Return the idempotency key of the header, which WSGI hands over as Latin-1, as the body would tell it."""
    told = request.headers.get("Idempotency-Key")
    try:
        return None if told is None else told.encode("latin-1").decode().strip().strip('"')
    except UnicodeDecodeError as error:
        raise events.EventError("The header Idempotency-Key is not UTF-8.") from error


@answering("POST", "PUT")
def receive(request: HttpRequest, address: str) -> HttpResponse:
    """Take what another system posts; its address, and where it has one its signature, prove that it may."""
    demand_https(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        answer = intake.receive(address, intake.Posted(headers, _noted_body(request, address)))
        _log_runs(one.triggered for one in answer.made if one.triggered)
    except intake.Refused as error:
        title = HTTPStatus(error.status).phrase.capitalize()
        raise Problem(
            error.status, title, error.text, retry_after=error.retry_after, challenge=error.challenge
        ) from error
    except Undecryptable as error:
        logger.exception("the secret of a webhook cannot be decrypted")
        raise Problem(503, "Service unavailable", "The stored secret cannot be read. Ask an Admin.") from error
    return JsonResponse(answer.as_dict(), status=answer.status)


def _noted_body(request: HttpRequest, address: str) -> bytes:
    """Return the body; where it is not taken, whoever looks after the endpoint reads of it there."""
    try:
        return bounded_body(request)
    except Problem as problem:
        intake.note_unread(address, intake.Refused(problem.status, problem.detail))
        raise


@answering("POST")
def sendgrid_events(request: HttpRequest) -> HttpResponse:
    """Take what SendGrid's Event Webhook tells; its signature proves who it is. Repeated events are harmless."""
    demand_https(request)
    signature = request.headers.get("X-Twilio-Email-Event-Webhook-Signature", "")
    timestamp = request.headers.get("X-Twilio-Email-Event-Webhook-Timestamp", "")
    try:
        told.record(feedback.read_sendgrid(bounded_body(request), signature=signature, timestamp=timestamp))
    except feedback.NotGenuine as error:
        raise Problem(403, "Forbidden", str(error)) from error
    except feedback.Unreadable as error:
        raise Problem(400, "Bad request", str(error)) from error
    return HttpResponse(status=204)


def _log_runs(done: Iterable[services.Triggered]) -> None:
    """Name the runs of each event, so that lines of the web lead to those of the workers."""
    for one in done:
        runs = ", ".join(f"run {run.pk}" for run in one.runs) or f"no run of {one.event.name}"
        with log_fields.about(event=one.event.pk):
            logger.info("event %s: %s", one.event.pk, "repeated" if one.repeated else runs)
