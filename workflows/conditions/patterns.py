"""Values that are regular expressions: /pattern/, or /pattern/i where capitals do not matter.

The package `regex` reads them as Python's `re` does, and can be stopped, which `re` cannot.
"""

from __future__ import annotations

from functools import lru_cache

import regex

LONGEST = 500
_WRITTEN = regex.compile(r"/(?P<pattern>.+)/(?P<capitals>i?)", regex.DOTALL)
_BARE_SLASH = regex.compile(r"(?:[^\\/]|\\.)*(?P<slash>/)", regex.DOTALL)


class PatternError(ValueError):
    """The pattern cannot be used. The text says where it is wrong."""


def is_pattern(value: object) -> bool:
    return isinstance(value, str) and bool(_WRITTEN.fullmatch(value.strip()))


@lru_cache(maxsize=512)
def compiled(value: str) -> regex.Pattern[str]:
    """Return the pattern of a value that is one; raises PatternError."""
    written = _WRITTEN.fullmatch(value.strip())
    if not written:
        raise PatternError(f"'{value}' is no pattern.")
    pattern = written["pattern"]
    if len(pattern) > LONGEST:
        raise PatternError(f"The pattern is longer than {LONGEST} characters.")
    if bare := _BARE_SLASH.match(pattern):
        place = bare.start("slash") + 1
        raise PatternError(f"Character {place} of the pattern {pattern}: write a slash within a pattern as \\/.")
    return _compile(pattern, flags=regex.IGNORECASE if written["capitals"] else 0)


def _compile(pattern: str, *, flags: int) -> regex.Pattern[str]:
    try:
        return regex.compile(pattern, flags, cache_pattern=False)
    except regex.error as error:
        place = f"Character {error.pos + 1} of the pattern" if error.pos is not None else "The pattern"
        raise PatternError(f"{place} {pattern}: {error.msg}.") from error
    except (RecursionError, OverflowError, MemoryError) as error:
        raise PatternError(f"The pattern {pattern} is too large.") from error
