"""What is in force, as of one moment and by one query: it is asked for every mail, in every process."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection, models

from . import pauses, providers
from .models import SendGridIntegration, SmtpIntegration

# The rows as they were stored, and the way out that they led to.
_known: tuple[tuple[Any, ...], providers.Route] | None = None


def in_force() -> tuple[providers.Route, pauses.Admission | None]:
    """Return the way out, and the admission for one mail; None where the provider is paused.

    The rows are compared as they are stored (on PostgreSQL by the number and place of their version), so they are
    decrypted once and not for every mail, and a change acts on the next one. Raises TransportError where a stored
    credential cannot be read.
    """
    global _known
    while True:
        *rows, version, paused_at = _stored()
        # What may be secret is only compared.
        others = hash((settings.DEFAULT_SENDER_URL, settings.SMTP_ALLOW_PRIVATE_NETWORKS, *settings.FERNET_KEYS))
        seen, known = (*rows, others), _known  # read once: another thread may write it
        if known and known[0] == seen:
            return known[1], None if paused_at else pauses.Admission(version=version or 0)
        route = providers.active_route()
        if [*_stored()][:-2] == rows:  # or somebody has changed them while we read
            _known = seen, route


def _stored() -> tuple[Any, ...]:
    """Return what tells one version of the connected rows from another, then version and pause of the first of them."""
    ask = connection.ask  # type: ignore[attr-defined]
    if connection.vendor == "sqlite":
        return ask(_query())[0]  # type: ignore[no-any-return]
    ((smtp, sendgrid, states),) = ask(BY_VERSION)
    return smtp, sendgrid, *_state_of("smtp" if smtp else "sendgrid" if sendgrid else "default", states)


def _state_of(provider: str, states: list[str]) -> tuple[int, bool]:
    for state in states:
        name, version, is_paused = state.split(" ")
        if name == provider:
            return int(version), is_paused == "t"
    return 0, False


QUERY = """
SELECT {smtp}, {sendgrid}, state.version, +state.paused_at FROM (SELECT 1 AS one) AS here
LEFT JOIN integrations_smtpintegration AS smtp ON smtp.connected
LEFT JOIN integrations_sendgridintegration AS sendgrid ON sendgrid.connected
LEFT JOIN integrations_providerstate AS state ON state.name = CASE
    WHEN smtp.id IS NOT NULL THEN 'smtp' WHEN sendgrid.id IS NOT NULL THEN 'sendgrid' ELSE 'default' END
"""
# PostgreSQL takes longer to plan the query above than to answer it. There, every UPDATE makes a new version of its row,
# with the number of its transaction and a place of its own.
BY_VERSION = """
SELECT (SELECT concat(xmin, ctid) FROM integrations_smtpintegration WHERE connected),
    (SELECT concat(xmin, ctid) FROM integrations_sendgridintegration WHERE connected),
    ARRAY(SELECT concat_ws(' ', name, version, paused_at IS NOT NULL) FROM integrations_providerstate)
"""


@cache
def _query() -> str:
    return QUERY.format(smtp=_columns(SmtpIntegration, "smtp"), sendgrid=_columns(SendGridIntegration, "sendgrid"))


def _columns(model: type[models.Model], alias: str) -> str:
    """Return them as they are stored: behind a plus sign a column has no type by which Python would convert it."""
    return ", ".join(f"+{alias}.{field.column}" for field in model._meta.concrete_fields)
