"""Any JSON, through the mapping of the endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Reading, Unreadable
from .mapping import Rules, mapped, parse_mapping
from .parts import an_object


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Repeats are told by the mapping's `id`, else by the header of Standard Webhooks, else by the whole payload."""
    payload = an_object(body, name="the payload")
    key = headers.get("webhook-id") or headers.get("svix-id") or ""
    return mapped(payload, rules(options), key=key)


def rules(options: Mapping[str, Any]) -> Rules:
    try:
        return parse_mapping(str(options.get("mapping") or ""))
    except ValueError as error:
        raise Unreadable(f"The mapping of this endpoint cannot be read. {error}") from error
