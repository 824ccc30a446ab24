"""The token that lets one person make the first account: kept in `var`, gone once it was used."""

from __future__ import annotations

import secrets
from pathlib import Path

from django.conf import settings

from . import state


def file() -> Path:
    return Path(settings.ROOTMAIL_VAR) / "first_admin_token"


def token() -> str:
    """Return the token; the first time, make it."""
    return state.stored(file(), lambda: secrets.token_urlsafe(24))


def is_right(claimed: str) -> bool:
    """Compare in constant time. Where no token was made, nothing is right."""
    if not file().exists():
        return False
    return secrets.compare_digest(claimed.strip().encode(), token().encode())


def forget() -> None:
    file().unlink(missing_ok=True)
