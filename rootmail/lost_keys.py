"""What is stored and no key opens: mostly after a restore without its key, in whose place a new one was made."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings

from integrations import rotation

from .doctor.places import set_to


def warning() -> str:
    """Say that there are such values and what to do, or return ''."""
    found = rotation.survey()
    if not found.unreadable:
        return ""
    return f"No key opens {len(found.unreadable)} of {found.total} encrypted rows in the database. {advice(found)}"


def advice(found: rotation.Survey) -> str:
    return f"{_how_to_put_it_back(found)} Is it gone, enter these values again."


def _how_to_put_it_back(found: rotation.Survey) -> str:
    file = settings.ROOTMAIL_VAR / "fernet_key"
    if set_to("FERNET_KEYS"):
        return "Put the lost key back behind the others in FERNET_KEYS and restart."
    if len(found.unreadable) < found.total:  # what this key has encrypted meanwhile needs it
        return f"Set FERNET_KEYS to the key in {file}, a comma and the lost one, and restart."
    made = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    return (
        f"{file} is of {made:%Y-%m-%d %H:%M} UTC: was it missing then, after a restore for example? Put the old one in "
        "its place and restart, before anything is entered, which would be encrypted with the new one."
    )
