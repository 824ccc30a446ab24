"""What every page says while mail cannot leave."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest

from integrations import services
from integrations.models import KINDS
from workflows import heartbeat


def banners(request: HttpRequest) -> dict[str, Any]:
    """Give templates `banners`, a list of sentences that is asked for only where it is shown."""
    return {"banners": lambda: _banners() if request.user.is_authenticated else []}


def _banners() -> list[str]:
    return [text for text in (_no_worker(), *(services.problem(kind, in_use=True) for kind in KINDS)) if text]


def _no_worker() -> str:
    silence = heartbeat.silence()
    if silence is None:
        return ""
    advice = "Start one: manage.py up runs everything."
    if silence == timedelta.max:
        return f"No worker has ever been heard of, so no mail leaves. {advice}"
    minutes = int(silence.total_seconds() // 60)
    return f"No worker has been heard of for {minutes} minutes, so no mail leaves. {advice}"
