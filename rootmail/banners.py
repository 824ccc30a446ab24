"""What every page says while mail cannot leave."""

from __future__ import annotations

import shutil
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest

from integrations import pauses, stored
from integrations.models import KINDS
from workflows import heartbeat

LEAST_ROOM = 200 * 1024**2  # bytes
LONGEST = 160  # of a server's words on every page; the card has them all


def banners(request: HttpRequest) -> dict[str, Any]:
    """Give templates `banners`, a list of sentences that is asked for only where it is shown."""
    return {"banners": lambda: _banners(request) if request.user.is_authenticated else []}


def _banners(request: HttpRequest) -> list[str]:
    unreadable = [stored.problem(kind, in_use=True) for kind in KINDS]
    return [text for text in (_no_room(), _no_worker(), *unreadable, mail_waits(request)) if text]


def mail_waits(request: HttpRequest | None = None) -> str:
    """Say that mail waits for its provider, or return ''. One that is not in force holds up nothing."""
    paused = pauses.all_paused(request or HttpRequest())
    provider = stored.in_force() if paused else None
    state = paused.get(provider.name) if provider else None
    if provider is None or state is None or not state.failures:
        return ""
    return f"Mail waits for {provider.label}. {pauses.in_words(state, at_most=LONGEST)}"


def _no_room() -> str:
    """PostgreSQL's disk is another one, mostly of another machine."""
    if connection.vendor != "sqlite":
        return ""
    free = shutil.disk_usage(settings.ROOTMAIL_VAR).free
    if free >= LEAST_ROOM:
        return ""
    return f"Only {free // 1024**2} MB are free on the disk of {settings.ROOTMAIL_VAR}. A full one stops every mail."


def _no_worker() -> str:
    silence = heartbeat.silence()
    if silence is None:
        return ""
    advice = "Start one: manage.py up runs everything."
    if silence == timedelta.max:
        return f"No worker has ever been heard of, so no mail leaves. {advice}"
    minutes = int(silence.total_seconds() // 60)
    return f"No worker has been heard of for {minutes} minutes, so no mail leaves. {advice}"
