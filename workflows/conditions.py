"""Does this event satisfy these conditions? Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

OPERATORS: dict[str, Callable[[list[str], list[str]], bool]] = {
    # found: the values in the event (one, several or none); wanted: the values of the condition
    "IS": lambda found, wanted: bool(set(found) & set(wanted)),
    "IS NOT": lambda found, wanted: not set(found) & set(wanted),
    "ANY": lambda found, wanted: True,
    "CONTAINS": lambda found, wanted: any(_contains(found, value) for value in wanted),
    "CONTAINS_ALL": lambda found, wanted: all(_contains(found, value) for value in wanted),
    "CONTAINS_NONE": lambda found, wanted: not any(_contains(found, value) for value in wanted),
    "NONE": lambda found, wanted: not set(found) & set(wanted),
    "SET": lambda found, wanted: bool(found),
    "UNSET": lambda found, wanted: not found,
}
NEED_NO_VALUES = ("ANY", "SET", "UNSET")


@dataclass(frozen=True, slots=True)
class Look:
    path: str
    operator: str
    values: list[Any]
    saw: list[str]
    held: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    held: bool
    looks: tuple[Look, ...]


def examine(conditions: Sequence[Mapping[str, Any]], data: Mapping[str, Any], *, join: str) -> Verdict:
    looks = tuple(
        Look(
            one["path"],
            one["operator"],
            list(one.get("values", [])),
            [str(leaf) for leaf in _leaves(look_up(data, one["path"]))],
            holds(one, data),
        )
        for one in conditions
    )
    return Verdict(satisfied(conditions, data, join=join), looks)


def satisfied(conditions: Sequence[Mapping[str, Any]], data: Mapping[str, Any], *, join: str) -> bool:
    """Join the conditions by ALL, ANY or NONE (every one must be false). No conditions are always satisfied."""
    if not conditions:
        return True
    answers = (holds(condition, data) for condition in conditions)
    if join == "ALL":
        return all(answers)
    return any(answers) if join == "ANY" else not any(answers)


def holds(condition: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Say whether one condition {path, operator, values} holds. Text is compared without regard to case."""
    found = [_text(value) for value in _leaves(look_up(data, condition["path"]))]
    wanted = [_text(value) for value in condition.get("values", [])]
    return OPERATORS[condition["operator"]]([value for value in found if value], wanted)


def look_up(data: Any, path: str) -> Any:
    """Return the value at a dotted path, through lists too ('incident.services.slug'); None where it is missing."""
    for index, name in enumerate(path.split(".")):
        if isinstance(data, list):
            rest = ".".join(path.split(".")[index:])
            return [found for item in data if (found := look_up(item, rest)) is not None]
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    if isinstance(value, Mapping):  # an object stands for its slug or name: raw_severity IS sev1
        return [value[key] for key in ("slug", "name", "id") if value.get(key)] or ["object"] * bool(value)
    return [] if value is None else [value]


def _text(value: Any) -> str:
    return str(value).strip().casefold()


def _contains(found: list[str], value: str) -> bool:
    return any(value in text for text in found)
