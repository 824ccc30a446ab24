"""API tokens: shown once, stored as a digest."""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import Error as DatabaseTrouble
from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from . import audit
from .models import ApiToken

logger = logging.getLogger(__name__)

PREFIX = "rm_"
_USE_IS_NOTED_EVERY = timedelta(minutes=1)
# As it stands, since every request asks: Django's compiler takes longer than the database.
_LIVE = "SELECT * FROM integrations_apitoken WHERE digest = %s AND revoked_at IS NULL"
_NOTE_USE = """
UPDATE integrations_apitoken SET last_used_at = %(now)s
WHERE id = (SELECT id FROM integrations_apitoken WHERE id = %(id)s LOCK) AND {quickly}
"""


def create(name: str, *, scopes: Collection[str], actor: str) -> str:
    """Make a token and return it; it cannot be read again. Raises ValidationError on a taken name."""
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(name=name, digest=_digest(token), scopes=sorted(set(scopes)))
    taken = ValidationError({"name": f"There is a token named '{name}'. None can be read again: take another name."})
    if ApiToken.objects.filter(name=name).exists():
        raise taken
    row.full_clean()
    try:
        with transaction.atomic():
            row.save()
            audit.record("token created", actor=actor, name=name, scopes=row.scopes)
    except IntegrityError as error:  # somebody else took it meanwhile
        raise taken from error
    return token


def revoke(name: str, *, actor: str) -> bool:
    """Take a token out of force, for good. Returns whether there was a live one of this name."""
    with transaction.atomic():
        done = ApiToken.objects.filter(name=name, revoked_at=None).update(revoked_at=timezone.now())
        if done:
            audit.record("token revoked", actor=actor, name=name)
    return bool(done)


def listed() -> QuerySet[ApiToken]:
    """Return every token, those in force first, without what proves it."""
    return ApiToken.objects.defer("digest").order_by(F("revoked_at").desc(nulls_first=True), "name")


def find(token: str) -> ApiToken | None:
    """Return the live row of a token, and note that it was used (at most once a minute)."""
    row = next(iter(ApiToken.objects.raw(_LIVE, [_digest(token)])), None)
    if row and (row.last_used_at is None or timezone.now() - row.last_used_at > _USE_IS_NOTED_EVERY):
        _note_use(row)
    return row


def _note_use(row: ApiToken) -> None:
    """Write it where that is possible at once: whoever only reads waits for nobody, and the next request notes it."""
    statement = _NOTE_USE.replace("LOCK", "FOR UPDATE SKIP LOCKED" if connection.vendor == "postgresql" else "")
    now = ApiToken._meta.get_field("last_used_at").get_db_prep_value(timezone.now(), connection)
    try:
        connection.write_in_passing(statement, {"id": row.pk, "now": now})  # type: ignore[attr-defined]
    except DatabaseTrouble as error:
        logger.debug("token %s: its use is not noted: %s", row.name, error)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
