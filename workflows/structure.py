"""Read the Markdown of a body. From mail to mail most bodies differ in their words alone: their structure is known.

Parsing is the longest step of a mail. So runs of words that mean nothing to Markdown give way to stand-ins, the shape
that is left is parsed once and remembered, and the words are put back. What comes out is what parsing the text itself
gives (CommonMark 0.31.2): a property test compares the two.
"""

import re
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.common.normalize_url import normalizeLink
from markdown_it.token import Token

from .bare_links import have_marks, keep_whole
from .liquid.shielding import to_characters

BUTTON_TITLE = "btn"
BASE, MOST_RUNS = 0xF1000, 4096  # behind the stand-ins of `liquid.shielding`, in the same plane
STAND_IN = re.compile(f"[{chr(BASE)}-{chr(BASE + MOST_RUNS)}]")
# What is remembered; a hostile event cannot make more than some 100 MB of it.
LONGEST_SHAPE, MOST_TOKENS, SHAPES = 1000, 1000, 256
# A line of a table may leave out its cells: 20 kB of two lines each could become a mail of 100 MB.
MOST_CELLS = 10_000
LINES = re.compile(r"\r\n?|\n")
DELIMITERS = re.compile(r"[ \t>]*[-:|][-:| \t]*")
LETTER = r"[^\W_]"
# What stands between two words of a run without a meaning there. No quote: it may end the title of a link.
BETWEEN = r"(?:[,.;:%?] ?|[-/@=+–— ]| [-–—/=+%] )"
# Left alone: tags, entities, the number of a list item, and the title of a button. In a link no blank belongs to a run.
RUN = re.compile(
    rf"<[^<>]*>?"
    rf"|\"{BUTTON_TITLE}\"|'{BUTTON_TITLE}'"
    rf"|(?<=\]\(){LETTER}(?:[-:/.?=%#+,;@$\U000f0026]*{LETTER})*/?"
    rf"|(?<!{LETTER})(?<!&)(?<!&#)(?:(?<=[^\s>])|(?!\d{{1,9}}[.)](?:\s|\Z))){LETTER}+(?:{BETWEEN}{LETTER}+)*"
)
# A blank line, and then what can neither go on with a list nor begin another one that would.
BOUNDARY = re.compile(r"(?<=\n)(?:[ \t]*\n)+(?![\s\-+*\d])")
# Inside these a blank line ends nothing.
LASTING = re.compile(r"```|~~~|<(?:[!?]|pre|script|style|textarea)", re.IGNORECASE)
PLAIN_ADDRESS = re.compile(r"https?://[a-z0-9.-]+(?:/[A-Za-z0-9/._-]*)?")
DEFINITION = "]:"  # of a link elsewhere in the text


class _Markdown(MarkdownIt):
    def normalizeLink(self, url: str) -> str:
        return url  # when its words are back: `address`

    def validateLink(self, url: str) -> bool:
        return True  # unsafe ones lose their link, not their label


def tokens(source: str) -> list[Token]:
    """Return markdown-it's tokens, addresses as written. Mails may share those without content and attributes.

    Where tables would have more than MOST_CELLS cells, their lines are text.
    """
    if "|" in source and _most_cells(source) > MOST_CELLS:
        return WITHOUT_TABLES.parse(source)
    if DEFINITION in source or STAND_IN.search(source):
        return MARKDOWN.parse(source)
    parts = [source] if LASTING.search(source) else BOUNDARY.split(source)
    return [token for part in parts for token in _read(part)]


def _most_cells(source: str) -> int:
    """Return how many cells the tables have at the most: each line gets as many as the second line of its table."""
    cells = columns = 0
    for line in LINES.split(source):
        if DELIMITERS.fullmatch(line):
            columns = max(columns, line.count("|") + 1)
        cells += columns
        if not line.strip(" \t>"):
            columns = 0
    return cells


def address(url: str) -> str:
    """Return an address as a link needs it. Before that, nothing can judge it: a stand-in may hide what it says."""
    return url if PLAIN_ADDRESS.fullmatch(url) else normalizeLink(to_characters(url))


def shape_of(source: str) -> tuple[str, list[str]]:
    """Return the source with a stand-in for each of its runs, and these runs: `BASE` and its number stand for one."""
    runs: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        run = match.group()
        if run[0] in "<\"'":
            return run
        runs.append(run)
        return chr(BASE - 1 + len(runs))

    return RUN.sub(stand_in, source), runs


def _read(part: str) -> list[Token]:
    shape, runs = shape_of(part)
    if have_marks(part) or have_marks(shape):  # where a link ends cannot be told from its shape
        return MARKDOWN.parse(part)
    if len(shape) > LONGEST_SHAPE or len(runs) > MOST_RUNS:
        return MARKDOWN.parse(part)
    known = _known(shape)
    if known is None:
        return MARKDOWN.parse(part)
    words = dict(enumerate(runs, start=BASE))
    return [_with_words(token, words) for token in known]


@lru_cache(maxsize=SHAPES)
def _known(shape: str) -> list[Token] | None:
    """Return the tokens of a shape; None where they are too many to be kept, as of a table with missing cells."""
    found = MARKDOWN.parse(shape)
    return found if len(found) + sum(len(token.children or ()) for token in found) <= MOST_TOKENS else None


def _with_words(token: Token, runs: dict[int, str]) -> Token:
    """Return the token with its words; one that can hold none is shared."""
    if token.type == "text":
        return Token("text", "", 0, content=token.content.translate(runs))
    if not (token.attrs or token.content or token.children or token.info):
        return token
    return Token(
        token.type,
        token.tag,
        token.nesting,
        attrs={name: value.translate(runs) if isinstance(value, str) else value for name, value in token.attrs.items()},
        children=token.children and [_with_words(child, runs) for child in token.children],
        content=token.content.translate(runs),
        markup=token.markup,
        info=token.info.translate(runs),
        block=token.block,
        hidden=token.hidden,
    )


def _parser() -> MarkdownIt:
    # Four spaces are how people indent nested Liquid; fences remain for code.
    parser = _Markdown("commonmark").enable(["table", "strikethrough"]).disable("code")
    parser.core.ruler.enableOnly(["normalize", "block", "inline", "text_join"])
    parser.inline.ruler2.after("balance_pairs", "bare_links", keep_whole)
    return parser


MARKDOWN = _parser()
WITHOUT_TABLES = _parser().disable("table")
