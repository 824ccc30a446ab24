"""What pages of other rooms show of deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince

from integrations import clock
from workflows import history, ids
from workflows.history import History
from workflows.models import Delivery
from workflows.search import PROVIDERS

register = template.Library()
NEAR = timedelta(days=14)  # how long ago something was says little beyond


@register.simple_tag
def delivery_history(names: Iterable[str]) -> dict[str, History]:
    return history.by_provider(names)


@register.simple_tag
def waiting_deliveries() -> int:
    return history.waiting()


@register.filter
def of(histories: Mapping[str, History], name: str) -> History:
    return histories[name]


@register.simple_tag
def moment(at: datetime) -> str:
    """Return a time for people and machines: absolute, and how far it lies away where that is near."""
    near = _distance(at - clock.now())
    return format_html(
        '<time datetime="{}">{}</time>{}',
        at.isoformat(timespec="seconds"),
        timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S"),
        f" ({near})" if near else "",
    )


@register.filter
def is_over(at: datetime) -> bool:
    return at <= clock.now()


@register.simple_tag
def told_at(at: datetime) -> str:
    """Return a time to the second, one of several below each other."""
    shown = timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S")
    return format_html('<time datetime="{}">{}</time>', at.isoformat(timespec="seconds"), shown)


def _distance(gap: timedelta) -> str:
    if abs(gap) > NEAR:
        return ""
    if abs(gap) < timedelta(minutes=1):
        return "in less than a minute" if gap > timedelta() else "less than a minute ago"
    now = timezone.now()
    words = timesince(now, now + abs(gap), depth=1)
    return f"in {words}" if gap > timedelta() else f"{words} ago"


@register.filter
def provider_label(name: str) -> str:
    return PROVIDERS.get(name, name)


@register.filter
def made(delivery: Delivery) -> datetime:
    """When it was made: what the list is in the order of, and its filter asks for."""
    return ids.made_at(delivery.pk)
