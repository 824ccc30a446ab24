"""Connect, check and disconnect: validate, have a worker prove it, save, audit."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from . import audit, clock, errands, pauses, rechecks, stored
from .diagnosis import Diagnosis, Step
from .errands import NoAnswer
from .fields import EncryptedTextField
from .jobs import sender_in_use
from .models import KINDS, Errand, SendGridIntegration, SmtpIntegration

# A stored secret never goes to a server that it was not entered for, nor by a less protected road.
BOUND_TO_SECRET = {
    "smtp": (
        "address",
        "port",
        "enable_starttls",
        "enable_starttls_auto",
        "ssl",
        "openssl_verify_mode",
        "ca_certificates",
        "allow_clear_text_auth",
    ),
    "sendgrid": ("base_url",),
}


_MEANWHILE = "Somebody else connected or disconnected it meanwhile, and nothing was saved. Look at it again."
_CHANGED = (
    "Other settings were saved since you opened this form, by somebody else or in another tab, and nothing was saved "
    "now. Reload it, and change it again."
)


class CheckFailed(Exception):
    """The connection check found a fault; nothing was saved."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.cause)
        self.diagnosis = diagnosis


def connect(
    kind: str,
    values: Mapping[str, Any],
    *,
    actor: str,
    check: bool = True,
    proof: uuid.UUID | None = None,
    seen: str | None = None,
) -> Diagnosis | None:
    """Put an integration in force for the next mail.

    `values` are model fields; a blank or missing secret keeps the stored one. `proof` is the number of a check of just
    these values by `begin_check`: what it found counts, nothing is checked again. `seen` is the `version` that the
    values were filled in over, where that was before. Raises ValidationError with one message per field, or
    CheckFailed; nothing is saved then. Returns what the check found.
    """
    seen = stored.version(kind) if seen is None else seen
    _demand_unchanged(kind, seen)
    row, changed, found_at = _valid_row(kind, values, actor=actor)
    found = _check(kind, stored.values_of(kind, row), actor=actor, proof=proof) if check else None
    if found and not found.ok:
        raise CheckFailed(found)
    if found and isinstance(row, SmtpIntegration):
        row.certificate_until = found.certificate_until
    row.check_failed_at, row.check_problem, row.next_check_at = None, "", clock.now() + rechecks.next_day()
    with transaction.atomic():
        _save(kind, row, found_at=found_at, seen=seen)
        pauses.forget(kind, proven=check)
        audit.record(f"{kind} connected", actor=actor, changed=changed, checked=check)
    return found


def begin_check(kind: str, values: Mapping[str, Any] | None, *, actor: str) -> Errand:
    """Have a worker try these values, or what is connected where they are None, and do not wait for it.

    Raises ValidationError as `connect` does, stored.NotConnected, and NoAnswer.
    """
    if values is None:
        stored.demand_connected(kind)
        audit.record(f"{kind} checked", actor=actor)
        tried = None
    else:
        tried = stored.values_of(kind, _valid_row(kind, values, actor=actor)[0])
        audit.record(f"{kind} checked", actor=actor, stored=False)
    errand = errands.leave(Errand.Job.CHECK, {"kind": kind, "values": tried}, actor=actor)
    errands.ring(errand)
    return errand


def _valid_row(kind: str, values: Mapping[str, Any], *, actor: str) -> tuple[Any, list[str], datetime | None]:
    """Return the row as it would be saved, what differs from what is stored, and when that was connected."""
    row, changed = _changed_row(kind, values)
    found_at = row.connected_at
    if not row.connected:
        row.connected, row.connected_at, row.connected_by = True, timezone.now(), actor
    # Django checks constraints by a query that would carry the plain secrets; the database does it at save().
    row.full_clean(validate_unique=False, validate_constraints=False)
    return row, changed, found_at


def _changed_row(kind: str, values: Mapping[str, Any]) -> tuple[SmtpIntegration | SendGridIntegration, list[str]]:
    """Return the stored row (or a new one) with the values filled in, unsaved, and the names of what differs."""
    row = stored.row_of(kind) or stored.row_to_overwrite(kind)
    secret = stored.SECRETS[kind]
    before = {name: getattr(row, name) for name in values}
    for name, value in values.items():
        if name != secret or value:
            setattr(row, name, value)
    if values.get(secret):
        row.secret_set_at = timezone.now()
    if kind == "smtp":
        _clean_smtp(row, values)
    _demand_secret_again(kind, row, values, before)
    return row, sorted(_in_words(row, name, before[name]) for name in values if before[name] != getattr(row, name))


def _in_words(row: Any, name: str, old: Any) -> str:
    """Return what became of a field, for the audit log: of what is encrypted or long, only that it changed."""
    if isinstance(row._meta.get_field(name), (EncryptedTextField, models.TextField)):
        return name
    words = [{True: "on", False: "off", "": "empty"}.get(value, value) for value in (old, getattr(row, name))]
    return f"{name}: {words[0]} → {words[1]}"


def _clean_smtp(row: Any, values: Mapping[str, Any]) -> None:
    if row.ssl and row.enable_starttls:
        text = "SSL and StartTLS exclude each other. Turn off SSL (port 587) or turn off StartTLS (port 465)."
        raise ValidationError({"ssl": text, "enable_starttls": text})
    if not row.user_name:
        if values.get("password"):
            raise ValidationError({"user_name": "Enter the username that belongs to this password."})
        row.user_name = row.password = None
    elif not row.password:
        advice = "Enter the password of this username."
        raise ValidationError({"password": advice})


def _demand_secret_again(kind: str, row: Any, values: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    secret = stored.SECRETS[kind]
    if row.pk is None or values.get(secret) or not getattr(row, secret):
        return
    moved = [name for name in BOUND_TO_SECRET[kind] if name in before and before[name] != getattr(row, name)]
    if moved:
        labels = ", ".join(str(row._meta.get_field(name).verbose_name) for name in moved)
        label = row._meta.get_field(secret).verbose_name
        raise ValidationError(
            {secret: f"You changed {labels}: enter the {label} again, so that it goes nowhere by mistake."}
        )


def _demand_unchanged(kind: str, seen: str) -> None:
    if stored.version(kind) != seen:
        raise ValidationError(_CHANGED)


def _save(kind: str, row: Any, *, found_at: datetime | None, seen: str) -> None:
    """Save, unless somebody connected, changed or disconnected it while we checked: erased credentials stay erased."""
    unmoved = type(row)._default_manager.filter(pk=row.pk, connected_at=found_at)
    try:
        with transaction.atomic():
            if row.pk:
                if not unmoved.update(connected_at=row.connected_at):
                    raise ValidationError(_MEANWHILE)
                _demand_unchanged(kind, seen)
            row.save()
    except IntegrityError as error:
        raise ValidationError(_MEANWHILE) from error


def check(kind: str, *, actor: str, watch: Callable[[Step], None] = lambda step: None) -> Diagnosis:
    """Have a worker try what is connected, as far as MAIL FROM; nothing is sent. `watch` sees each step as it is taken.

    Raises NotConnected. Where no worker answers, that is the finding.
    """
    stored.demand_connected(kind)
    audit.record(f"{kind} checked", actor=actor)
    return _check(kind, None, actor=actor, watch=watch)


def _check(
    kind: str,
    values: dict[str, Any] | None,
    *,
    actor: str,
    watch: Callable[[Step], None] = lambda step: None,
    proof: uuid.UUID | None = None,
) -> Diagnosis:
    request = {"kind": kind, "values": values}
    proven = errands.finished(proof, request, actor=actor) if proof else None
    if proven:
        return Diagnosis.from_dict(proven)
    started, seen = time.monotonic(), 0

    def show(report: dict[str, Any]) -> None:
        nonlocal seen
        for step in report["steps"][seen:]:
            seen += 1
            watch(Step(**step))

    try:
        report = errands.ask(Errand.Job.CHECK, request, actor=actor, watch=show)
    except NoAnswer as error:
        return Diagnosis.failed("worker", str(error), milliseconds=round((time.monotonic() - started) * 1000))
    return Diagnosis.from_dict(report)


def after_connect(kind: str) -> tuple[str, str]:
    """Return what an admin should hear after Connect: what is in force now, and a warning or ''."""
    row, first = stored.demand_connected(kind), stored.in_force()
    label = str(row._meta.verbose_name)
    said = f"{label} is connected. The next mail leaves through it."
    if first.name != kind:
        said = f"{label} is connected. Mail still leaves through {first.label}: disconnect that to use {label}."
    sender = row.default_from or (sender_in_use(row) if isinstance(row, SmtpIntegration) else "")
    return said, "" if sender else "Actions that leave From blank will fail until you fill in 'Default From'."


def disconnect(kind: str, *, actor: str) -> bool:
    """Take an integration out of force and erase its credentials. Returns whether it was connected."""
    credentials = {"smtp": ("user_name", "password"), "sendgrid": ("api_key",)}[kind]
    forgotten = {**dict.fromkeys(credentials), **rechecks.FINE, "next_check_at": None}
    with transaction.atomic():
        rows = KINDS[kind]._default_manager.filter(connected=True)
        done = rows.update(connected=False, connected_at=None, connected_by="", secret_set_at=None, **forgotten)
        if done:
            pauses.forget(kind, proven=True)
            audit.record(f"{kind} disconnected", actor=actor)
    return bool(done)
