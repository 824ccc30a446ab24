"""What a process runs on, so that another one can tell whether it runs on the same."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from celery import current_app
from django.conf import settings
from django.utils.crypto import salted_hmac

ROOMS = ("rootmail", "integrations", "workflows")


def code() -> str:
    """Return a digest of the source as it lies on the disk now."""
    digest = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((settings.BASE_DIR / room).rglob("*.py")):
            digest.update(str(path.relative_to(settings.BASE_DIR)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def keys() -> str:
    """Return what is the same where SECRET_KEY and FERNET_KEYS are, and tells neither."""
    return salted_hmac("rootmail.about", ",".join(settings.FERNET_KEYS), algorithm="sha256").hexdigest()[:12]


@lru_cache(maxsize=1)
def at_start() -> dict[str, str]:
    """Return what this process was started on; called once at the start, since the disk may change under it."""
    return {"code": code(), "keys": keys()}


def of_workers(*, within: float) -> dict[str, dict[str, str]]:
    """Return what each worker that answers within so many seconds was started on, by its name."""
    answers = current_app.control.broadcast("rootmail_about", reply=True, timeout=within)
    return {name: answer for one in answers or [] for name, answer in one.items()}
