"""Detect settings, and send a test mail: what an admin tries, and a worker does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.utils import timezone

from . import audit, errands, senders, stored, validators
from .errands import NoAnswer
from .models import KINDS, Errand


def detect(host: str, *, ca_certificates: str = "", actor: str) -> dict[str, Any]:
    """Have a worker find out which settings fit a host name; see `Detection` for the report.

    Raises ValidationError on what is no host name, NoAnswer where no worker does it.
    """
    _validate("address", validators.validate_host_name, host)
    if ca_certificates:
        _validate("ca_certificates", validators.validate_ca_certificates, ca_certificates)
    audit.record("settings detected", actor=actor)
    return errands.ask(Errand.Job.DETECT, {"host": host, "ca_certificates": ca_certificates}, actor=actor)


PERHAPS_SENT = "A worker began to send it, and nobody knows how that ended: look into the mailbox before you try again."
TEST_MAILS, TEST_WINDOW = 5, timedelta(minutes=10)


def send_test_mail(kind: str, to: str, *, actor: str) -> dict[str, Any]:
    """Have a worker send a test mail through this provider, in force or not, and return what became of it.

    The report holds `ok` (the relay accepted it), `to`, `provider`, and either the reply or `error`. Raises
    ValidationError on a bad address and when too many were sent lately, NotConnected, and NoAnswer.
    """
    to = to.strip()
    _validate("to", validators.validate_address, to)
    if kind in KINDS:
        stored.demand_connected(kind)
    errand = errands.leave(Errand.Job.TEST_MAIL, {"kind": kind, "to": to, "actor": actor}, actor=actor)
    try:
        errands.demand_room(errand, at_most=TEST_MAILS, within=TEST_WINDOW)
    except errands.TooMany as error:
        at = timezone.localtime(error.again_at)
        text = f"{TEST_MAILS} test mails in {TEST_WINDOW.seconds // 60} minutes are enough. Try again at {at:%H:%M:%S}."
        raise ValidationError({"to": text}) from error
    audit.record("test mail asked for", actor=actor, provider=kind, to=to)
    try:
        return _with_warning(errands.carry(errand), kind=kind)
    except NoAnswer as error:
        if str(error) in (errands.NOT_FINISHED, errands.DEFECT):
            raise NoAnswer(PERHAPS_SENT) from error
        raise


def _with_warning(report: dict[str, Any], *, kind: str) -> dict[str, Any]:
    return report | {"warning": senders.default_sender_warning() if kind == "default" else ""}


def _validate(field: str, validator: Callable[[str], None], value: str) -> None:
    try:
        validator(value)
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error
