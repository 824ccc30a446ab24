"""Read a block of HTML in a body as Markdown tokens, so that the text part draws both in one way.

It reads what the sanitiser let through: every tag is closed, every attribute quoted, every other '<' an entity.
"""

import html
import re
from typing import Literal

from markdown_it.token import Token

from . import sanitiser

PIECE = re.compile(r'<(?P<end>/?)(?P<tag>[a-z0-9]+)(?P<attributes>[^<>"]*(?:"[^"]*"[^<>"]*)*)>|(?P<text>[^<]+)')
ATTRIBUTE = re.compile(r'([a-z]+)="([^"]*)"')
HEADINGS = {f"h{level}": "heading" for level in range(1, 7)}
BLOCKS = HEADINGS | {"p": "paragraph", "div": "paragraph", "caption": "paragraph", "dt": "paragraph", "dd": "paragraph"}
BLOCKS |= {"blockquote": "blockquote", "ul": "bullet_list", "ol": "ordered_list", "li": "list_item"}
BLANKS = re.compile(r"[ \t\r\f]+")
Nesting = Literal[-1, 0, 1]
DEEPEST = 20  # as for Markdown: blocks within these are drawn as if they were not
CELLS = ("td", "th")
HIDDEN = re.compile(r"<title\b.*?(?:</title\s*>|\Z)", re.DOTALL | re.IGNORECASE)


def tokens(source: str) -> list[Token]:
    reader = _Reader()
    for match in PIECE.finditer(sanitiser.clean(HIDDEN.sub("", source))):
        reader.read(match)
    reader.end_of_line()
    return reader.found


class _Reader:
    def __init__(self) -> None:
        self.found: list[Token] = []
        self.line: list[Token] = []
        self.in_code = False
        self.tables = 0
        self.depth = 0
        self.table_at = 0  # where the table begins that is read

    def read(self, match: re.Match[str]) -> None:
        tag = match["tag"]
        nesting: Nesting = -1 if match["end"] else 1
        if tag is None:
            self._text(html.unescape(match["text"]))
        elif tag == "table":
            self._table(nesting)
        elif self.tables:
            self._in_table(tag, nesting, match["attributes"])
        elif tag in BLOCKS:
            self._block(tag, nesting, match["attributes"])
        else:
            self._in_line(tag, nesting, match["attributes"])

    def end_of_line(self) -> None:
        """Put the words gathered so far in their place, unless there are none."""
        if any(token.content.strip() or token.children for token in self.line):
            self._inline()

    def _block(self, tag: str, nesting: Nesting, attributes: str) -> None:
        self.end_of_line()
        self.depth += nesting
        # The same depth for a tag and its end.
        if self.depth - (nesting == 1) < DEEPEST:
            self._add(f"{BLOCKS[tag]}_{'open' if nesting == 1 else 'close'}", tag, nesting, attributes)

    def _inline(self) -> None:
        self.found.append(Token("inline", "", 0, children=self.line))
        self.line = []

    def _add(self, kind: str, tag: str, nesting: Nesting, attributes: str = "") -> None:
        self.found.append(Token(kind, tag, nesting, attrs=_attributes(attributes)))

    def _text(self, text: str) -> None:
        if self.in_code:
            self.line.append(Token("text", "", 0, content=text))
            return
        lines = BLANKS.sub(" ", text).split("\n")
        for number, line in enumerate(lines):
            words = line.lstrip() if number else line
            self.line += [Token("softbreak", "br", 0)] if number else []
            self.line.append(Token("text", "", 0, content=words if number == len(lines) - 1 else words.rstrip()))

    def _table(self, nesting: Nesting) -> None:
        """Only the outermost table is drawn as one; a table within a cell is a part of its words."""
        self.tables += nesting
        if self.tables == (1 if nesting == 1 else 0):
            self.end_of_line()
            self.table_at = len(self.found) if nesting == 1 else self.table_at
            self._add("table_open" if nesting == 1 else "table_close", "table", nesting)

    def _in_table(self, tag: str, nesting: Nesting, attributes: str) -> None:
        if tag == "caption" and self.tables == 1:
            self._caption(nesting)
        elif self.tables > 1 or tag not in ("tr", *CELLS):
            self._in_line("br" if tag in BLOCKS and nesting == -1 else tag, nesting, attributes)
        elif tag == "tr":
            self._add("tr_open" if nesting == 1 else "tr_close", tag, nesting)
        elif nesting == 1:
            self.line = []
            self._add(f"{tag}_open", tag, nesting, attributes)
        else:
            self._inline()  # also an empty one: a row has all its cells
            self._add(f"{tag}_close", tag, nesting)

    def _caption(self, nesting: Nesting) -> None:
        """Put the caption before its table."""
        if nesting == 1:
            self.line = []
        else:
            rows = self.found[self.table_at :]
            del self.found[self.table_at :]
            self.end_of_line()
            self.found += rows

    def _in_line(self, tag: str, nesting: Nesting, attributes: str) -> None:
        if tag == "a":
            kind = "link_open" if nesting == 1 else "link_close"
            self.line.append(Token(kind, "a", nesting, attrs=_attributes(attributes)))
        elif tag == "br":
            self.line.append(Token("hardbreak", "br", 0))
        elif tag == "img":
            words = Token("text", "", 0, content=str(_attributes(attributes).get("alt", "")))
            self.line.append(Token("image", "img", 0, children=[words]))
        elif tag == "hr":
            self.end_of_line()
            self._add("hr", "hr", 0)
        elif tag == "pre":
            self._code(nesting)

    def _code(self, nesting: Nesting) -> None:
        if nesting == 1:
            self.end_of_line()
        elif self.line and not self.tables:
            self._add("fence", "code", 0)
            self.found[-1].content = "".join(token.content for token in self.line).strip("\n")
            self.line = []
        self.in_code = nesting == 1


def _attributes(text: str) -> dict[str, str | int | float]:
    return {name: html.unescape(value) for name, value in ATTRIBUTE.findall(text)}
