"""Text with gaps, where stand-ins stand for words: it is taken apart once, and filled again and again."""

import re
import secrets
from collections.abc import Callable, Sequence

from .structure import BASE, STAND_IN

Words = Sequence[str]
Filler = Callable[[Words], str]  # given no words, it leaves everything as it was

# Stands for the address of a link, since only what looks like one is taken for one. Nobody outside can guess it.
PLACE = f"https://place-{secrets.token_hex(8)}.example/"
_GAP = re.compile(f"{PLACE}([0-9]+)/|({STAND_IN.pattern})")


def place(number: int) -> str:
    """Return what stands for the word of this number where it is an address."""
    return f"{PLACE}{number}/"


class Gapped:
    """A text with gaps; calling it fills them."""

    __slots__ = ("_order", "_pieces", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        gaps = list(_GAP.finditer(text))
        starts, ends = [0, *(gap.end() for gap in gaps)], [*(gap.start() for gap in gaps), len(text)]
        self._pieces = [text[start:end] for start, end in zip(starts, ends, strict=True)]
        self._order = [int(gap[1]) if gap[1] else ord(gap[2]) - BASE for gap in gaps]

    def __call__(self, words: Words) -> str:
        if not (words and self._order):
            return self.text
        parts = [""] * (2 * len(self._order) + 1)
        parts[::2], parts[1::2] = self._pieces, [words[number] for number in self._order]
        return "".join(parts)
