"""The mapping of an endpoint: lines that people write, `alert.title = $.message`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from workflows import conditions, events

from .base import Foreign, Reading, Unreadable
from .parts import digest, fitting

_TARGET = re.compile(r"[A-Za-z0-9_-]{1,60}(?:\.[A-Za-z0-9_-]{1,60}){0,5}\Z")
_STEP = re.compile(
    r"""\.(?P<name>[^.\s\[\]]+) | \["(?P<double>[^"\\]+)"\] | \['(?P<single>[^'\\]+)'\] | \[(?P<place>-?\d{1,6})\]""",
    re.VERBOSE,
)
_NAMED = "event."  # `event.fired = alert_created`: what the sender calls 'fired'
EXAMPLE = "alert.title = $.message"


@dataclass(frozen=True, slots=True)
class Rules:
    """A mapping that was read. `event` is a name of ours or a path; `names` turn the sender's words into our names."""

    event: str
    id: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)


def parse_mapping(text: str) -> Rules:
    """Return the rules of lines `left = right`; raises ValueError that names the line and says what to do."""
    event, identity, names, data = "", "", dict[str, str](), dict[str, str]()
    for number, left, right in _lines(text, example=EXAMPLE):
        if left == "event":
            event = _event(right, number=number)
        elif left == "id":
            identity = _identity(right, number=number)
        elif left.startswith(_NAMED):
            names[left.removeprefix(_NAMED)] = _name(right, number=number)
        else:
            data[left] = _value(left, right, others=data, number=number)
    rules = Rules(event, identity, names, data)
    _check_whole(rules)
    return rules


def _lines(text: str, *, example: str) -> Iterator[tuple[int, str, str]]:
    """Yield number, left and right of each line; nothing may stand on the left twice."""
    seen: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        left, sign, right = (part.strip() for part in line.partition("="))
        if (not left and not sign) or left.startswith("#"):
            continue
        if not left or not right:
            raise ValueError(f"Line {number}: write a name, '=' and a value, for example: {example}")
        if left in seen:
            raise ValueError(f"Line {number}: '{left}' stands in line {seen[left]} already. Keep one of the two.")
        seen[left] = number
        yield number, left, right


def _event(right: str, *, number: int) -> str:
    return _path(right, number=number) if right.startswith("$") else _name(right, number=number)


def _name(right: str, *, number: int) -> str:
    if not is_ours(right):
        raise ValueError(
            f"Line {number}: '{right}' is not an event. Write for example alert_created, a name of your own with a dot "
            "such as deploy.finished, or the path of a value such as $.kind"
        )
    return right


def _identity(right: str, *, number: int) -> str:
    if not right.startswith(("$.", "$[")):
        raise ValueError(f"Line {number}: 'id' needs the path of what differs for each event, for example: id = $.uuid")
    return _path(right, number=number)


def _value(left: str, right: str, *, others: Mapping[str, str], number: int) -> str:
    if not _TARGET.match(left):
        raise ValueError(
            f"Line {number}: '{left}' cannot be a name. Use letters, digits, _ and -, with dots between, for example: "
            f"{EXAMPLE}"
        )
    for other in others:
        if left.startswith(f"{other}.") or other.startswith(f"{left}."):
            raise ValueError(f"Line {number}: '{left}' and '{other}' cannot both be set, one holds the other.")
    return _path(right, number=number) if right.startswith("$") else right


def _path(right: str, *, number: int) -> str:
    if _steps(right) is None:
        raise ValueError(
            f"Line {number}: '{right}' is not a path. Write $ and names after dots, such as $.alert.title; a name with "
            'dots or brackets as $.labels["a.b"]; a place in a list as $.alerts[0].title'
        )
    return right


@lru_cache(maxsize=1024)
def _steps(path: str) -> tuple[str | int, ...] | None:
    """Return the names and places after the $ of a path; None where it is none."""
    steps, place = list[str | int](), 1
    while place < len(path):
        if not (step := _STEP.match(path, place)):
            return None
        steps.append(int(step["place"]) if step["place"] else step["name"] or step["double"] or step["single"])
        place = step.end()
    return tuple(steps)


def _check_whole(rules: Rules) -> None:
    if not rules.event:
        raise ValueError("There is no line for the event. Write for example: event = alert_created")
    if rules.names and not rules.event.startswith("$"):
        raise ValueError("Lines 'event.… =' need the path of the sender's own word, for example: event = $.kind")
    kinds = [kind for kind in events.TRIGGERS if kind not in (events.CUSTOM, "simple")]
    strangers = [left for left in rules.data if left.split(".")[0] not in kinds]
    if strangers and is_catalogued(rules.event):
        raise ValueError(f"'{strangers[0]}' belongs to no object. Begin with one of {', '.join(kinds)} and a dot.")


def is_catalogued(name: str) -> bool:
    """Say whether it is one of our own events, not a name that people made up."""
    return any(events.is_trigger(name, trigger_type=kind) for kind in events.TRIGGERS if kind != events.CUSTOM)


def is_ours(name: str) -> bool:
    return is_catalogued(name) or events.is_trigger(name, trigger_type=events.CUSTOM)


def mapped(payload: Any, rules: Rules, *, key: str = "") -> Reading:
    """Return what becomes of a payload. `key` tells repeats where the rules name no `id`."""
    word = _found(payload, rules.event)
    if not isinstance(word, str) or not word:
        raise Unreadable(f"The event cannot be told: there is no text at {rules.event}.")
    name = rules.names.get(word, word)
    if not is_ours(name):
        return Reading(ignored=f"'{word[:60]}' is none of our events, and no line of the mapping makes one of it.")
    own_key = _scalar(_found(payload, rules.id)) if rules.id else ""
    if rules.id and not own_key:
        raise Unreadable(f"There is no text or number at {rules.id}, which tells repeats apart.")
    # What begins and ends something may have one id, that of what it is about.
    told = fitting(f"{name} {own_key}" if own_key else key) or digest(payload)
    return Reading((Foreign(name, told, _data(payload, rules, name=name)),))


def _scalar(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _data(payload: Any, rules: Rules, *, name: str) -> dict[str, Any]:
    """Return what the lines set; the payload itself is always there, too."""
    replaces = bool(rules.data) and is_catalogued(name)
    data: dict[str, Any] = dict(payload) if isinstance(payload, dict) and not replaces else {}
    for target, source in rules.data.items():
        _put(data, target, _found(payload, source))
    kind = kind_of(name, data)
    told = data.get(kind) or {}
    if kind != events.CUSTOM and isinstance(told, dict) and (rules.data or not told):
        data[kind] = {"data": payload, **told}
    return data


def kind_of(name: str, data: dict[str, Any]) -> str:
    """Return whose event it is, though the data may not tell."""
    able = [kind for kind in events.TRIGGERS if events.is_trigger(name, trigger_type=kind)]
    own = [kind for kind in able if name.startswith(f"{kind}_")]
    return events.object_type(events.Incoming(name, data)) or (own or able)[0]


def _put(data: dict[str, Any], target: str, value: Any) -> None:
    """Set a dotted name; what the payload has not is not set, so that a template can warn about it."""
    *above, last = target.split(".")
    for part in above:
        inner = data.get(part)
        data[part] = dict(inner) if isinstance(inner, dict) else {}  # a copy: the payload stays as it came
        data = data[part]
    if value is not None:
        data[last] = value


def _found(payload: Any, source: str) -> Any:
    return conditions.look_up(payload, _steps(source) or ()) if source.startswith("$") else source


def parse_severities(text: str) -> dict[str, str]:
    """Return the table of lines `critical = sev0`, from the severest; raises ValueError that names the line."""
    return {left.casefold(): right for _, left, right in _lines(text, example="critical = sev0")}
