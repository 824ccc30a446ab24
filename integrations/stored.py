"""What is stored of the integrations, and which of them is in force. Nothing is changed here."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils.crypto import salted_hmac

from . import providers
from .fields import Undecryptable
from .models import KINDS, SendGridIntegration, SmtpIntegration

SECRETS = {"smtp": "password", "sendgrid": "api_key"}


class NotConnected(Exception):
    """There is nothing to check or to show."""


def defaults(kind: str) -> dict[str, Any]:
    """Return every field that an admin may set, with its documented default."""
    model = KINDS[kind]
    names = [field.name for field in model._meta.concrete_fields if field.editable and not field.primary_key]
    return {name: getattr(model(), name) for name in names}


def demand_connected(kind: str) -> SmtpIntegration | SendGridIntegration:
    """Return the connected row; raises NotConnected, or Undecryptable."""
    row = KINDS[kind]._default_manager.filter(connected=True).first()
    if row is None:
        raise NotConnected(f"{providers.label_of(kind)} is not connected.")
    return row


def describe(kind: str) -> dict[str, Any]:
    """Return what may be shown of an integration: never a secret, only whether one is stored."""
    shown: dict[str, Any] = {"connected": is_connected(kind)}
    if not shown["connected"]:
        return shown
    row = demand_connected(kind)
    shown |= {name: getattr(row, name) for name in defaults(kind)}
    shown[SECRETS[kind]] = "stored" if shown[SECRETS[kind]] else None
    return shown | {"connected_at": str(row.connected_at), "connected_by": row.connected_by}


def _rows(kind: str) -> QuerySet[Any]:
    """Return the rows of a kind; the first one counts."""
    return KINDS[kind]._default_manager.order_by("-connected", "-pk")


def row_of(kind: str) -> SmtpIntegration | SendGridIntegration | None:
    """Return the row of this kind, connected or not; None also where it cannot be decrypted."""
    try:
        return _rows(kind).first()
    except Undecryptable:
        return None


def problem(kind: str, *, in_use: bool = False) -> str:
    """Say why what is stored cannot be read, or return '' where it can; `in_use`: of what is connected alone."""
    rows = _rows(kind).filter(connected=True) if in_use else _rows(kind)
    try:
        rows.first()
    except Undecryptable as error:
        return str(error)
    return ""


def is_connected(kind: str) -> bool:
    return KINDS[kind]._default_manager.filter(connected=True).exists()


def version(kind: str) -> str:
    """Return what is the same as long as the stored settings are, and tells none of them; '' where there are none."""
    row = row_of(kind)
    values = repr(sorted(values_of(kind, row).items())) if row else ""
    return salted_hmac("rootmail.integration", values, algorithm="sha256").hexdigest()[:16] if row else ""


def values_of(kind: str, row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in defaults(kind)}


def row_to_overwrite(kind: str) -> SmtpIntegration | SendGridIntegration:
    """Return a fresh row; where one is stored that no key decrypts, it takes that one's place."""
    pk, connected_at = _rows(kind).values_list("pk", "connected_at").first() or (None, None)
    return KINDS[kind](pk=pk, connected_at=connected_at)


def in_force(*, without: str = "") -> providers.Provider:
    """Return the provider that the next mail leaves through, or would leave through `without` one."""
    others = (provider for provider in providers.PROVIDERS if provider.name != without)
    return next(provider for provider in others if provider.name not in KINDS or is_connected(provider.name))
