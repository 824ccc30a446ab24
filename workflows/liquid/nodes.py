"""The parts of python-liquid that are replaced: output, literals, comparisons, ranges.

The library has no hook for them, so a parsed template is walked once and the classes of those parts are
swapped for subclasses without fields of their own.
"""

import re
from collections.abc import Iterator
from enum import Enum
from io import StringIO
from typing import Any, TextIO

from liquid import BoundTemplate, RenderContext
from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, LoopExpression
from liquid.builtin.expressions.logical import ContainsExpression, EqExpression, NeExpression
from liquid.builtin.expressions.logical import _eq as equal_values
from liquid.builtin.expressions.path import Path
from liquid.builtin.expressions.primitive import Blank, RangeLiteral, StringLiteral
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.case_tag import _AnyExpression as AnyExpression
from liquid.builtin.tags.echo_tag import EchoNode
from liquid.builtin.tags.for_tag import ForNode
from liquid.exceptions import LiquidTypeError, OutputStreamLimitError
from liquid.expression import Expression
from liquid.token import Token
from liquid.undefined import UNDEFINED as UNDEFINED
from liquid.undefined import is_undefined

from .shielding import TrustedText, open_tag, plain, shield, shield_in_tag
from .values import COLLECTIONS, Match, flat_texts, is_blank, present, to_text

RANGE_LIMIT = 10_000
LINE_BEFORE_TAG = re.compile(r"[ \t]*(?:\{%-?[ \t]*)?")
LIST_ITEM = re.compile(r"[ \t]*(?:[*+-]|\d{1,9}[.)])[ \t]")


class Kind(Enum):
    """What becomes of the text: it decides how values are written into it."""

    PLAIN = "plain"
    LIST = "list"
    BODY = "body"


class Buffer(StringIO):
    """Collects output; in a body it shields every value, knowing whether it stands inside a tag."""

    def __init__(self, *, limit: int, shielding: bool) -> None:
        super().__init__()
        self.limit = limit
        self.size = 0
        self.shielding = shielding
        self.opening = ""

    def write(self, text: str, /) -> int:
        self.size += len(text)
        if self.size > self.limit:
            raise OutputStreamLimitError(f"the result is longer than {self.limit} characters", token=None)
        if not self.shielding:
            return super().write(text)
        if isinstance(text, TrustedText):
            self.opening = open_tag(self.opening + text)
            return super().write(text)
        return super().write(self._shielded(text))

    def write_value(self, text: str) -> int:
        # What the author captured may hold the quotes of a value: inside a tag nothing is trusted.
        return self.write(str(text)) if self.opening else self.write(text)

    def getvalue(self) -> str:
        return TrustedText(super().getvalue()) if self.shielding else super().getvalue()

    def _shielded(self, text: str) -> str:
        if not self.opening:
            return shield(text)
        shielded = shield_in_tag(text, opening=self.opening)
        self.opening += shielded
        return shielded


class ValueOutput(OutputNode):
    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return _write_value(self.expression.evaluate(context), context=context, buffer=buffer)


class NameOutput(ValueOutput):
    """`{{ incident.title }}`, as most are: names alone, and no filter."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        demand_time(context)
        value: Any = context.scope
        for name in self.expression.left.path:  # type: ignore[attr-defined]
            if value is not context.scope and type(value) is not dict:
                return super().render_to_output(context, buffer)
            try:
                value = value[name]
            except KeyError:
                return super().render_to_output(context, buffer)
        return _write_value(value, context=context, buffer=buffer)


class ValueEcho(EchoNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        return _write_value(self.expression.evaluate(context), context=context, buffer=buffer)


class NotingExpression(FilteredExpression):
    """Notes a variable that the event does not have, unless a default was given for it."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        value = self.left.evaluate(context)
        filters = self.filters or []
        if is_undefined(value) and not any(each.name == "default" for each in filters):
            note_missing(self.left, context)
        for each in filters:
            value = each.evaluate(value, context)
        return value


class NotingLoop(LoopExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> tuple[Iterator[object], int]:
        if is_undefined(self.iterable.evaluate(context)):
            note_missing(self.iterable, context)
        return super().evaluate(context)

    def _to_iter(self, obj: object, context: RenderContext) -> tuple[Iterator[Any], int]:
        return super()._to_iter(obj.parts if isinstance(obj, Match) else obj, context)

    def _to_int(self, obj: object, *, token: Token) -> int | None:  # type: ignore[override]
        """Return the limit or the offset; None is no limit, and no offset."""
        return super()._to_int(obj, token=token) if present(obj) else None


class BlankAwareEq(EqExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return _are_equal(self.left, self.right, context)


class BlankAwareNe(NeExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return not _are_equal(self.left, self.right, context)


class BlankAwareWhen(AnyExpression):
    """`{% when 'a', 'b' %}`; the library would write the block once for each that is equal."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> list[bool]:
        return [any(_are_equal(self.left, right, context) for right in self.expressions)]


class TolerantContains(ContainsExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> bool:
        return _contains(plain(self.left.evaluate(context)), plain(self.right.evaluate(context)))


class BoundedRange(RangeLiteral):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> range:
        numbers = super().evaluate(context)
        # A range longer than a machine word has no len().
        if numbers.stop - numbers.start > RANGE_LIMIT:
            raise LiquidTypeError(f"a range may have {RANGE_LIMIT} numbers", token=self.token)
        return numbers


class AuthorLiteral(StringLiteral):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> str:
        return TrustedText(self.value)


REPLACEMENTS: dict[type, type] = {
    OutputNode: ValueOutput,
    EchoNode: ValueEcho,
    FilteredExpression: NotingExpression,
    LoopExpression: NotingLoop,
    EqExpression: BlankAwareEq,
    NeExpression: BlankAwareNe,
    AnyExpression: BlankAwareWhen,
    ContainsExpression: TolerantContains,
    RangeLiteral: BoundedRange,
    StringLiteral: AuthorLiteral,
}


def harden(template: BoundTemplate) -> None:
    """Swap the parts named above, in the whole tree."""
    context = RenderContext(template)
    in_body = getattr(template.env, "kind", None) is Kind.BODY
    waiting: list[Any] = list(template.nodes)
    while waiting:
        part = waiting.pop()
        if isinstance(part, Node):
            waiting += part.children(context, include_partials=False)
            waiting += part.expressions()
        elif isinstance(part, Expression):
            waiting += part.children()
        if in_body and isinstance(part, ForNode) and _makes_items_in_one_line(part):
            part.block.nodes.append(ContentNode(part.token, TrustedText("\n")))
        _swap(part)


def _makes_items_in_one_line(loop: ForNode) -> bool:
    """Return whether a loop that begins a line writes '* ' again and again and never ends the line.

    People write `{% for role in roles %}* {{ role }}{% endfor %}` and mean a list.
    """
    before = loop.token.source[: loop.token.start_index].rpartition("\n")[2]
    first = loop.block.nodes[0] if loop.block.nodes else None
    begins_item = isinstance(first, ContentNode) and LIST_ITEM.match(first.text)
    begins_line = LINE_BEFORE_TAG.fullmatch(before)
    return bool(begins_item and begins_line) and "\n" not in str(loop.block)


def _swap(part: Any) -> None:
    if isinstance(part, ContentNode):
        part.text = TrustedText(part.text)
    replacement = REPLACEMENTS.get(type(part))
    if replacement is not None:
        part.__class__ = NameOutput if replacement is ValueOutput and _is_named(part.expression) else replacement


def _is_named(expression: Expression) -> bool:
    """Say whether the expression is one of names alone: 'incident.title', not 'events[0]' and not 'title | upcase'."""
    if not isinstance(expression, FilteredExpression) or expression.filters or not isinstance(expression.left, Path):
        return False
    return all(type(name) is str for name in expression.left.path)


def text_of(value: object, *, kind: Kind) -> str:
    """Return what a value writes into a text of this kind."""
    return ",".join(flat_texts(value)) if kind is Kind.LIST else to_text(value)


def _write_value(value: object, *, context: RenderContext, buffer: TextIO) -> int:
    text = text_of(value, kind=getattr(context.env, "kind", Kind.PLAIN))
    return buffer.write_value(text) if isinstance(buffer, Buffer) else buffer.write(text)


def _are_equal(left: Expression, right: Expression, context: RenderContext) -> bool:
    """Return whether both sides are equal, or the one is blank when the other is the word 'blank'."""
    if isinstance(right, Blank):
        return is_blank(left.evaluate(context))
    if isinstance(left, Blank):
        return is_blank(right.evaluate(context))
    return bool(equal_values(plain(left.evaluate(context)), plain(right.evaluate(context))))


def _contains(whole: object, part: object) -> bool:
    """Return whether the part is in a text, a list or the keys of an object; nothing is in anything else."""
    if not present(part) or part is False:
        return False
    if isinstance(whole, str):
        return to_text(part) in whole
    try:
        return isinstance(whole, (range, *COLLECTIONS)) and part in whole
    except TypeError:  # a list or an object is no key
        return False


def demand_time(context: RenderContext) -> None:
    check = getattr(context, "check_time", None)
    if check is not None:
        check()


def note_missing(expression: Expression, context: RenderContext) -> None:
    warn = getattr(context, "warn", None)
    if warn is not None:
        warn(f"{expression} is not in this event")
