"""What stands at a path, and whether a value of a condition is it, or is in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from . import patterns
from .effort import Effort
from .paths import Found

NAMES = ("slug", "name", "id")  # what an object is known by: raw_severity IS sev1
SHOWN, LONGEST_SHOWN = 10, 200
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?")
Key = tuple[str, object]


class Things:
    """What stands at a path, without what is null or blank."""

    def __init__(self, found: Found, effort: Effort) -> None:
        self.values = [value for value in found.values if _is_set(value)]
        self.effort = effort
        alone = self.values[0] if len(self.values) == 1 and not found.several else None
        self.text = alone if isinstance(alone, str) else None

    def __bool__(self) -> bool:
        return bool(self.values)

    def equal(self, value: object) -> bool:
        """Say whether one of the things is this value; a pattern need only be in it."""
        if patterns.is_pattern(value):
            return self._match(str(value))
        return bool(self._keys & set(_keys(value, wanted=True)))

    def contain(self, value: object) -> bool:
        """Say whether the value is one of the things, or is a part of the one text that stands there."""
        if self._folded is None or patterns.is_pattern(value):
            return self.equal(value)
        self.effort.read(self._folded)
        return _fold(written(value)) in self._folded

    @cached_property
    def _folded(self) -> str | None:
        if self.text is None:
            return None
        self.effort.read(self.text)
        return _fold(self.text)

    @cached_property
    def _keys(self) -> set[Key]:
        keys: set[Key] = set()
        for scalar in self._scalars():
            if isinstance(scalar, str):
                self.effort.read(scalar)
            keys.update(_keys(scalar))
        return keys

    def _match(self, value: str) -> bool:
        pattern = patterns.compiled(value)
        return any(self.effort.matches(pattern, written(scalar)) for scalar in self._scalars())

    def _scalars(self) -> Iterator[object]:
        for value in self.values:
            self.effort.spend()
            yield from _names_of(value) if isinstance(value, Mapping) else (value,)


def written(value: object) -> str:
    """Return a value as a person writes it: false, 3, sev1."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 10_000:  # Python refuses to write it out
        return "a number of thousands of digits"
    return str(value)


def shown(values: Iterable[object]) -> list[str]:
    """Return the first values as texts, each cut short, and how many more there are."""
    known = list(values)
    texts = [cut(_described(value)) for value in known[:SHOWN]]
    return [*texts, f"… and {len(known) - SHOWN} more"] if len(known) > SHOWN else texts


def _described(value: object) -> str:
    if not isinstance(value, Mapping):
        return written(value)
    names = list(_names_of(value))
    keys = ", ".join(list(map(str, value))[:SHOWN])
    return written(names[0]) if names else f"an object with {keys}"


def cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"


def _is_set(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return value is not None and value != "" and not (isinstance(value, str) and value.isspace())


def _names_of(value: Mapping[str, Any]) -> Iterator[object]:
    for name in NAMES:
        known = value.get(name)
        if isinstance(known, str | int | float) and _is_set(known):
            yield known


def _fold(text: str) -> str:
    return text.strip().casefold()


def _keys(value: object, *, wanted: bool = False) -> Iterator[Key]:
    """Yield what two values have in common when they are the same.

    Two numbers are the same by what they are worth, 1 and 1.0, and so are a number and a text; two texts are the same
    by their letters, since version 1.10 is not 1.1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = _fold(written(value))
        yield "text", text
        if _NUMBER.fullmatch(text):
            yield ("number" if wanted else "text worth"), float(text) if "." in text else int(text)
    else:
        yield "number", value
        if wanted:
            yield "text worth", value
