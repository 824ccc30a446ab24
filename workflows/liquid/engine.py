"""Fill Liquid templates in a sandbox: no files, no Python objects, bounded in size and time."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from io import StringIO
from typing import Any, TextIO

from liquid import BoundTemplate, Environment, RenderContext
from liquid.builtin.tags.for_tag import ForLoop
from liquid.builtin.tags.tablerow_tag import TableRow
from liquid.exceptions import LiquidError, OutputStreamLimitError
from liquid.token import Token

from integrations.transports import machine

from . import filters, nodes
from .names import Names, names_alone
from .nodes import Buffer, Kind
from .shielding import plain
from .values import COLLECTIONS, Match

SOURCE_LIMIT = 100_000
OUTPUT_LIMIT = 200_000
VALUE_LIMIT = 100_000
LIST_LIMIT = 10_000
NUMBER_BITS = 10_000
SECONDS = 2.0
DATA = (str, *COLLECTIONS)
FORBIDDEN_TAGS = ("include", "render", "tablerow")
FORBIDDEN_FILTERS = ("safe",)
# They keep what is trusted apart from what is not.
KNOW_STAND_INS = ("join", "newline_to_br", "to_table", "default", "concat")
PLAIN_WORDS = (
    (re.compile("unexpected tag 'end of expression'"), "a closing tag is missing"),
    (re.compile("unexpected tag"), "unknown tag"),
    (re.compile(r"expected tag (\w+), found end of (?:expression|file|input)"), r"\1 is missing"),
    (re.compile("'"), '"'),
)
MISSING = re.compile(r"end(\w+) is missing")


class TemplateError(Exception):
    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Filled:
    text: str
    warnings: tuple[str, ...]


class SandboxContext(RenderContext):
    """A render context that knows the time, its deadline, and what was missing."""

    def __init__(self, template: BoundTemplate, *, now: datetime, deadline: float, **options: Any) -> None:
        super().__init__(template, **options)
        self.now = now
        self.deadline = deadline
        self.warnings: dict[str, None] = {}

    def check_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise LiquidError(f"took longer than {SECONDS:g} seconds", token=None)

    def warn(self, text: str) -> None:
        self.warnings[text] = None

    def get_item(self, obj: Any, key: Any) -> Any:
        # Only data: a Python object in an event must not become a door.
        if not isinstance(obj, DATA):
            raise TypeError("not a list or an object")
        return super().get_item(obj.parts if isinstance(obj, Match) else obj, key)

    def get(self, path: list[object], *, token: Token | None, default: object = nodes.UNDEFINED) -> object:
        self.check_time()
        return super().get(path, token=token, default=default)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        self.check_time()
        function = super().filter(name, token)
        if getattr(self.env, "shielding", False) and name not in KNOW_STAND_INS:
            function = partial(_with_values_themselves, function)
        return partial(_guarded, function)

    @contextmanager
    def loop(self, namespace: Mapping[str, object], forloop: ForLoop | TableRow) -> Iterator[RenderContext]:
        self.check_time()
        with super().loop(namespace, forloop) as context:
            yield context

    def get_buffer(self, buf: TextIO | None = None) -> StringIO:
        used = buf.size if isinstance(buf, Buffer) else 0
        buffer = new_buffer(self.env, limit=OUTPUT_LIMIT - used)
        # What is gathered inside a tag will be written inside that tag.
        buffer.opening = buf.opening if isinstance(buf, Buffer) else ""
        return buffer


class Sandbox(Environment):
    loop_iteration_limit = LIST_LIMIT
    local_namespace_limit = 2_000_000
    output_stream_limit = OUTPUT_LIMIT

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self.kind = kind
        self.shielding = kind is Kind.BODY

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for name in FORBIDDEN_TAGS:
            del self.tags[name]
        for name in FORBIDDEN_FILTERS:
            del self.filters[name]
        for name, function in filters.FILTERS.items():
            self.add_filter(name, function)


SANDBOXES = {kind: Sandbox(kind) for kind in Kind}


def fill(
    source: str, *, kind: Kind, variables: Mapping[str, object], now: datetime, deadline: float | None = None
) -> Filled:
    """Return the filled template, or raise TemplateError with the line that is wrong."""
    if "{{" not in source and "{%" not in source and len(source) <= SOURCE_LIMIT:
        return Filled(text=source, warnings=())
    deadline = time.monotonic() + SECONDS if deadline is None else deadline
    # The library's own `now` and `today` are those of the clock, without a time zone.
    names = {"now": now, "today": now.date(), **variables}
    alone = _names(source, kind)
    text = alone.filled(names) if alone and time.monotonic() <= deadline else None
    if text is not None and len(text) <= OUTPUT_LIMIT:
        return Filled(text=text, warnings=())
    template = compiled(source, kind)
    context = SandboxContext(template, now=now, deadline=deadline, globals=names)
    buffer = new_buffer(template.env, limit=OUTPUT_LIMIT)
    with _errors_for_people():
        template.render_with_context(context, buffer)
    return Filled(text=buffer.getvalue(), warnings=tuple(context.warnings))


@lru_cache(maxsize=1024)
def compiled(source: str, kind: Kind) -> BoundTemplate:
    """Return the parsed template; the cache spares half a millisecond a body."""
    if len(source) > SOURCE_LIMIT:
        raise TemplateError(f"is longer than {SOURCE_LIMIT} characters")
    with _errors_for_people(source):
        template = SANDBOXES[kind].from_string(source)
    nodes.harden(template)
    return template


@lru_cache(maxsize=1024)
def _names(source: str, kind: Kind) -> Names | None:
    return names_alone(compiled(source, kind), kind)


def check(source: str, kind: Kind) -> None:
    """Raise TemplateError where it could not be filled in with any event: broken Liquid, a filter that nobody knows."""
    compiled(source, kind)
    with _errors_for_people():
        template = SANDBOXES[kind].from_string(source)  # not the hardened one, whose parts tell less of themselves
        used = template.analyze().filters
    unknown = [
        (place.index, name) for name, places in used.items() if name not in template.env.filters for place in places
    ]
    if unknown:
        index, name = min(unknown)
        raise TemplateError(f'unknown filter "{name}"', line=source.count("\n", 0, index) + 1)


def new_buffer(environment: Environment, *, limit: int) -> Buffer:
    return Buffer(limit=limit, shielding=isinstance(environment, Sandbox) and environment.shielding)


@contextmanager
def _errors_for_people(source: str = "") -> Iterator[None]:
    try:
        yield
    except LiquidError as error:
        text = _in_plain_words(error)
        raise TemplateError(text, line=_line(error.token) or _line_of_unclosed(text, source)) from error
    except (RecursionError, MemoryError) as error:
        raise TemplateError("is nested too deeply") from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        # python-liquid lets some through, as for a number with more digits than Python prints.
        raise TemplateError(f"cannot be filled: {error}") from error


def _in_plain_words(error: LiquidError) -> str:
    if isinstance(error.__cause__, RecursionError):
        return "is nested too deeply"
    text = str(error.message)
    for pattern, word in PLAIN_WORDS:
        text = pattern.sub(word, text)
    return text


def _line(token: Token | None) -> int | None:
    if token is None or token.start_index < 0:
        return None
    return token.source.count("\n", 0, token.start_index) + 1


def _line_of_unclosed(text: str, source: str) -> int | None:
    """Return the line of the tag that nothing closes: what a parser misses, it misses at the end."""
    missing = MISSING.search(text)
    if missing is None:
        return None
    open_at: list[int] = []
    for found in re.finditer(rf"{{%-?\s*(end)?{missing[1]}\b", source):
        if not found[1]:
            open_at.append(found.start())
        elif open_at:
            open_at.pop()
    return source.count("\n", 0, open_at[-1]) + 1 if open_at else None


def _guarded(function: Callable[..., object], *arguments: object, **options: object) -> object:
    """Call a filter, refusing what is too big on the way in and on the way out.

    Whatever a filter raises is the template's fault or the event's: another try would raise it again. Unless
    this machine lacks what it takes to read a file, of a time zone for example.
    """
    for argument in arguments:
        _check_size(argument)
    try:
        result = function(*arguments, **options)
    except (LiquidError, TypeError):  # python-liquid adds the line, and words for wrong arguments
        raise
    except Exception as error:
        if machine.in_words(error):
            raise
        raise LiquidError(str(error) or type(error).__name__, token=None) from error
    _check_size(result)
    return result


def _with_values_themselves(function: Callable[..., object], *arguments: object, **options: object) -> object:
    """Call a filter that knows nothing of stand-ins. What it makes of them is shielded when it is written."""
    return function(*map(plain, arguments), **options)


def _check_size(value: object) -> None:
    limit = VALUE_LIMIT if isinstance(value, str) else LIST_LIMIT
    if isinstance(value, str | Sequence) and len(value) > limit:
        raise OutputStreamLimitError(f"a value is longer than {limit}", token=None)
    if isinstance(value, int) and value.bit_length() > NUMBER_BITS:  # one division of longer ones can take minutes
        raise OutputStreamLimitError("a number has thousands of digits", token=None)
