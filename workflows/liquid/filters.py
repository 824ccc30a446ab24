"""The filters beside the standard ones, and standard ones whose traps are mended."""

import html
import json
import random
import re
from collections.abc import Callable, Mapping, Sized
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import inflection
from liquid.builtin.filters.string import slice_ as standard_slice
from liquid.filter import math_filter, num_arg, with_context
from liquid.undefined import Undefined

from . import dates, patterns, tables
from .shielding import TrustedText, shield
from .values import Match, as_list, dig, present, to_text

Filter = Callable[..., object]
LONGEST_WORD = 100
EXACT = Context(prec=400)  # the digits of the greatest float, and some behind the point
LONGEST_HTML = 8_000  # the parser takes time by the square of what is wrong in it: half a second for the worst of these


def find(value: object, path: object, wanted: object = None) -> object:
    """Return the first element whose value at the dotted path is the wanted one, or is anything at all.

    A number is the wanted one when it is printed alike: `find: 'id', '2'`.
    """
    return next((item for item in as_list(value) if _matches(item, path, wanted)), None)


def where(value: object, path: object, wanted: object = None) -> list[object]:
    return [item for item in as_list(value) if _matches(item, path, wanted)]


def _matches(item: object, path: object, wanted: object) -> bool:
    found = dig(item, str(path))
    if not present(wanted):
        return present(found) and found is not False
    return found == wanted or (isinstance(found, str | int | float) and to_text(found) == to_text(wanted))


def get(value: object, path: object) -> object:
    return dig(value, str(path))


def map_(value: object, path: object) -> list[object]:
    return [dig(item, str(path)) for item in as_list(value)]


def flatten(value: object) -> list[object]:
    return [leaf for item in as_list(value) for leaf in (flatten(item) if isinstance(item, list | tuple) else [item])]


@with_context
def join(value: object, separator: object = " ", *, context: Any) -> str:
    """Return the elements in one line; a separator with markup, such as '<br>', keeps its meaning in a body."""
    texts = [to_text(item) for item in flatten(value)]
    if isinstance(separator, TrustedText) and context.env.shielding:
        return TrustedText(separator.join(text if isinstance(text, TrustedText) else shield(text) for text in texts))
    return to_text(separator).join(texts)


def sort(value: object, path: object = None) -> list[object]:
    """Return the elements in order, what is nothing last; as texts where they cannot be compared."""
    try:
        return _sorted(value, path, by=lambda found: found)
    except TypeError:
        return _sorted(value, path, by=to_text)


def sort_natural(value: object, path: object = None) -> list[object]:
    return _sorted(value, path, by=lambda found: to_text(found).casefold())


def _sorted(value: object, path: object, *, by: Callable[[object], Any]) -> list[object]:
    items, name = flatten(value), to_text(path)
    found = [(dig(item, name) if name else item, item) for item in items]
    there = sorted((pair for pair in found if present(pair[0])), key=lambda pair: by(pair[0]))
    return [item for _, item in [*there, *(pair for pair in found if not present(pair[0]))]]


def concat(value: object, other: object) -> list[object]:
    return as_list(value) + as_list(other)


def first(value: object) -> object:
    return next(iter(_elements(value)), None)


def last(value: object) -> object:
    return next(reversed(_elements(value)), None)


def _elements(value: object) -> list[object]:
    """Return a list of what there is; a text has no elements."""
    return [] if isinstance(value, str) and not isinstance(value, Match) else as_list(value)


def size(value: object) -> int:
    counted = value.parts if isinstance(value, Match) else value
    return len(counted) if isinstance(counted, Sized) else 0


def uniq(value: object, path: object = None) -> list[object]:
    """Return the elements without repetitions; compared as JSON, since objects have no hash."""
    seen: dict[str, object] = {}
    for item in as_list(value):
        key = dig(item, str(path)) if present(path) else item
        seen.setdefault(to_json(key), item)
    return list(seen.values())


def compact(value: object, path: object = None) -> list[object]:
    items = as_list(value)
    return [item for item in items if present(dig(item, str(path)) if present(path) else item)]


def to_values(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, Mapping) else as_list(value)


def slice_(value: object, *arguments: object) -> object:
    """Return the named keys of an object or of each object in a list; otherwise a part, as usual."""
    if isinstance(value, Mapping):
        return {str(key): value[key] for key in arguments if key in value}
    if isinstance(value, list) and arguments and not isinstance(arguments[0], int):
        return [slice_(item, *arguments) for item in value]
    return standard_slice(to_text(value) if not isinstance(value, list) else value, *arguments[:2])


def to_json(value: object) -> str:
    return json.dumps(None if isinstance(value, Undefined) else value, default=str, ensure_ascii=False)


def replace(value: object, old: object, new: object = "") -> str:
    return _replaced(to_text(value), to_text(old), to_text(new), count=-1)


def append(value: object, other: object) -> str:
    return to_text(value) + to_text(other)


def prepend(value: object, other: object) -> str:
    return to_text(other) + to_text(value)


@with_context
def escape(value: object, *, context: Any) -> str:
    """Return the text with its markup escaped; in a body it will be anyway, and only once."""
    return str(to_text(value)) if context.env.shielding else html.escape(to_text(value))


@with_context
def escape_once(value: object, *, context: Any) -> str:
    """Escape, but not what is escaped already."""
    return str(escape(html.unescape(to_text(value)), context=context))


def remove(value: object, old: object) -> str:
    return _replaced(to_text(value), to_text(old), "", count=-1)


def _replaced(text: str, old: str, new: str, *, count: int) -> str:
    """Replace, unless there is nothing to look for: that would put the new text between all letters."""
    if not old:
        return text
    if len(text) + text.count(old) * len(new) > 100_000:
        raise ValueError("replace: the result is too long")
    return text.replace(old, new, count)


@with_context
def newline_to_br(value: object, *, context: Any) -> str:
    text = to_text(value)
    shielded = shield(text) if context.env.shielding and not isinstance(text, TrustedText) else text
    return TrustedText(re.sub(r"\r\n?|\n", "<br>\n", shielded))


def dasherize(value: object) -> str:
    return to_text(value).replace("_", "-")


def parameterize(value: object, separator: object = "-") -> str:
    words = re.findall(r"[^\W_]+", to_text(value).casefold())
    return to_text(separator).join(words)


def camelize(value: object) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[_\s-]+", to_text(value)))


def titleize(value: object) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in humanize(value).split(" "))


def humanize(value: object) -> str:
    words = re.sub(r"_id$", "", to_text(value)).replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]


def pluralize(value: object) -> str:
    """Return the plural of an English word."""
    return inflection.pluralize(_word(value))


def singularize(value: object) -> str:
    """Return the singular of an English word."""
    return inflection.singularize(_word(value))


def _word(value: object) -> str:
    word = to_text(value)
    if len(word) > LONGEST_WORD:
        raise ValueError(f"this is no word: it has {len(word)} characters")
    return word


@math_filter
def round_(number: float, digits: object = 0) -> float:
    """Return the number rounded half away from zero, as Ruby does: Python makes 2 of 2.5."""
    if isinstance(number, int):
        return number
    places = int(num_arg(digits, default=0))
    rounded = Decimal(str(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, EXACT)
    return float(rounded) if places > 0 else int(rounded)


def shuffle(value: object) -> list[object]:
    return random.sample(as_list(value), k=len(as_list(value)))  # nosec B311 # an order for people, no secret


def html_to_markdown(value: object) -> str:
    """Return the Markdown of an HTML text, as other systems send it; its scripts and styles are left out."""
    text = to_text(value)
    if len(text) > LONGEST_HTML:
        raise ValueError(f"more than {LONGEST_HTML} characters of HTML")
    from .foreign_html import CONVERTER  # what it needs takes a tenth of a second to load, and few templates ask for it

    try:
        return str(CONVERTER.convert(text)).strip()
    except RecursionError as error:
        raise ValueError("the HTML is nested too deeply") from error


FILTERS: dict[str, Filter] = {
    "find": find,
    "where": where,
    "get": get,
    "map": map_,
    "flatten": flatten,
    "join": join,
    "sort": sort,
    "sort_natural": sort_natural,
    "concat": concat,
    "first": first,
    "last": last,
    "size": size,
    "uniq": uniq,
    "compact": compact,
    "to_values": to_values,
    "slice": slice_,
    "to_json": to_json,
    "replace": replace,
    "remove": remove,
    "append": append,
    "prepend": prepend,
    "escape": escape,
    "escape_once": escape_once,
    "newline_to_br": newline_to_br,
    "dasherize": dasherize,
    "parameterize": parameterize,
    "camelize": camelize,
    "titleize": titleize,
    "humanize": humanize,
    "pluralize": pluralize,
    "singularize": singularize,
    "round": round_,
    "shuffle": shuffle,
    "html_to_markdown": html_to_markdown,
    **dates.FILTERS,
    **patterns.FILTERS,
    **tables.FILTERS,
}
