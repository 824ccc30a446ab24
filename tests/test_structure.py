from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it.token import Token

from tests.effort import examples
from workflows import structure

# Pieces that mean something to Markdown, here or there, between words that may.
# fmt: off
PIECES = [
    "a", "b", "word", "Zoë", "中文", "8", "12.", "12)", "1.", "2026-11-22", "14:02", "5 %", "x_y", "_", "__", "*",
    "**", "~~", "`", "``", "```", "~~~", "#", "##", "### x ##", ">", "-", "+", "---", "===", "***", "[", "]", "](",
    ")", "(", "![", "\\", "\\*", "&", "&amp;", "&#65;", "&#x41;", "&nbsp", "<", ">", "<b>", "</b>", "<div>",
    "</div>", "<div", "<!--", "-->", "<pre>", "</pre>", '<a href="x y">', "<https://a.example>", "<a@b.example>",
    "https://a.example/b_c?d=e", "http://a", "(https://a.example/x 'btn')", '"t"', "'it's'", "'", '"', ":", "]:",
    "|--|:-:|", "[a](b c)", '[a](https://a.example/x "y z")', "[a](https://a.example 'it's')", "![a](cid:b)",
    "[x]: https://a.example", "\U000f003c", "\U000f0026", "\U000f1000", ";", ".", ",", "!", "@", "=", "$", "|",
    "https://a.example/__b__?c=*d*", "| a | b |", "| - | - |", "\n| a | b |\n|---|---|\n| c | 1. |\n",
]
# fmt: on
SEEN = ("type", "tag", "nesting", "attrs", "content", "hidden")
GAPS = ["", " ", " ", "  ", "\n", "\n", "\n\n", "\n\n", "\n    ", "\n  ", "  \n", "\n \n", "\t"]
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(GAPS)), max_size=40).map(
    lambda pairs: "".join(piece + gap for piece, gap in pairs)
)


def plain(tokens: list[Token]) -> list[tuple[object, ...]]:
    """Return what can be seen of the tokens."""
    return [(*map(partial(getattr, one), SEEN), one.info * one.block, plain(one.children or [])) for one in tokens]


@settings(max_examples=examples(1500), deadline=None)
@given(TEXTS)
def test_a_body_is_read_as_if_nothing_were_remembered(source: str) -> None:
    assert plain(structure.tokens(source)) == plain(structure.MARKDOWN.parse(source))
    assert plain(structure.tokens(source)) == plain(structure.MARKDOWN.parse(source))  # now that it is known


@settings(max_examples=examples(500), deadline=None)
@given(st.text(alphabet="ab1 .:|-*_`[]()<>&#\n\\'\"", max_size=80))
def test_so_is_a_body_of_signs(source: str) -> None:
    assert plain(structure.tokens(source)) == plain(structure.MARKDOWN.parse(source))
