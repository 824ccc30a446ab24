"""JSONPath (RFC 9535), kept from running for ever: every value that a query takes out of the data is counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, SupportsIndex

import regex
from iregexp_check import check as is_iregexp
from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError, JSONPathQuery
from jsonpath_rfc9535.function_extensions import ExpressionType, FilterFunction

from .effort import Effort, TooMuch
from .patterns import LONGEST

STEPS = 5  # what a value costs here, measured in steps of a dotted path
STEPS_OF_A_PATTERN = 100


class PathError(ValueError):
    """The path cannot be used. The text says where it is wrong."""


def find(data: Any, path: str, *, effort: Effort) -> tuple[list[Any], bool]:
    """Return the values that a path finds, and whether it may find several; raises PathError and TooMuch."""
    query = _compiled(path, effort)
    try:
        nodes = [node.value for node in query.finditer(_counted(data, effort))]
    except (JSONPathError, RecursionError) as error:
        raise TooMuch("The event is nested too deep for this JSONPath.") from error
    return nodes, not query.singular_query()


def check(path: str) -> None:
    _compiled(path, Effort())


def _compiled(path: str, effort: Effort) -> JSONPathQuery:
    try:
        return _Environment(effort).compile(path)
    except JSONPathError as error:
        place = f"Character {error.token.index + 1}" if error.token else "Somewhere"
        raise PathError(f"{place} of the JSONPath {path}: {error.args[0]}.") from error
    except RecursionError as error:
        raise PathError(f"The JSONPath {path} is nested too deep.") from error


class _Environment(JSONPathEnvironment):
    """The functions of the RFC, those with regular expressions under the limits of our own."""

    def __init__(self, effort: Effort) -> None:
        self.effort = effort
        super().__init__()

    def setup_function_extensions(self) -> None:
        super().setup_function_extensions()
        self.function_extensions["match"] = _Regular(self.effort, whole=True)
        self.function_extensions["search"] = _Regular(self.effort, whole=False)


class _Regular(FilterFunction):
    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]
    return_type = ExpressionType.LOGICAL

    def __init__(self, effort: Effort, *, whole: bool) -> None:
        self.effort, self.whole = effort, whole

    def __call__(self, text: object, pattern: object) -> bool:
        self.effort.spend(STEPS_OF_A_PATTERN)
        if not isinstance(text, str) or not isinstance(pattern, str):
            return False
        if len(pattern) > LONGEST or not is_iregexp(pattern):  # it may come from the event itself
            return False
        try:
            return self.effort.matches(regex.compile(pattern), text, whole=self.whole)
        except regex.error:
            return False


def _counted(value: Any, effort: Effort) -> Any:
    """Return lists and objects as ones that count what is taken out of them, and that count in their turn."""
    if isinstance(value, dict):
        return _Object(value, effort)
    return _List(value, effort) if isinstance(value, list) else value


class _Object(dict[str, Any]):
    __slots__ = ("effort",)

    def __init__(self, values: dict[str, Any], effort: Effort) -> None:
        effort.spend(1 + len(values) // 8)
        super().__init__(values)
        self.effort = effort

    def __getitem__(self, name: str) -> Any:
        return _counted(super().__getitem__(name), self.effort)

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        for name, value in super().items():
            self.effort.spend(STEPS)
            yield name, _counted(value, self.effort)


class _List(list[Any]):
    __slots__ = ("effort",)

    def __init__(self, values: list[Any], effort: Effort) -> None:
        effort.spend(1 + len(values) // 8)
        super().__init__(values)
        self.effort = effort

    def __getitem__(self, place: SupportsIndex | slice) -> Any:
        return _counted(super().__getitem__(place), self.effort)

    def __iter__(self) -> Iterator[Any]:
        for value in super().__iter__():
            self.effort.spend(STEPS)
            yield _counted(value, self.effort)
