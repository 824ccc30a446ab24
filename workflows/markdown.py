"""Turn a filled body into safe HTML and into text that reads well."""

import re
import unicodedata
from collections.abc import Iterable, MutableMapping
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore, inline, text_join
from markdown_it.token import Token

from . import plaintext, sanitiser
from .liquid.shielding import STAND_INS, to_characters
from .plaintext import ABSOLUTE

BARE_LINK = re.compile(rf"https?://(?:(?!{STAND_INS.pattern})[^\s<>\"`]|[\U000f0026])+", re.IGNORECASE)
TRAILING = ".,;:!?'*_~"
BUTTON_TITLE = "btn"
BUTTON_COLOUR = "#1d4ed8"
BETWEEN_BUTTONS = {"text", "softbreak", "hardbreak", "em_open", "em_close", "strong_open", "strong_close"}
LONGEST_KNOWN = 300  # of what is worth remembering
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


class _Markdown(MarkdownIt):
    def normalizeLink(self, url: str) -> str:
        # Before the link is judged: a stand-in must not hide what it says.
        return super().normalizeLink(to_characters(url))

    def validateLink(self, url: str) -> bool:
        return True  # unsafe ones lose their link, not their label, in `_finish`


def render(source: str) -> tuple[str, str]:
    """Return the sanitised HTML and the text of a filled body."""
    environment: dict[str, object] = {}
    tokens = MARKDOWN.parse(source, environment)
    html = MARKDOWN.renderer.render(tokens, MARKDOWN.options, environment)
    # Sanitised last, with every value in its place: a link is judged as the reader's program will see it.
    return sanitiser.clean(html), plaintext.render(tokens)


def _fill_lines(state: StateCore) -> None:
    """Read the words within each block. Most lines of a body are the same in every mail: they are read once."""
    for token in state.tokens:
        if token.type == "inline":
            known = len(token.content) <= LONGEST_KNOWN and not state.env.get("references")
            # Nobody changes these tokens any more.
            token.children = _known_words(token.content) if known else _words_of(token.content, state.env)


@lru_cache(maxsize=1024)
def _known_words(content: str) -> list[Token]:
    return _words_of(content, {})


def _words_of(content: str, environment: MutableMapping[str, Any]) -> list[Token]:
    state = StateCore(content, MARKDOWN, environment, [Token("inline", "", 0, content=content)])
    inline(state)
    text_join(state)
    return _mark_buttons(_without_dead_links(_with_bare_links(state.tokens[0].children or [])))


def _finish(state: StateCore) -> None:
    """Settle buttons, tables and directions once the whole text is parsed."""
    for position, token in enumerate(state.tokens):
        if token.type == "table_open":
            token.attrSet("class", "data")
        if token.type == "inline" and NOTEWORTHY.search(token.content):
            _mark_surroundings(state.tokens[max(position - 3, 0) : position], _words(token))
    state.tokens = list(_with_button_rows(state.tokens))


def _words(token: Token) -> str:
    """Return what the reader sees of it."""
    return "".join(child.content if child.type in ("text", "code_inline") else "\n" for child in token.children or ())


def _mark_surroundings(before: list[Token], words: str) -> None:
    """Mark what opens around these words: a cell where a word must be broken, and writing from right to left."""
    if before[-1].tag in ("td", "th") and LONG_WORD.search(words):
        before[-1].attrSet("class", "long")
    if not words.isascii() and _is_right_to_left(words):
        # The paragraph in a list item may be hidden; then its item says it, and the list that it begins.
        for token in reversed(before):
            if token.nesting != 1:
                break
            token.attrSet("dir", "rtl")
            if not (token.hidden or token.type == "list_item_open"):
                break


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
        address = _without_trailing(match.group())
        yield _text(token.content[position : match.start()])
        yield Token("link_open", "a", 1, attrs={"href": MARKDOWN.normalizeLink(address)})
        yield _text(address)
        yield Token("link_close", "a", -1)
        position = match.start() + len(address)
    yield _text(token.content[position:])


def _without_trailing(address: str) -> str:
    """Return the address without the full stop of its sentence or the bracket around it."""
    surplus = address.count(")") - address.count("(")
    end = len(address)
    while end and (address[end - 1] in TRAILING or (address[end - 1] == ")" and surplus > 0)):
        surplus -= address[end - 1] == ")"
        end -= 1
    return address[:end]


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


def _parser() -> MarkdownIt:
    # Four spaces are how people indent nested Liquid; fences remain for code.
    parser = _Markdown("commonmark", renderer_cls=_Renderer).enable(["table", "strikethrough"]).disable("code")
    parser.core.ruler.at("inline", _fill_lines)
    parser.core.ruler.at("text_join", _finish)
    return parser


MARKDOWN = _parser()
