"""Turn a filled body into safe HTML and into text that reads well."""

import re
import unicodedata
from collections.abc import Iterable

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from . import plaintext, sanitiser, structure
from .bare_links import BARE_LINK, without_trailing
from .plaintext import ABSOLUTE
from .structure import BUTTON_TITLE, MARKDOWN

BUTTON_COLOUR = "#1d4ed8"
BETWEEN_BUTTONS = {"text", "softbreak", "hardbreak", "em_open", "em_close", "strong_open", "strong_close"}
ADDRESSED = {"link_open": "href", "image": "src"}
LONG_WORD = re.compile(r"\S{25}")  # nothing on a phone is wide enough for it
NOTEWORTHY = re.compile(rf"{LONG_WORD.pattern}|[^\0-\x7f]|&#")  # what may hold such a word, or another script


class _Renderer(RendererHTML):
    def buttons(self, tokens: list[Token], index: int, *_: object) -> str:
        """Draw a row of buttons as table cells: Outlook ignores padding on links, not on cells."""
        cells = '<td width="12">&nbsp;</td>'.join(self._button(token) for token in tokens[index].children or ())
        row = f'<table role="presentation" class="buttons" border="0" cellpadding="0" cellspacing="0"><tr>{cells}</tr>'
        return f"{row}</table>\n"

    def _button(self, token: Token) -> str:
        link = f'<a class="button-link"{self.renderAttrs(token)}>{_escaped(token.content)}</a>'
        return f'<td class="button" align="center" bgcolor="{BUTTON_COLOUR}">{link}</td>'


def render(source: str) -> tuple[str, str]:
    """Return the sanitised HTML and the text of a filled body."""
    tokens = finished(structure.tokens(source))
    # Sanitised last, with every value in its place: a link is judged as the reader's program will see it.
    return html_of(tokens), plaintext.render(tokens)


def finished(tokens: list[Token]) -> list[Token]:
    """Return the tokens as they are drawn: links, buttons, tables and directions are settled."""
    return list(_with_button_rows(_finished(tokens)))


def html_of(tokens: list[Token]) -> str:
    """Return the sanitised HTML of finished tokens."""
    return sanitiser.clean(RENDERER.render(tokens, MARKDOWN.options, {}))


def _finished(tokens: list[Token]) -> list[Token]:
    for position, token in enumerate(tokens):
        if token.type == "table_open":
            tokens[position] = _with(token, "class", "data")
        if token.type == "inline":
            token.children = _finished_words(token.children or [], token.content)
            if NOTEWORTHY.search(token.content):
                _mark_surroundings(tokens, position, _words(token))
    return tokens


def _finished_words(children: list[Token], content: str) -> list[Token]:
    if len(children) == 1 and children[0].type == "text" and "://" not in content:
        return children  # most cells and lines
    _settle_addresses(children)
    return _mark_buttons(_without_dead_links(_with_bare_links(children)))


def _settle_addresses(children: list[Token]) -> None:
    for token in children:
        name = ADDRESSED.get(token.type)
        if name:
            token.attrSet(name, structure.address(str(token.attrs.get(name, ""))))
        if token.children:
            _settle_addresses(token.children)


def _words(token: Token) -> str:
    """Return what the reader sees of it."""
    return "".join(child.content if child.type in ("text", "code_inline") else "\n" for child in token.children or ())


def _mark_surroundings(tokens: list[Token], position: int, words: str) -> None:
    """Mark what opens around these words: a cell where a word must be broken, and writing from right to left."""
    if tokens[position - 1].tag in ("td", "th") and LONG_WORD.search(words):
        tokens[position - 1] = _with(tokens[position - 1], "class", "long")
    if not words.isascii() and _is_right_to_left(words):
        # The paragraph in a list item may be hidden; then its item says it, and the list that it begins.
        for before in range(position - 1, max(position - 4, -1), -1):
            token = tokens[before]
            if token.nesting != 1:
                break
            tokens[before] = _with(token, "dir", "rtl")
            if not (token.hidden or token.type == "list_item_open"):
                break


def _with(token: Token, name: str, value: str) -> Token:
    """Return a copy with the attribute: the token itself may belong to other mails, too."""
    return token.copy(attrs=token.attrs | {name: value})


def _is_right_to_left(words: str) -> bool:
    """Return whether the first letter with a direction is one of a right-to-left script, as dir="auto" decides."""
    found = (unicodedata.bidirectional(letter) for letter in words)
    return next((direction for direction in found if direction in ("L", "R", "AL")), "L") != "L"


def _with_bare_links(children: list[Token]) -> list[Token]:
    found: list[Token] = []
    depth = 0
    for token in children:
        depth += {"link_open": 1, "link_close": -1}.get(token.type, _html_link(token))
        found += _split_at_links(token) if token.type == "text" and depth <= 0 and "://" in token.content else [token]
    return found


def _html_link(token: Token) -> int:
    if token.type != "html_inline":
        return 0
    content = token.content.lower()
    return 1 if content.startswith(("<a ", "<a>")) else -1 if content.startswith("</a") else 0


def _split_at_links(token: Token) -> Iterable[Token]:
    position = 0
    for match in BARE_LINK.finditer(token.content):
        address = without_trailing(match.group())
        yield _text(token.content[position : match.start()])
        yield Token("link_open", "a", 1, attrs={"href": structure.address(address)})
        yield _text(address)
        yield Token("link_close", "a", -1)
        position = match.start() + len(address)
    yield _text(token.content[position:])


def _without_dead_links(children: list[Token]) -> list[Token]:
    """Drop links to nowhere, such as `[Join]({{ incident.zoom_url }})` without a meeting; labels stay."""
    kept: list[Token] = []
    dead: list[bool] = []
    for token in children:
        if token.type == "link_open":
            dead.append(not ABSOLUTE.match(str(token.attrGet("href") or "")))
        is_dead = token.type in ("link_open", "link_close") and dead[-1]
        if token.type == "link_close":
            dead.pop()
        if not is_dead:
            kept.append(token)
    return kept


def _mark_buttons(children: list[Token]) -> list[Token]:
    for token in children:
        if token.type == "link_open" and token.attrs.get("title") == BUTTON_TITLE:
            del token.attrs["title"]
            token.attrSet("class", "button-inline")
    return children


def _with_button_rows(tokens: list[Token]) -> Iterable[Token]:
    """Yield the tokens, a paragraph of nothing but buttons as one row of them."""
    position = 0
    while position < len(tokens):
        inside = tokens[position + 1] if tokens[position].type == "paragraph_open" else None
        row = _button_row(inside.children or []) if inside else []
        if row:
            yield Token("buttons", "", 0, children=row, block=True)
        else:
            yield tokens[position]
        position += 3 if row else 1


def _button_row(children: list[Token]) -> list[Token]:
    """Return one token a button, or nothing when there is anything else beside them."""
    row: list[Token] = []
    is_open = False
    for token in children:
        if token.type == "link_open" and token.attrs.get("class") == "button-inline":
            row.append(Token("button", "a", 0, attrs={"href": token.attrs["href"]}))
            is_open = True
        elif token.type == "link_close":
            is_open = False
        elif is_open and token.type in ("text", "code_inline"):
            row[-1].content += token.content
        elif token.content.strip() or token.type not in BETWEEN_BUTTONS:
            return []
    return row


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


RENDERER = _Renderer()
