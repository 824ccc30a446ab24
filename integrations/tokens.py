"""API tokens: shown once, stored as a digest."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from . import audit
from .models import ApiToken

PREFIX = "rm_"
_USE_IS_NOTED_EVERY = timedelta(minutes=1)


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
    row = ApiToken.objects.filter(digest=_digest(token), revoked_at=None).first()
    if row and (row.last_used_at is None or timezone.now() - row.last_used_at > _USE_IS_NOTED_EVERY):
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=timezone.now())
    return row


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
