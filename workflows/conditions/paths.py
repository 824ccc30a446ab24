"""Where a condition looks: a dotted path, `incident.raw_services.slug`, or a JSONPath, `$.alert.data[0].name`.

A dotted path goes through lists. A key that holds dots, brackets or quotes stands in brackets, as JSON writes texts:
`alert.labels["kubernetes.io/name"]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from . import jsonpath
from .effort import Effort
from .jsonpath import PathError

LONGEST = 500
_STEP = re.compile(r'\.(?P<name>[^.\[\]"]+)|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]')
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACES = re.compile(r"\s*(?:\{\{-?|-?\}\})\s*")
HOW = 'write names with dots between them, incident.severity; a name with dots or brackets as ["a.b"]; places as $.a[0]'


@dataclass(slots=True)
class Found:
    """What stands at a path. `several`: it is a list, or a list is on the way there."""

    values: list[Any] = field(default_factory=list)
    several: bool = False


def find(data: Any, *, path: str, effort: Effort) -> Found:
    """Return what stands there, lists within lists made one; raises PathError and TooMuch."""
    if path.startswith("$"):
        values, several = jsonpath.find(data, path, effort=effort)
        found = Found(values, several)
    else:
        found = Found([data])
        for name in names_of(path):
            found.values = [
                item[name] for item in _elements(found, effort) if isinstance(item, Mapping) and name in item
            ]
    found.values = list(_elements(found, effort))
    return found


def look_up(data: Any, steps: Sequence[str | int]) -> Any:
    """Return what stands at names, and places in lists; None where it is missing.

    A name goes through lists and gives one for each on the way. For payloads of others, whose depth is limited already:
    no JSONPath, and nothing is counted.
    """
    if not steps or data is None:
        return data
    step, rest = steps[0], steps[1:]
    if isinstance(data, list) and isinstance(step, str):
        return [found for item in data if (found := look_up(item, steps)) is not None]
    return look_up(_at(data, step), rest)


def _at(data: Any, step: str | int) -> Any:
    if isinstance(step, int):
        is_there = isinstance(data, list) and -len(data) <= step < len(data)
        return data[step] if is_there else None
    return data.get(step) if isinstance(data, Mapping) else None


def check(path: str) -> None:
    """Raise PathError where the path is wrong: its text says where, and how to write it."""
    if len(path) > LONGEST:
        raise PathError(f"The path is longer than {LONGEST} characters.")
    if path.startswith("$"):
        jsonpath.compiled(path)
    else:
        _refuse_braces(path)
        names_of(path)


def _refuse_braces(path: str) -> None:
    """Refuse what Liquid would fill in, as nothing does here. A name that has such braces stands in quotes."""
    if _BRACES.search(_QUOTED.sub("", path)):
        meant = _BRACES.sub("", path).partition("|")[0].strip()
        raise PathError(f"Write the path without braces{f': {meant}' if meant else ', for example incident.severity'}.")


@lru_cache(maxsize=1024)
def names_of(path: str) -> tuple[str, ...]:
    """Return the names that a dotted path consists of; raises PathError."""
    text = path if path.startswith("[") else f".{path}"
    names, place = [], 0
    while place < len(text):
        step = _STEP.match(text, place)
        if not step:
            raise PathError(f"Character {max(place - len(text) + len(path), 0) + 1} of the path {path}: {HOW}.")
        names.append(step["name"] or _unquoted(step["quoted"], path=path))
        place = step.end()
    return tuple(names)


def quoted(names: tuple[str, ...]) -> str:
    """Return the dotted path of these names."""
    parts = [f".{name}" if _is_plain(name) else f"[{json.dumps(name)}]" for name in names]
    if names[0].startswith("$"):  # or it would be a JSONPath
        parts[0] = f"[{json.dumps(names[0])}]"
    return "".join(parts).removeprefix(".")


def _is_plain(name: str) -> bool:
    is_step = bool(_STEP.fullmatch(f".{name}")) and not _BRACES.search(name)
    return is_step and name.isprintable() and name == name.strip()


def _unquoted(text: str, *, path: str) -> str:
    try:
        name: str = json.loads(text)
    except ValueError as error:
        raise PathError(f"{text} in the path {path} is no JSON text: write \\\\ for a backslash.") from error
    return name


def _elements(found: Found, effort: Effort) -> Iterator[Any]:
    """Yield the values, and in place of each list what is in it, without recursion: it may be nested deep."""
    waiting = [iter(found.values)]
    while waiting:
        for value in waiting[-1]:
            effort.spend()
            if isinstance(value, list):
                found.several = True
                waiting.append(iter(value))
                break
            yield value
        else:
            waiting.pop()
