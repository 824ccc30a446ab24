"""Links that are written without brackets: where they end, and that marks of Markdown within them are letters."""

import re
from collections.abc import Iterator

from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter

from .liquid.shielding import STAND_INS

_LETTER = rf"(?:(?!{STAND_INS.pattern})[^\s<>\"`]|[\U000f0026])"
BARE_LINK = re.compile(rf"https?://{_LETTER}+", re.IGNORECASE)
_OPEN = re.compile(rf"https?://{_LETTER}*\Z", re.IGNORECASE)
_GOES_ON = re.compile(f"{_LETTER}+")
_TRAILING = ".,;:!?'*_~"
_MARKS = re.compile(r"[.,;:!?']*(\*+|_+|~+)")
# What can begin an emphasis: no '_' within a word.
_BEGINNINGS = {"*": re.compile(r"\*"), "_": re.compile(r"(?<!\w)_"), "~": re.compile("~~")}


def have_marks(text: str) -> bool:
    """Say whether an emphasis could begin within one of its links."""
    links = BARE_LINK.findall(text) if "://" in text else ()
    return any(beginning.search(link) for link in links for beginning in _BEGINNINGS.values())


def keep_whole(state: StateInline) -> None:
    """Let no emphasis begin within a link. One that began before it may still end there: `**https://a.example**`."""
    if "://" not in state.src:
        return
    openers = {token: (opener, end) for opener, token, end in _pairs(state)}
    ends: set[int] = set()
    in_link = False
    for place, token in enumerate(state.tokens):
        opener, end = openers.get(place, (None, -1))
        if opener and in_link:
            opener.end = -1
        else:
            ends.add(end)
        is_text = token.type in ("text", "text_special") and place not in ends
        in_link = is_text and bool(_OPEN.search(token.content) or (in_link and _GOES_ON.fullmatch(token.content)))


def _pairs(state: StateInline) -> Iterator[tuple[Delimiter, int, int]]:
    """Yield what begins an emphasis, with the places of its token and of the one that ends it."""
    inner = [meta["delimiters"] for meta in state.tokens_meta if meta and "delimiters" in meta]
    for delimiters in (state.delimiters, *inner):
        for opener in delimiters:
            if opener.end >= 0:
                yield opener, opener.token, delimiters[opener.end].token


def without_trailing(address: str) -> str:
    """Return the address without the full stop of its sentence or the bracket around it."""
    surplus = address.count(")") - address.count("(")
    end = len(address)
    while end and (address[end - 1] in _TRAILING or (address[end - 1] == ")" and surplus > 0)):
        surplus -= address[end - 1] == ")"
        end -= 1
    return address[:end] + _own_marks(address[:end], address[end:])


def _own_marks(address: str, trailing: str) -> str:
    """Return of what is trailing the marks that end what began in the address, as in `?host=*web*`."""
    marks = _MARKS.match(trailing)
    return marks.group() if marks and _BEGINNINGS[marks[1][0]].search(address) else ""
