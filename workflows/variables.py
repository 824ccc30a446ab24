"""What an event says: each value with the Liquid that prints it, and with the path of a condition. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from . import conditions

MOST = 300
SEEN = 3_000  # values of an event, for its paths
LONGEST = 60  # characters of a value that are shown
DEEPEST = 5
SHOWN_OF_A_LIST = 20


@dataclass(frozen=True, slots=True)
class Variable:
    """`liquid` prints it; `value` is what comes out with the sample, cut short."""

    liquid: str
    value: str


def of(data: Mapping[str, object]) -> list[Variable]:
    """Return the variables of some data, in its own order; of a list, the way to print all of it."""
    found: list[Variable] = []
    for variable in _walk("", data, depth=0):
        if len(found) == MOST:
            break
        found.append(variable)
    return found


def paths(data: Mapping[str, object]) -> list[str]:
    """Return where conditions may look: single values, lists, and objects that a slug, a name or an id stands for."""
    places = dict.fromkeys(islice(_places((), data), SEEN))
    written = (conditions.quoted(names) for names in places)
    return list(islice((path for path in written if len(path) <= conditions.LONGEST_PATH), MOST))


def _places(names: tuple[str, ...], value: object) -> Iterator[tuple[str, ...]]:
    if isinstance(value, list):
        yield names
        for item in value[:SHOWN_OF_A_LIST]:
            if isinstance(item, Mapping):
                yield from _places(names, item)
    elif not isinstance(value, Mapping):
        yield names
    else:
        if not value.keys().isdisjoint(conditions.NAMES) and len(names) > 1:
            yield names
        for key, inner in value.items() if len(names) < DEEPEST else ():
            yield from _places((*names, key), inner)


def _walk(path: str, value: object, *, depth: int) -> Iterator[Variable]:
    if isinstance(value, Mapping):
        for key, inner in value.items() if depth < DEEPEST else ():
            if str(key).isidentifier():  # others need brackets, which nobody clicks for
                yield from _walk(f"{path}.{key}" if path else str(key), inner, depth=depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield from _of_list(path, value)
    elif path:
        yield Variable(f"{{{{ {path} }}}}", _shown(value))


def _of_list(path: str, items: Sequence[object]) -> Iterator[Variable]:
    objects = [item for item in items[:SHOWN_OF_A_LIST] if isinstance(item, Mapping)]
    if not objects:
        yield Variable(f"{{{{ {path} | join: ', ' }}}}", _shown(", ".join(map(str, items[:SHOWN_OF_A_LIST]))))
        return
    for key, value in objects[0].items():
        if not str(key).isidentifier():
            continue
        if isinstance(value, list):
            yield Variable(f"{{{{ {path} | map: '{key}' | flatten | join: ', ' }}}}", "")
        elif not isinstance(value, Mapping):
            shown = ", ".join(_shown(item.get(key)) for item in objects)
            yield Variable(f"{{{{ {path} | map: '{key}' | join: ', ' }}}}", _shown(shown))


def _shown(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    text = text.lower() if isinstance(value, bool) else text
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
