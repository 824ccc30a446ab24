"""Keep the values of an event apart from the markup of the author while both share one text.

A value lands in the middle of Markdown and HTML. The characters that could open a tag or an entity are
swapped for private-use stand-ins, travel through Liquid and Markdown as ordinary letters, and come back as
entities in the HTML and as themselves in the text part. A stand-in that arrives inside a value needs no
removal: it too can only ever become an entity.
"""

import re

# Plane 15: icon fonts live in the private-use area of plane 0.
BASE = 0xF0000
STAND_INS = re.compile(f"[{chr(BASE + 9)}{chr(BASE + 10)}{chr(BASE + 0x20)}-{chr(BASE + 0x7E)}]")
NAMED_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;"}

# What may stand before the first colon of '<https://...>' or make '<a@b>' a mail link.
AUTOLINK = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,31}:[^\s<>]*|[^\s<>@]+@[A-Za-z0-9.-]+")
# A quoted attribute may hold '>'; elsewhere it ends the tag. What a lookahead has found is never tried again in another
# way, as a possessive quantifier would say it; but those match wrongly in Python 3.11.2, which Debian 12 has.
ATTRIBUTES = r"""(?=(?P<attributes>(?:=\s*(?:"[^"]*"|'[^']*')|[^<>=]|=(?!\s*["']))*))(?P=attributes)"""
FINISHED_TAG = re.compile(rf"<[A-Za-z/]{ATTRIBUTES}>|<[!?][^>]*>")
UNFINISHED_TAG = re.compile(rf"""<(?:[A-Za-z/]{ATTRIBUTES}(?:=\s*(?:"[^"]*|'[^']*)?)?|[!?][^>]*)?\Z""")


class TrustedText(str):
    """Text that the author wrote, or that was shielded already: its markup is meant."""

    __slots__ = ()


def _table(characters: str) -> dict[int, int]:
    return {ord(character): BASE + ord(character) for character in characters}


IN_TAG = _table("<>&\"'`=\\ \t\n") | dict.fromkeys(map(ord, "\r\f"), BASE + ord(" "))
IN_NAME = IN_TAG | _table("".join(map(chr, range(0x20, 0x7F))))


def shield(value: str) -> str:
    """Return the value so that it can open neither a tag nor an entity."""
    return value.replace("<", chr(BASE + ord("<"))).replace("&", chr(BASE + ord("&")))


def shield_in_tag(value: str, *, opening: str) -> str:
    """Return the value so that it can neither leave an attribute nor begin another one.

    `opening` is the unfinished tag before it. Straight after '<' a value would name the tag: only an address
    in angle brackets, as Markdown writes links, may stand there.
    """
    names_the_tag = opening in {"<", "</"} and not AUTOLINK.fullmatch(value)
    return value.translate(IN_NAME if names_the_tag else IN_TAG)


def open_tag(text: str) -> str:
    """Return the tag left unfinished at the end of the author's text, or nothing."""
    if "<" not in text:
        return ""
    match = UNFINISHED_TAG.search(FINISHED_TAG.sub("", text))
    return match.group() if match else ""


def to_entities(html: str) -> str:
    return STAND_INS.sub(_entity, html)


def to_characters(text: str) -> str:
    return STAND_INS.sub(lambda match: chr(ord(match.group()) - BASE), text)


def plain(value: object) -> object:
    """Return a text that has stand-ins as the text that it stands for, which is not trusted; anything else as it is."""
    return str(to_characters(value)) if isinstance(value, str) and STAND_INS.search(value) else value


def _entity(match: re.Match[str]) -> str:
    character = chr(ord(match.group()) - BASE)
    return NAMED_ENTITIES.get(character) or f"&#{ord(character)};"
