"""Take a foreign payload apart: the type that is expected, or Unreadable with the name of what is wrong."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from .base import Unreadable

LONGEST = 190  # of a key or an id: what other parts of the system put before it still fits into their columns
_UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def an_object(value: Any, *, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f"'{name}' must be an object: is this what the kind of the endpoint says?")
    return value


def child(holder: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object within another; an empty one where it is missing or null."""
    value = holder.get(name)
    return {} if value is None else an_object(value, name=name)


def children(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = holder.get(name)
    if value is not None and not isinstance(value, list):
        raise Unreadable(f"'{name}' must be a list.")
    return [an_object(item, name=name) for item in value or []]


def text(holder: dict[str, Any], name: str) -> str:
    value = holder.get(name)
    if value is not None and not isinstance(value, str):
        raise Unreadable(f"'{name}' must be a text.")
    return value or ""


def needed(holder: dict[str, Any], name: str) -> str:
    if not (found := text(holder, name)):
        raise Unreadable(f"'{name}' is missing: is this what the kind of the endpoint says?")
    return found


def number(holder: dict[str, Any], name: str) -> int:
    value = holder.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise Unreadable(f"'{name}' must be a whole number.")
    return value or 0


def moment(milliseconds: int | str) -> str | None:
    """Return Unix milliseconds as ISO 8601; None where they are no time."""
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).isoformat() if milliseconds else None
    except (ValueError, OverflowError, OSError):
        return None


def instant(told: Any) -> datetime | None:
    """Return the time that a text in ISO 8601 tells, in UTC where it names no zone; None where it tells none."""
    try:
        time = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def named(reference: dict[str, Any]) -> dict[str, Any]:
    """Return another system's reference {id, summary} as our objects are written."""
    return {"id": reference.get("id"), "name": text(reference, "summary")}


def fitting(key: str) -> str:
    """Return a key as it is, or its digest where no column would hold it."""
    return key if len(key) <= LONGEST and not _UNFIT.search(key) else digest(key)


def digest(*values: Any) -> str:
    """Return a digest of JSON values; the order of keys in objects does not matter."""
    told = json.dumps(values, sort_keys=True, separators=(",", ":"))  # ASCII: half a surrogate pair does no harm
    return hashlib.sha256(told.encode()).hexdigest()


def without_nothing(values: dict[str, Any]) -> dict[str, Any]:
    """Return what is told: a thin event must not blank what is known with an empty text or null."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
