"""The text part of a mail, from the same Markdown tokens as the HTML.

It is laid out in two steps: what can be told from the tokens, and what depends on how wide their words are. The words
may come with the second one, where the tokens hold stand-ins for them (see `gaps`).
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from markdown_it.token import Token

from . import htmltext
from .gaps import Filler, Gapped, Words
from .liquid.shielding import to_characters
from .sanitiser import SCHEMES

RULE = "-" * 40
BLANK_LINES = re.compile(r"\n{3,}")
UNDERLINES = {"h1": "=", "h2": "-"}
HTML_LINK = re.compile(r"<a\b[^>]*?\bhref\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)
ABSOLUTE = re.compile(rf"(?:{'|'.join(SCHEMES)}):", re.IGNORECASE)
NARROW = re.compile("[\0-\u02ff\u2000-\u20cf]*")
WIDEST_TABLE = 120  # a wider one is drawn row after row, each cell with its heading


def render(tokens: Iterable[Token]) -> str:
    return outline(tokens)(())


def outline(tokens: Iterable[Token]) -> Filler:
    """Return what draws the text with its words."""
    whole = _joined(_blocks(iter(tokens)), glue="\n\n")
    return lambda words: to_characters(BLANK_LINES.sub("\n\n", whole(words))).strip("\n")


def _joined(blocks: list[Filler], *, glue: str) -> Filler:
    return _made_of(blocks, lambda texts: glue.join(filter(None, texts)))


def _made_of(blocks: list[Filler], draw: Callable[[list[str]], str]) -> Filler:
    """Return what is drawn from the texts of blocks: now, unless one of them depends on how wide its words are."""
    if all(isinstance(block, Gapped) for block in blocks):
        return Gapped(draw([block(()) for block in blocks]))
    return lambda words: draw([block(words) for block in blocks])


def _blocks(stream: Iterator[Token]) -> list[Filler]:
    """Return the blocks up to the end of the surrounding one."""
    blocks: list[Filler] = []
    for token in stream:
        if token.nesting == -1:
            break
        blocks.append(_block(token, stream))
    return blocks


def _block(token: Token, stream: Iterator[Token]) -> Filler:
    if token.nesting == 0:
        return _leaf(token)
    if token.type == "table_open":
        return _table(stream)
    inner = _blocks(stream)
    if token.type in ("bullet_list_open", "ordered_list_open"):
        return _list(token, inner)
    if token.type == "blockquote_open":
        return _made_of(inner, lambda texts: _prefixed("\n\n".join(texts), first="> ", others="> "))
    if token.type == "heading_open":
        return _heading(token, inner)
    return _joined(inner, glue="\n" if token.type == "list_item_open" else "\n\n")


def _leaf(token: Token) -> Filler:
    if token.type == "inline":
        return Gapped(_inline(token.children or []))
    if token.type == "buttons":
        return Gapped("\n".join(f"{token.content}: {token.attrs['href']}" for token in token.children or ()))
    if token.type == "html_block":
        return _joined(_blocks(iter(htmltext.tokens(token.content))), glue="\n\n")
    return Gapped(RULE if token.type == "hr" else token.content.rstrip("\n"))


def _heading(token: Token, inner: list[Filler]) -> Filler:
    line = UNDERLINES.get(token.tag, "-")

    def draw(words: Words) -> str:
        text = "\n".join(block(words) for block in inner)
        width = max(map(_width, text.split("\n")), default=0)
        return f"{text}\n{line * width}"

    return draw


def _list(token: Token, items: list[Filler]) -> Filler:
    first = str(token.attrs.get("start", 1))
    start = int(first) if first.isdecimal() and len(first) < 10 else 1
    ordered = token.type == "ordered_list_open"
    marks = [f"{start + offset}. " if ordered else "- " for offset in range(len(items))]

    def draw(texts: list[str]) -> str:
        marked = zip(marks, texts, strict=True)
        return "\n".join(_prefixed(text, first=mark, others=" " * len(mark)) for mark, text in marked)

    return _made_of(items, draw)


def _prefixed(text: str, *, first: str, others: str) -> str:
    lines = text.split("\n")
    return "\n".join(((first if number == 0 else others) + line).rstrip() for number, line in enumerate(lines))


def _table(stream: Iterator[Token]) -> Filler:
    rows: list[list[Filler]] = []
    sides: list[str] = []
    headings = 0
    for token in stream:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("th_open", "td_open") and len(rows) == 1:
            headings += token.type == "th_open"
            sides.append(_side(token))
        if token.type == "inline" and rows:
            rows[-1].append(Gapped(_inline(token.children or [])))
    headed = 0 < headings == len(sides)
    return lambda words: _drawn([[cell(words) for cell in row] for row in rows], sides, headed=headed)


def _side(cell: Token) -> str:
    match = re.search(r"text-align:\s*(right|center)", str(cell.attrs.get("style", "")))
    return match[1] if match else str(cell.attrs.get("align", "left"))


def _drawn(rows: list[list[str]], sides: list[str], *, headed: bool) -> str:
    """Return the table in columns, one that lays out one column as its cells, a wide one row after row."""
    headed = headed and any(rows[0])
    rows = [row for row in rows if any(row)]
    columns = max(map(len, rows), default=0)
    if columns < 2 and not headed:
        return "\n\n".join(cell for row in rows for cell in row)
    rows = [[*(cell.replace("\n", " ") for cell in row), *[""] * (columns - len(row))] for row in rows]
    sides = [*sides, *["left"] * (columns - len(sides))]
    widths = [max(_width(row[column]) for row in rows) for column in range(columns)]
    if sum(widths) + 2 * len(widths) > WIDEST_TABLE:
        return _row_after_row(rows, headed=headed)
    if headed:
        rows.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(map(_padded, row, widths, sides)).rstrip() for row in rows)


def _row_after_row(rows: list[list[str]], *, headed: bool) -> str:
    names = [f"{name}: " if name else "" for name in rows[0]] if headed else [""] * len(rows[0])
    cells = [zip(names, row, strict=True) for row in (rows[1:] if headed else rows)]
    return "\n\n".join("\n".join(name + cell for name, cell in row if cell) for row in cells)


def _padded(text: str, width: int, side: str) -> str:
    missing = width - _width(text)
    before = {"right": missing, "center": missing // 2}.get(side, 0)
    return " " * before + text + " " * (missing - before)


def _width(text: str) -> int:
    """Return the columns that the text fills: East Asian letters take two, accents on their own none."""
    if NARROW.fullmatch(text):
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(map(bool, map(unicodedata.combining, text)))


def _inline(children: list[Token]) -> str:
    pieces: list[str] = []
    links: list[tuple[Token, int]] = []
    for token in children:
        if token.type == "link_open" or (token.type == "html_inline" and HTML_LINK.match(token.content)):
            links.append((token, len(pieces)))
        elif links and (token.type == "link_close" or token.content.lower().startswith("</a")):
            link, start = links.pop()
            pieces[start:] = [_link(link, "".join(pieces[start:]))]
        else:
            pieces.append(_piece(token))
    return "".join(pieces).strip()


def _link(token: Token, label: str) -> str:
    match = HTML_LINK.match(token.content)
    address = html.unescape(to_characters(match[1])) if match else str(token.attrs.get("href", ""))
    if not ABSOLUTE.match(address):
        return label
    if token.attrs.get("class") == "button-inline":
        return f"{label}: {address}"
    shown = to_characters(label).rstrip("/")
    if not shown:
        return address  # of a picture that says nothing
    same = shown in (address.rstrip("/"), address.removeprefix("mailto:"), address.removeprefix("tel:"))
    return label if same else f"{label} ({address})"


def _piece(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    if token.type == "html_inline":
        return "\n" if token.content.lower().startswith("<br") else ""
    if token.type == "image":
        return _inline(token.children or [])
    return token.content
