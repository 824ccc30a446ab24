"""What pages of other rooms show of deliveries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django import template

from workflows import history
from workflows.history import History

register = template.Library()


@register.simple_tag
def delivery_history(names: Iterable[str]) -> dict[str, History]:
    return history.by_provider(names)


@register.simple_tag
def waiting_deliveries() -> int:
    return history.waiting()


@register.filter
def of(histories: Mapping[str, History], name: str) -> History:
    return histories[name]
