"""Read mailboxes out of what a template rendered: 'Name <a@b>' or 'a@b'."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import idna

# What other systems print where they have no address.
NOTHING = {"", "none", "nil", "null"}
# RFC 6532 adds every letter beyond ASCII to the atoms of RFC 5322.
ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\U0010ffff-]+"
LOCAL_PART = re.compile(rf"{ATOM}(?:\.{ATOM})*")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
WITH_NAME = re.compile(r"(?P<name>[^<>]*|\"(?:[^\"\\]|\\.)*\"\s*)<\s*(?P<address>[^<>\s]+)\s*>")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
PLAIN_NAME = re.compile(r"[^\"(),.:;<>@\[\\\]]*")
# A comma or line end splits only outside quotes; a quote that never closes is an ordinary character.
ELEMENT = re.compile(r'(?:"[^"]*"|[^,\n])+')


@dataclass(frozen=True, slots=True)
class Mailbox:
    address: str
    name: str = ""

    @property
    def key(self) -> str:
        """Return what makes two mailboxes the same: the local part as written, the domain in one spelling."""
        local, _, domain = self.address.rpartition("@")
        return f"{local}@{ascii_domain(domain)}"

    def __str__(self) -> str:
        if not self.name:
            return self.address
        return f"{quoted_name(self.name)} <{self.address}>"


def quoted_name(name: str) -> str:
    if PLAIN_NAME.fullmatch(name):
        return name
    escaped = re.sub(r'(["\\])', r"\\\1", name)
    return f'"{escaped}"'


def split(text: str) -> list[str]:
    """Return the elements of a recipient field, without blanks and 'None'."""
    elements = (element.strip() for element in ELEMENT.findall(text.replace("\r", "\n")))
    return [element for element in elements if element.casefold() not in NOTHING]


@lru_cache(maxsize=4096)  # the same people, mail after mail
def parse(text: str) -> Mailbox:
    """Return the mailbox; raise ValueError with a text for people when it is none."""
    match = WITH_NAME.fullmatch(text.strip())
    address = match["address"] if match else text.strip()
    if not is_address(address):
        raise ValueError(f'"{text.strip()}" is not an e-mail address')
    return Mailbox(address=address, name=_clean_name(match["name"]) if match else "")


def is_address(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    if not at or not _is_local_part(local) or len(text.encode()) > 254:
        return False
    return all(LABEL.fullmatch(label) for label in ascii_domain(domain).split("."))


def _is_local_part(text: str) -> bool:
    """Tell whether it is one; a sign that some program could normalise to an '@' or a comma is none either."""
    plain = unicodedata.normalize("NFKC", text)
    sound = text.isprintable() and LOCAL_PART.fullmatch(text) and LOCAL_PART.fullmatch(plain)
    return bool(sound) and len(text.encode()) <= 64


@lru_cache(maxsize=4096)
def ascii_domain(domain: str) -> str:
    """Return the domain as it goes over the wire, or nothing when no name server could know it."""
    try:
        return (domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")).lower()
    except idna.IDNAError:
        return ""


def canonical(address: str) -> str:
    """Return the one spelling by which what is told about an address is matched: small letters, domain in A-labels."""
    local, _, domain = address.rpartition("@")
    return f"{local.lower()}@{ascii_domain(domain) or domain.lower()}"


def without_duplicates(mailboxes: Iterable[Mailbox], *, seen: set[str]) -> Iterator[Mailbox]:
    """Yield the mailboxes not seen before, and remember them: the first place wins."""
    for mailbox in mailboxes:
        if mailbox.key not in seen:
            seen.add(mailbox.key)
            yield mailbox


def _clean_name(name: str) -> str:
    quoted = QUOTED.fullmatch(name.strip())
    plain = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else name
    return " ".join(plain.split())
