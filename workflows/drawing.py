"""Draw a filled body: HTML that is safe and styled, and text.

From mail to mail most bodies differ in a few words alone. Then all that is drawn around these words is remembered, and
they are put into it. What comes out is what drawing the body itself gives: a property test compares the two.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from markdown_it.token import Token

from . import layout, markdown, plaintext, structure
from .gaps import PLACE, Filler, Gapped, place
from .sanitiser import TooDeep
from .structure import STAND_IN

LONGEST_SHAPE, LONGEST_HTML, SHAPES = 2000, 32_000, 256  # what is remembered: 30 MB at the most
# Where any of these stands, drawing may depend on a word: tags, entities, escapes, bare links, definitions of links.
# An escaped stroke does not: as such it stands in a cell, where an event's value had one.
TELLING = re.compile(r"[<&]|\\(?!\|)|://|\]:")
LINK = re.compile(rf"(?<=\]\(){STAND_IN.pattern}")
# An address that nothing changes or refuses on its way, whatever it is; an empty label or punycode could be refused.
SOUND_ADDRESS = re.compile(r"https?://(?:(?!xn--)[a-z0-9-]+\.)+[a-z]{2,}(?:/[A-Za-z0-9/._-]*)?")
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\u200f\ufb1d-\ufdff\ufe70-\ufeff\U00010800-\U00010fff\U0001e800-\U0001efff]")
WHOLE = re.compile(f"{PLACE}[0-9]+/")
LONG = 25
LONG_WORD = re.compile(rf"(?:\\\||[^\s|]){{{LONG}}}")  # in a cell it is broken
TARGET = re.compile(r"\]\(https?://[^()\s|]*(?=[)\s])")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A shape with everything drawn but its words."""

    html: Filler
    text: Filler
    links: list[int]  # which of the words are addresses


def draw(body: str) -> tuple[str, str]:
    """Return the HTML, sanitised and with its styles, and the text; raises sanitiser.TooDeep."""
    shape, words = structure.shape_of(body)
    drawn = _drawn(shape) if _is_ordinary(body, shape, words) else None
    if drawn and all(SOUND_ADDRESS.fullmatch(words[number]) for number in drawn.links):
        return drawn.html(words), drawn.text(words)
    html, text = markdown.render(body)
    return layout.inlined(html), text


def _is_ordinary(body: str, shape: str, words: list[str]) -> bool:
    """Say whether drawing it can depend on no word but by its width and, in a link, by its being a sound address."""
    if len(shape) > LONGEST_SHAPE or not 0 < len(words) <= structure.MOST_RUNS or TELLING.search(shape):
        return False
    if not body.isascii() and (STAND_IN.search(body) or RIGHT_TO_LEFT.search(body)):
        return False
    if "|" not in body:
        return True
    rest = TARGET.sub(" ", body)
    return max(map(len, rest.split())) < LONG or not LONG_WORD.search(rest)  # the latter takes long


def _drawn(shape: str) -> Drawn | None:
    try:
        return _known(shape)
    except TooDeep:  # perhaps by a link that is none with its own address
        return None


@lru_cache(maxsize=SHAPES)
def _known(shape: str) -> Drawn | None:
    """Draw a shape; None where one of its words is more than a word."""
    links = [ord(found) - structure.BASE for found in LINK.findall(shape)]
    read = structure.tokens(LINK.sub(lambda found: place(ord(found.group()) - structure.BASE), shape))
    if not _may_be_filled(read):
        return None
    tokens = markdown.finished(read)
    html = layout.inlined(markdown.html_of(tokens))
    if len(html) > LONGEST_HTML or 'class="long"' in html:
        return None
    return Drawn(Gapped(html), plaintext.outline(tokens), links)


def _may_be_filled(tokens: Iterable[Token]) -> bool:
    """Say whether addresses stand in links alone, and words nowhere but between the tags."""
    for token in tokens:
        if not all(_is_whole(str(value)) for value in token.attrs.values()):
            return False
        if token.type != "inline" and PLACE in token.content:
            return False
        if not _may_be_filled(token.children or ()):
            return False
    return True


def _is_whole(value: str) -> bool:
    """Say whether the value of an attribute holds nothing to be filled in, or is one address and nothing else."""
    return bool(WHOLE.fullmatch(value)) or not (PLACE in value or STAND_IN.search(value))
