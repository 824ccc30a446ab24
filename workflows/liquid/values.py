"""What values are in a template: how they print, when they are blank, and how a path finds them."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Self

from liquid.undefined import is_undefined

MAPPINGS = (dict, Mapping)  # the abstract one last: asking it is slow
COLLECTIONS = (list, tuple, *MAPPINGS)
TIME_FORMAT = "%Y-%m-%d %H:%M:%S %z"


class Match(str):
    """What a pattern has found: the text when it is printed or compared, a list of it and its groups for the rest."""

    def __new__(cls, text: str, *_: str | None) -> Self:
        return super().__new__(cls, text)

    def __init__(self, *parts: str | None) -> None:
        self.parts = list(parts)


def to_text(value: object) -> str:
    """Return what a template prints for the value."""
    if isinstance(value, str):
        return value
    if not present(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return _compound_to_text(value)


def _compound_to_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return "".join(to_text(item) for item in value)
    if isinstance(value, range):
        return f"{value.start}..{value.stop - 1}"
    if isinstance(value, datetime):
        return value.strftime(TIME_FORMAT).rstrip()
    if isinstance(value, dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    return value.isoformat() if isinstance(value, date) else str(value)


def flat_texts(value: object) -> list[str]:
    """Return the printed elements of a list, whatever its depth, or the one printed value."""
    if isinstance(value, list | tuple):
        return [text for item in value for text in flat_texts(item)]
    return [to_text(value)]


def present(value: object) -> bool:
    return value is not None and not is_undefined(value)


def is_blank(value: object) -> bool:
    """Return whether it is missing, nil, false, an empty list or object, or only white space."""
    if isinstance(value, str):
        return not value.strip()
    if not present(value):
        return True
    return value is False or (isinstance(value, COLLECTIONS) and not value)


def as_list(value: object) -> list[object]:
    """Return a list of what there is: nothing for nil, the one thing for anything but a list."""
    if isinstance(value, Match):
        return list(value.parts)
    if isinstance(value, list | tuple | range):
        return list(value)
    return [value] if present(value) else []


LONGEST_PATH = 20


def dig(value: object, path: str) -> object:
    """Return what stands at the dotted path, or None; a list is asked element by element."""
    if isinstance(value, MAPPINGS) and path in value:
        return value[path]
    keys = path.split(".")
    if len(keys) > LONGEST_PATH:
        raise ValueError(f"a path may have {LONGEST_PATH} parts")
    for key in keys:
        if value is None:
            break
        value = _step(value, key)
    return value


def _step(value: object, key: str) -> object:
    if isinstance(value, MAPPINGS):
        return value.get(key)
    if not isinstance(value, list | tuple):
        return None
    if key.lstrip("-").isdecimal():
        index = int(key)
        return value[index] if -len(value) <= index < len(value) else None
    return [_step(item, key) for item in value]
