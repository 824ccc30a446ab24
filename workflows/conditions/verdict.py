"""Join conditions, and say of each what it saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .effort import Effort, TooMuch
from .jsonpath import PathError
from .matching import Things, cut, shown
from .paths import find
from .patterns import PatternError

# things: what stands at the path; wanted: the values of the condition
OPERATORS: dict[str, Callable[[Things, Sequence[Any]], bool]] = {
    "IS": lambda things, wanted: any(map(things.equal, wanted)),
    "IS NOT": lambda things, wanted: not any(map(things.equal, wanted)),
    "ANY": lambda things, wanted: True,
    "CONTAINS": lambda things, wanted: any(map(things.contain, wanted)),
    "CONTAINS_ALL": lambda things, wanted: all(map(things.contain, wanted)),
    "CONTAINS_NONE": lambda things, wanted: not any(map(things.contain, wanted)),
    "NONE": lambda things, wanted: not any(map(things.equal, wanted)),
    "SET": lambda things, wanted: bool(things),
    "UNSET": lambda things, wanted: not things,
}
NEED_NO_VALUES = ("ANY", "SET", "UNSET")


@dataclass(frozen=True, slots=True)
class Look:
    """What one condition saw. `error` says why it could not be told; then it does not hold."""

    path: str
    operator: str
    values: tuple[Any, ...]
    saw: list[str]
    held: bool
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON to be stored, its values cut short as well; `error` only where there is one."""
        values = [cut(value) if isinstance(value, str) else value for value in self.values]
        known = asdict(self) | {"values": values}
        return known if self.error else {name: value for name, value in known.items() if name != "error"}


@dataclass(frozen=True, slots=True)
class Verdict:
    held: bool
    looks: tuple[Look, ...] = ()


def examine(conditions: Sequence[Mapping[str, Any]], data: Mapping[str, Any], *, join: str) -> Verdict:
    """Join valid conditions by ALL, ANY or NONE (every one must be false). No conditions are always satisfied.

    It never raises and takes a second at the most. A condition that could not be told holds nowhere: neither it nor,
    with NONE, its contrary sets anything off.
    """
    effort = Effort()
    looks = tuple(_look(condition, data, effort) for condition in conditions)
    return Verdict(_joined(looks, join) if looks else True, looks)


def _joined(looks: Sequence[Look], join: str) -> bool:
    if join == "NONE":
        return not any(look.held or look.error for look in looks)
    return all(look.held for look in looks) if join == "ALL" else any(look.held for look in looks)


def _look(condition: Mapping[str, Any], data: Mapping[str, Any], effort: Effort) -> Look:
    path, operator, values = condition["path"], condition["operator"], tuple(condition.get("values", ()))
    saw: list[str] = []
    try:
        things = Things(find(data, path=path, effort=effort), effort)
        saw = shown(things.values)
        return Look(path, operator, values, saw, OPERATORS[operator](things, values))
    except (PathError, PatternError, TooMuch) as error:
        return Look(path, operator, values, saw, held=False, error=str(error))
