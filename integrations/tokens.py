"""API tokens: shown once, stored as a digest."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from . import audit
from .models import ApiToken

PREFIX = "rm_"
_USE_IS_NOTED_EVERY = timedelta(minutes=1)


def create(name: str, *, scopes: Collection[str], actor: str) -> str:
    """Make a token and return it; it cannot be read again. Raises ValidationError on a taken name."""
    token = PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(name=name, digest=_digest(token), scopes=sorted(set(scopes)))
    if ApiToken.objects.filter(name=name).exists():
        raise ValidationError({"name": f"There is a token named '{name}'. None can be read again: take another name."})
    row.full_clean()
    with transaction.atomic():
        row.save()
        audit.record("token created", actor=actor, name=name, scopes=row.scopes)
    return token


def find(token: str) -> ApiToken | None:
    """Return the live row of a token, and note that it was used (at most once a minute)."""
    row = ApiToken.objects.filter(digest=_digest(token), revoked_at=None).first()
    if row and (row.last_used_at is None or timezone.now() - row.last_used_at > _USE_IS_NOTED_EVERY):
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=timezone.now())
    return row


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
