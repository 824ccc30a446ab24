"""The senders' words for a severity, turned into those that people here use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .base import Adapter, Foreign, Reading, Unreadable
from .mapping import parse_severities

_WITH_SEVERITY = ("alert", "incident")


def table(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the table of the endpoint, from the severest, by words in small letters."""
    try:
        return parse_severities(str(options.get("severities") or ""))
    except ValueError as error:
        raise Unreadable(f"The severities of this endpoint cannot be read. {error}") from error


def translated(adapter: Adapter) -> Adapter:
    """Return the adapter with the endpoint's table laid over `alert.severity` and `incident.severity`."""

    def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
        reading = adapter(headers, body, options)
        words = table(options)
        return replace(reading, events=tuple(_translate(one, words) for one in reading.events)) if words else reading

    return read


def _translate(event: Foreign, words: Mapping[str, str]) -> Foreign:
    data = {
        kind: _with_our_word(value, words) if kind in _WITH_SEVERITY else value for kind, value in event.data.items()
    }
    return replace(event, data=data)


def _with_our_word(value: Any, words: Mapping[str, str]) -> Any:
    word = value.get("severity") if isinstance(value, dict) else None
    if not isinstance(word, str):
        return value
    return {**value, "severity": words.get(word.strip().casefold(), word)}
