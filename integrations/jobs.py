"""What a worker does while a person waits: the connection check, detecting settings, a test mail."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage

from . import backends, clock, detection, diagnosis, pauses, providers, rechecks, senders
from .diagnosis import Diagnosis, Step
from .models import KINDS, Errand, SendGridIntegration, SmtpIntegration
from .notices import notice
from .transports.base import Receipt, TransportError
from .transports.smtp import SmtpSettings

FRESH = timedelta(minutes=10)  # nobody waits so long, even where two machines' clocks differ
KEPT = timedelta(hours=1)  # reports are read at once; test mails are counted for a while
Tell = Callable[[dict[str, Any]], None]


def carry_out(pk: str) -> None:
    """Do an errand that nobody else has taken, once. Without a report at the end, it could not be read."""
    fresh = Errand.objects.filter(pk=pk, taken_at=None, asked_at__gt=clock.now() - FRESH)
    if not fresh.update(taken_at=clock.now()):
        return
    mine = Errand.objects.filter(pk=pk)
    report: str | None = None

    def tell(so_far: dict[str, Any]) -> None:
        mine.update(report=json.dumps(so_far))

    try:
        errand = mine.get()
        report = json.dumps({"defect": True})  # unless it is done
        report = json.dumps(JOBS[errand.job](json.loads(errand.request), tell))
    finally:
        mine.update(finished_at=clock.now(), request=None, report=report)


def forget_old() -> None:
    """Delete what is read and counted no more; take the credentials out of what nobody will do any more."""
    now = clock.now()
    Errand.objects.filter(asked_at__lt=now - KEPT).delete()
    Errand.objects.filter(asked_at__lt=now - FRESH, request__isnull=False).update(request=None)


def check(request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Check the settings in the request, or what is connected where it holds none."""
    model = KINDS[request["kind"]]
    values = request["values"]
    version = pauses.version_of(request["kind"])
    row = model(**values) if values else model._default_manager.get(connected=True)
    found = diagnose(row, watch=lambda steps: tell({"steps": [asdict(step) for step in steps]}))
    if row.pk:
        _note(row, found, kind=request["kind"], version=version)
    if row.pk and found.ok:
        pauses.hasten(request["kind"])
    return found.as_dict()


def recheck_due() -> None:
    """Check each connected integration whose time has come, once, and write down what was found. Sends nothing."""
    for kind in KINDS:
        version = pauses.version_of(kind)
        row = rechecks.take_due(kind)
        if row:
            _note(row, diagnose(row), kind=kind, version=version)


def _note(row: SmtpIntegration | SendGridIntegration, found: Diagnosis, *, kind: str, version: int) -> None:
    rechecks.note(row, found, kind=kind, version=version)
    if found.certificate and isinstance(row, SmtpIntegration):
        SmtpIntegration.objects.filter(pk=row.pk).update(certificate_until=found.certificate_until)


def diagnose(
    row: SmtpIntegration | SendGridIntegration, *, watch: Callable[[Sequence[Step]], None] = diagnosis.unwatched
) -> Diagnosis:
    """Try a connection with this row's settings, as far as MAIL FROM. Sends nothing."""
    if isinstance(row, SendGridIntegration):
        return diagnosis.diagnose_sendgrid(providers.sendgrid_settings(row), watch=watch)
    return diagnosis.diagnose_smtp(providers.smtp_settings(row), sender=sender_in_use(row), watch=watch)


def sender_in_use(row: SmtpIntegration) -> str:
    """Return the address of the From that actions without one of their own get, or ''."""
    try:
        sender = senders.through_integration(
            "", default_from=row.default_from, user_name=row.user_name or "", label="SMTP"
        )
    except senders.SenderError:
        return ""
    return sender.mailbox.address


def detect(request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    relay = SmtpSettings(
        request["host"],
        ca_certificates=request["ca_certificates"],
        allow_private_networks=settings.SMTP_ALLOW_PRIVATE_NETWORKS,
    )
    return detection.detect(relay).as_dict()


def send_test_mail(request: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Send a test mail through the provider that the request names, in force or not."""
    provider = next(one for one in providers.PROVIDERS if one.name == request["kind"])
    outcome = {"ok": False, "to": request["to"], "provider": provider.name, "unknown": False}
    version = pauses.version_of(provider.name)
    try:
        route = providers.route_through(provider)
        if route is None:
            return outcome | {"error": f"{provider.label} is not connected."}
        receipt = backends.hand_over(_test_mail(request, label=provider.label), route=route)
    except TransportError as error:
        return outcome | _failure(error)
    pauses.lift(provider.name, version=version)
    rechecks.note_accepted(route.row, kind=provider.name)
    refused = receipt.refused.get(request["to"])
    return outcome | _success(receipt) if refused is None else outcome | {"error": f"Refused: {refused}"}


def _test_mail(request: dict[str, Any], *, label: str) -> EmailMessage:
    at = clock.now().strftime("%Y-%m-%d %H:%M:%S UTC")
    body = (
        f"This is a test e-mail. Nothing has happened, and there is nothing to do.\n\n"
        f"{request['actor']} asked for it at {at}, to see whether mail leaves through {label}.\n"
        f"It was sent by rootmail at {settings.SITE_URL}\n"
    )
    return notice(f"Test e-mail: rootmail through {label}", body, to=[request["to"]])


def _success(receipt: Receipt) -> dict[str, Any]:
    return {
        "ok": True,
        "from": receipt.sender,
        "message_id": receipt.message_id,
        "code": receipt.reply.code,
        "enhanced_code": receipt.reply.enhanced,
        "reply": receipt.reply.text,
        "tls": receipt.tls,
        "milliseconds": receipt.milliseconds,
    }


def _failure(error: TransportError) -> dict[str, Any]:
    return {
        "error": error.text,
        "stage": str(error.stage),
        "unknown": error.outcome_unknown,
        "code": error.code,
        "enhanced_code": error.enhanced_code,
        "reply": error.reply.text if error.reply else "",
        "tls": error.tls,
        "milliseconds": error.milliseconds,
    }


JOBS: dict[str, Callable[[dict[str, Any], Tell], dict[str, Any]]] = {
    Errand.Job.CHECK: check,
    Errand.Job.DETECT: detect,
    Errand.Job.TEST_MAIL: send_test_mail,
}
