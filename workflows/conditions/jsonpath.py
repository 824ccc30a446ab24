"""JSONPath (RFC 9535), kept from running for ever: every value that a query takes out of the data is counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
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
    query = compiled(path)
    token = _EFFORT.set(effort)
    try:
        nodes = [node.value for node in query.finditer(_counted(data, effort))]
    except (JSONPathError, RecursionError) as error:
        raise TooMuch("The event is nested too deep for this JSONPath.") from error
    finally:
        _EFFORT.reset(token)
    return nodes, not query.singular_query()


@lru_cache(maxsize=256)
def compiled(path: str) -> JSONPathQuery:
    """Return the query of a path; raises PathError."""
    try:
        return _ENVIRONMENT.compile(path)
    except JSONPathError as error:
        place = f"Character {error.token.index + 1}" if error.token else "Somewhere"
        raise PathError(f"{place} of the JSONPath {path}: {error.args[0]}.") from error
    except RecursionError as error:
        raise PathError(f"The JSONPath {path} is nested too deep.") from error


class _Regular(FilterFunction):
    """match() and search() of the RFC, under the limits of our own patterns."""

    arg_types = [ExpressionType.VALUE, ExpressionType.VALUE]
    return_type = ExpressionType.LOGICAL

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole

    def __call__(self, text: object, pattern: object) -> bool:
        effort = _EFFORT.get()
        effort.spend(STEPS_OF_A_PATTERN)
        if not isinstance(text, str) or not isinstance(pattern, str):
            return False
        if len(pattern) > LONGEST or not is_iregexp(pattern):  # it may come from the event itself
            return False
        try:
            return effort.matches(regex.compile(pattern), text, whole=self.whole)
        except regex.error:
            return False


_EFFORT: ContextVar[Effort] = ContextVar("effort")  # of the search under way: a function is given its arguments alone
_ENVIRONMENT = JSONPathEnvironment()
_ENVIRONMENT.function_extensions |= {"match": _Regular(whole=True), "search": _Regular(whole=False)}


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
