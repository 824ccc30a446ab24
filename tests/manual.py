"""The manual as data: its headings, what stands beneath each, its links and its blocks of code."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADING = re.compile(r"(#{1,6}) (.+)")
FENCE = re.compile(r"```([a-z]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n?)+")  # not the further lines of an entry of a list
LINK = re.compile(r"\[[^]]*\]\(([^()\s]+)\)")
CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and the text beneath it down to the next one. `within` are the headings above it, the nearest last."""

    document: str
    title: str
    anchor: str
    body: str
    within: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """What its heading has as code."""
        return set(CODE.findall(self.title))

    @property
    def label(self) -> str:
        """The heading without the name that stands behind it in brackets."""
        return re.sub(r" \(`[^`]+`\)$", "", self.title)

    @property
    def text(self) -> str:
        return " ".join(self.body.split())

    @property
    def begins(self) -> str:
        """Its first paragraph."""
        return " ".join(self.body.strip().partition("\n\n")[0].split())

    @property
    def default(self) -> str:
        """What follows `Default: `, or ''."""
        told = re.search(r"^Default: (.+)$", self.body, re.MULTILINE)
        return told[1].rstrip(".") if told else ""

    @property
    def explains(self) -> bool:
        """Whether something is said beneath the heading, besides a default and the heading once more."""
        said = re.sub(r"^Default: .+$", "", self.body, flags=re.MULTILINE).strip()
        return len(said.split()) >= 2 and said.strip(".") != self.title


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def sections_of(text: str, *, document: str) -> Iterator[Section]:
    """Yield the sections of a document, with the anchors that GitHub gives their headings."""
    seen: Counter[str] = Counter()
    above: list[tuple[int, str]] = []
    for level, title, body in _pieces(text):
        above = [one for one in above if one[0] < level]
        slug = slug_of(title)
        anchor = f"{slug}-{seen[slug]}" if seen[slug] else slug
        seen[slug] += 1
        yield Section(document, title, anchor, body, tuple(name for _, name in above))
        above.append((level, title))


def _pieces(text: str) -> Iterator[tuple[int, str, str]]:
    level, title, lines, fenced = 0, "", list[str](), False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        found = None if fenced else HEADING.fullmatch(line)
        if found is None:
            lines.append(line)
            continue
        if level:
            yield level, title, "\n".join(lines)
        level, title, lines = len(found[1]), found[2].strip(), []
    if level:
        yield level, title, "\n".join(lines)


def slug_of(title: str) -> str:
    """Return the anchor as GitHub makes it: small letters, no punctuation, a hyphen for each blank."""
    shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")


@cache
def every_section() -> list[Section]:
    return [one for path in documents() for one in sections_of(path.read_text(), document=path.name)]


def blocks(path: Path) -> list[tuple[str, str]]:
    """Return the fenced blocks of a document: language and text."""
    return [(language, text) for language, text in FENCE.findall(path.read_text())]


def prose(text: str) -> str:
    """Return a document without what is code."""
    return CODE.sub("", INDENTED.sub("", FENCE.sub("", text)))


def typed(text: str) -> str:
    """Return what a document has as code of any kind, by lines; `\\` goes over lines."""
    whole = re.sub(r"\\\n\s*", "", text)
    unfenced = FENCE.sub("", whole)
    inline = [" ".join(code.split()) for code in CODE.findall(INDENTED.sub("", unfenced))]
    return "\n".join([*inline, *(block for _, block in FENCE.findall(whole)), *INDENTED.findall(unfenced)])


def broken_links(path: Path, text: str) -> list[str]:
    """Return the links of a document to files or anchors that are not there, or to headings that are there twice.

    Addresses elsewhere are not followed.
    """
    return [link for link in LINK.findall(prose(text)) if "://" not in link and not _leads_somewhere(path, text, link)]


def _leads_somewhere(path: Path, text: str, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    if not target.exists():
        return False
    if not anchor:
        return True
    there = text if target == path else target.read_text()
    anchors = {one.anchor for one in sections_of(there, document=target.name)}
    return target.suffix == ".md" and anchor in anchors and f"{anchor}-1" not in anchors
