"""Filters with regular expressions, kept from running for ever.

Python's `re` cannot be interrupted and backtracks. So the work a pattern could cause is estimated before it
starts: every place where the pattern may choose is a border that could stand anywhere in the text. A pattern
that could cost too much leaves the value alone, with a warning: a mail without a tidied title is better than none.

Patterns are written as for Ruby, whose Liquid this is: what it writes differently is put in Python's way.
"""

import math
import re
from collections.abc import Callable
from functools import lru_cache
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from liquid.filter import with_context

from .values import Match, to_text

STEPS = 50_000_000
TEXT_LIMIT = 10_000
PATTERN_LIMIT = 500
RESULT_LIMIT = 100_000
REFERENCES = {kinds.GROUPREF, kinds.GROUPREF_EXISTS}
REPEATS = {kinds.MAX_REPEAT, kinds.MIN_REPEAT, kinds.POSSESSIVE_REPEAT}
FLAGS = {"i": re.IGNORECASE, "m": re.DOTALL, "x": re.VERBOSE}
HEXADECIMAL = "0-9a-fA-F"
# A set of characters as a whole, an escaped character, the beginning of a named group.
RUBY = re.compile(r"(?P<set>\[\^?\]?(?:\\.|[^\\\]])*\])|\\(?P<escaped>.)|(?P<named>\(\?<(?=[A-Za-z_]))", re.DOTALL)


@lru_cache(maxsize=256)
def compiled(pattern: str, flags: str = "") -> re.Pattern[str]:
    if len(pattern) > PATTERN_LIMIT:
        raise ValueError(f"a pattern may have {PATTERN_LIMIT} characters")
    try:
        return re.compile(_in_python(pattern), _flags(flags))
    except re.error as error:
        raise ValueError(f"the pattern {pattern} is wrong: {error}") from error


def _flags(letters: str) -> int:
    flags = re.MULTILINE  # in Ruby ^ and $ are always the borders of a line
    for letter in letters:
        if letter not in FLAGS:
            raise ValueError(f'a pattern knows the flags i, m and x, not "{letter}"')
        flags |= FLAGS[letter]
    return int(flags)


def _in_python(pattern: str) -> str:
    return RUBY.sub(_part_in_python, pattern)


def _part_in_python(found: re.Match[str]) -> str:
    if found["named"]:
        return "(?P<"
    if found["set"]:
        return re.sub(
            r"\\(.)", lambda inner: HEXADECIMAL if inner[1] == "h" else inner[0], found["set"], flags=re.DOTALL
        )
    return {"z": r"\Z", "h": f"[{HEXADECIMAL}]"}.get(found["escaped"], found[0])


@lru_cache(maxsize=256)
def choices(pattern: str, flags: str = "") -> float:
    """Return how many places of the pattern may choose; infinite when a repetition repeats them."""
    return _choices(parser.parse(_in_python(pattern), _flags(flags)))


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


def _affordable(pattern: str, text: str, flags: str) -> bool:
    compiled(pattern, flags)
    borders = choices(pattern, flags) + 1
    if math.isinf(borders) or borders > 40 or len(text) > TEXT_LIMIT:
        return False
    return math.comb(len(text) + int(borders), int(borders)) <= STEPS


def _run(
    action: Callable[[re.Pattern[str], str], object],
    *,
    value: object,
    pattern: object,
    flags: object = "",
    otherwise: object,
    context: Any,
) -> Any:
    text, rule, letters = to_text(value), to_text(pattern), to_text(flags)
    if _affordable(rule, text, letters):
        return action(compiled(rule, letters), text)
    context.warn(f"the pattern {rule} could run too long on this text and was not used")
    return otherwise


def _replacer(*, once: bool) -> Callable[..., object]:
    @with_context
    def replacer(value: object, pattern: object, replacement: object = "", *, context: Any) -> object:
        new = to_text(replacement)[:PATTERN_LIMIT]

        def action(rule: re.Pattern[str], text: str) -> str:
            length = 0

            def put(match: re.Match[str]) -> str:
                nonlocal length
                put_in = _expanded(match, new)
                length += len(put_in)
                if length > RESULT_LIMIT:
                    raise ValueError(f"the result is longer than {RESULT_LIMIT} characters")
                return put_in

            return rule.sub(put, text, count=int(once))

        return _run(action, value=value, pattern=pattern, otherwise=to_text(value), context=context)

    return replacer


def _expanded(match: re.Match[str], replacement: str) -> str:
    r"""Put groups in place of \1 to \9; nothing else in a replacement is special."""
    return re.sub(r"\\([0-9])", lambda found: match[int(found[1])] or "", replacement)


@with_context
def regex_match(value: object, pattern: object, flags: object = "", *, context: Any) -> object:
    """Return the first match and its groups, or None."""

    def action(rule: re.Pattern[str], text: str) -> Match | None:
        match = rule.search(text)
        return Match(match.group(), *match.groups()) if match else None

    return _run(action, value=value, pattern=pattern, flags=flags, otherwise=None, context=context)


@with_context
def regex_match_all(value: object, pattern: object, flags: object = "", *, context: Any) -> object:
    def action(rule: re.Pattern[str], text: str) -> list[str]:
        return [match.group() for match in rule.finditer(text)]

    return _run(action, value=value, pattern=pattern, flags=flags, otherwise=[], context=context)


FILTERS: dict[str, Callable[..., object]] = {
    "regex_replace": _replacer(once=False),
    "regex_replace_first": _replacer(once=True),
    "regex_remove": _replacer(once=False),
    "regex_remove_first": _replacer(once=True),
    "regex_match": regex_match,
    "regex_match_all": regex_match_all,
}
