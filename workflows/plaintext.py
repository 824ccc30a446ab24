"""The text part of a mail, from the same Markdown tokens as the HTML."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator

from markdown_it.token import Token

from .liquid.shielding import to_characters

RULE = "-" * 40
UNDERLINES = {"h1": "=", "h2": "-"}
HIDDEN_HTML = re.compile(r"<(script|style|head|title)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.DOTALL | re.IGNORECASE)
LINE_TAGS = re.compile(r"<br\b[^>]*>|</(?:p|div|tr|li|h[1-6]|table|caption|blockquote)\s*>", re.IGNORECASE)
CELL_TAGS = re.compile(r"</t[dh]\s*>\s*(?=<t[dh])", re.IGNORECASE)
HTML_LINK = re.compile(r"<a\b[^>]*?\bhref\s*=\s*[\"']?([^\"'\s>]+)", re.IGNORECASE)
SCHEMES = ("cid", "http", "https", "mailto", "tel")
ABSOLUTE = re.compile(rf"(?:{'|'.join(SCHEMES)}):", re.IGNORECASE)
TAG = re.compile(r"</?[A-Za-z!?][^>]*>")


def render(tokens: Iterable[Token]) -> str:
    text = "\n\n".join(block for block in _blocks(iter(tokens)) if block)
    return to_characters(re.sub(r"\n{3,}", "\n\n", text)).strip("\n")


def _blocks(stream: Iterator[Token]) -> list[str]:
    """Return the blocks up to the end of the surrounding one."""
    blocks: list[str] = []
    for token in stream:
        if token.nesting == -1:
            break
        blocks.append(_block(token, stream))
    return blocks


def _block(token: Token, stream: Iterator[Token]) -> str:
    if token.nesting == 0:
        return _leaf(token)
    if token.type == "table_open":
        return _table(stream)
    inner = _blocks(stream)
    if token.type in ("bullet_list_open", "ordered_list_open"):
        return _list(token, inner)
    if token.type == "blockquote_open":
        return _prefixed("\n\n".join(inner), first="> ", others="> ")
    if token.type == "heading_open":
        return _heading(token, "\n".join(inner))
    return ("\n" if token.type == "list_item_open" else "\n\n").join(block for block in inner if block)


def _leaf(token: Token) -> str:
    if token.type == "inline":
        return _inline(token.children or [])
    if token.type == "buttons":
        return "\n".join(f"{token.content}: {token.attrs['href']}" for token in token.children or ())
    if token.type == "html_block":
        return _html_as_text(token.content)
    return RULE if token.type == "hr" else token.content.rstrip("\n")


def _heading(token: Token, text: str) -> str:
    width = max(map(_width, text.split("\n")), default=0)
    return f"{text}\n{UNDERLINES.get(token.tag, '-') * width}"


def _list(token: Token, items: list[str]) -> str:
    start = int(token.attrs.get("start", 1))
    ordered = token.type == "ordered_list_open"
    marks = (f"{start + offset}. " if ordered else "- " for offset in range(len(items)))
    drawn = [_prefixed(item, first=mark, others=" " * len(mark)) for mark, item in zip(marks, items, strict=True)]
    return "\n".join(drawn)


def _prefixed(text: str, *, first: str, others: str) -> str:
    lines = text.split("\n")
    return "\n".join((first if number == 0 else others) + line for number, line in enumerate(lines)).rstrip()


def _table(stream: Iterator[Token]) -> str:
    rows: list[list[str]] = []
    for token in stream:
        if token.type == "table_close":
            break
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline":
            rows[-1].append(_inline(token.children or []).replace("\n", " "))
    return _aligned(rows)


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    head = [rows[0], ["-" * width for width in widths]] if any(rows[0]) else []
    lines = [*head, *rows[1:]]
    return "\n".join(
        "  ".join(_padded(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Return the columns that the text fills: East Asian letters take two, accents on their own none."""
    if text.isascii():
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
    same = shown in (address.rstrip("/"), address.removeprefix("mailto:"))
    return label if same or not shown else f"{label} ({address})"


def _piece(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    if token.type == "html_inline":
        return "\n" if token.content.lower().startswith("<br") else ""
    if token.type == "image":
        return _inline(token.children or [])
    return token.content


def _html_as_text(source: str) -> str:
    text = CELL_TAGS.sub("  ", HIDDEN_HTML.sub("", source))
    text = html.unescape(TAG.sub("", LINE_TAGS.sub("\n", text)))
    return "\n".join(line.strip() for line in text.split("\n")).strip()
