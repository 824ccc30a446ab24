"""Filters with regular expressions, kept from running for ever.

Python's `re` cannot be interrupted and backtracks. So the work a pattern could cause is estimated before it
starts: every place where the pattern may choose is a border that could stand anywhere in the text. A pattern
that could cost too much leaves the value alone, with a warning: a mail without a tidied title is better than none.
"""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from liquid.filter import with_context

from .values import to_text

STEPS = 50_000_000
TEXT_LIMIT = 10_000
PATTERN_LIMIT = 500
RESULT_LIMIT = 100_000
REFERENCES = {kinds.GROUPREF, kinds.GROUPREF_EXISTS}
REPEATS = {kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT}


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    if len(pattern) > PATTERN_LIMIT:
        raise ValueError(f"a pattern may have {PATTERN_LIMIT} characters")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern} is wrong: {error}") from error


@lru_cache(maxsize=256)
def choices(pattern: str) -> float:
    """Return how many places of the pattern may choose; infinite when a repetition repeats them."""
    return _choices(parser.parse(pattern))


def _choices(part: Any) -> float:
    total = 0.0
    for operation, argument in part:
        if operation in REFERENCES:
            return math.inf
        if operation in REPEATS:
            total += _choices_of_repeat(*argument)
        elif operation is kinds.BRANCH:
            total += 1 + sum(_choices(branch) for branch in argument[1])
        else:
            total += sum(_choices(inner) for inner in _inner_parts(argument))
    return total


def _choices_of_repeat(least: int, most: int, inner: Any) -> float:
    inside = _choices(inner)
    if most is kinds.MAXREPEAT:
        return math.inf if inside else 1
    return int(most) * inside + (least != most)


def _inner_parts(argument: Any) -> list[Any]:
    candidates = argument if isinstance(argument, tuple) else (argument,)
    return [candidate for candidate in candidates if isinstance(candidate, parser.SubPattern)]


def _affordable(pattern: str, text: str) -> bool:
    compiled(pattern)
    borders = choices(pattern) + 1
    if math.isinf(borders) or borders > 40 or len(text) > TEXT_LIMIT:
        return False
    return math.comb(len(text) + int(borders), int(borders)) <= STEPS


def _run(
    action: Callable[[str, str], object], *, value: object, pattern: object, otherwise: object, context: Any
) -> Any:
    text, rule = to_text(value), to_text(pattern)
    if _affordable(rule, text):
        return action(rule, text)
    context.warn(f"the pattern {rule} could run too long on this text and was not used")
    return otherwise


def _replacer(*, once: bool) -> Callable[..., object]:
    @with_context
    def replacer(value: object, pattern: object, replacement: object = "", *, context: Any) -> object:
        new = to_text(replacement)[:PATTERN_LIMIT]

        def action(rule: str, text: str) -> str:
            length = 0

            def put(match: re.Match[str]) -> str:
                nonlocal length
                put_in = _expanded(match, new)
                length += len(put_in)
                if length > RESULT_LIMIT:
                    raise ValueError(f"the result is longer than {RESULT_LIMIT} characters")
                return put_in

            return compiled(rule).sub(put, text, count=int(once))

        return _run(action, value=value, pattern=pattern, otherwise=to_text(value), context=context)

    return replacer


def _expanded(match: re.Match[str], replacement: str) -> str:
    r"""Put groups in place of \1 to \9; nothing else in a replacement is special."""
    return re.sub(r"\\([0-9])", lambda found: match[int(found[1])] or "", replacement)


@with_context
def regex_match(value: object, pattern: object, *, context: Any) -> object:
    def action(rule: str, text: str) -> str | None:
        match = compiled(rule).search(text)
        return match.group() if match else None

    return _run(action, value=value, pattern=pattern, otherwise=None, context=context)


@with_context
def regex_match_all(value: object, pattern: object, *, context: Any) -> object:
    def action(rule: str, text: str) -> list[str]:
        return [match.group() for match in compiled(rule).finditer(text)]

    return _run(action, value=value, pattern=pattern, otherwise=[], context=context)


FILTERS: dict[str, Callable[..., object]] = {
    "regex_replace": _replacer(once=False),
    "regex_replace_first": _replacer(once=True),
    "regex_remove": _replacer(once=False),
    "regex_remove_first": _replacer(once=True),
    "regex_match": regex_match,
    "regex_match_all": regex_match_all,
}
