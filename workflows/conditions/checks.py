"""What is wrong with a condition, and at which part of it. Texts say what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from . import paths, patterns
from .jsonpath import PathError
from .verdict import NEED_NO_VALUES, OPERATORS

MOST_CONDITIONS, MOST_VALUES, LONGEST_VALUE = 50, 100, 1000
# No database keeps the first or half a surrogate pair; the editor has one value in each line.
_UNWRITABLE = re.compile("[\x00\n\r\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """`part` is 'path', 'operator' or 'values'; '' where the condition as a whole is wrong."""

    text: str
    part: str = ""


def problem_of(condition: Any) -> Problem | None:
    if not isinstance(condition, dict) or set(condition) - {"path", "operator", "values"}:
        return Problem("It is an object with 'path', 'operator' and 'values'.")
    for part, check in (("path", _of_path), ("operator", _of_operator), ("values", _of_values)):
        if text := check(condition):
            return Problem(text, part)
    return None


def _of_path(condition: dict[str, Any]) -> str:
    path = condition.get("path")
    if not isinstance(path, str) or not path.strip(". "):
        return "'path' names a value of the event, for example incident.severity."
    if _UNWRITABLE.search(path) or path != path.strip():
        return "The path is one line of text, without blanks around it."
    try:
        paths.check(path)
    except PathError as error:
        return str(error)
    return ""


def _of_operator(condition: dict[str, Any]) -> str:
    if not isinstance(condition.get("operator"), str) or condition["operator"] not in OPERATORS:
        return f"'operator' is one of {', '.join(OPERATORS)}."
    return ""


def _of_values(condition: dict[str, Any]) -> str:
    values = condition.get("values", [])
    if not isinstance(values, list) or not all(isinstance(item, str | int | float | bool) for item in values):
        return "'values' is a list of texts or numbers."
    if len(values) > MOST_VALUES:
        return f"There are {len(values)} values, and {MOST_VALUES} at the most: a pattern, /a|b/, stands for many."
    if not values and condition["operator"] not in NEED_NO_VALUES:
        return f"'{condition['operator']}' needs at least one value."
    problems = ((number, _of_value(value)) for number, value in enumerate(values, start=1))
    return next((f"Value {number}: {text}" for number, text in problems if text), "")


def _of_value(value: object) -> str:
    text = str(value) if isinstance(value, str) else "0"
    if not text.strip():
        return "It is blank: for what is blank or missing there is the operator UNSET."
    if len(text) > LONGEST_VALUE or _UNWRITABLE.search(text):
        return f"A value is one line of {LONGEST_VALUE} characters at the most."
    try:
        if patterns.is_pattern(value):
            patterns.compiled(text)
    except patterns.PatternError as error:
        return str(error)
    return ""
