"""May this From be used? And which From does a mail get?"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from email import policy
from email.errors import HeaderParseError, NonASCIILocalPartDefect
from email.header import Header
from email.utils import formataddr
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from django.conf import settings

from .transports import envelope, network

LONGEST = 998  # a line of a header (RFC 5322 section 2.1.1)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LOCAL_AND_DOMAIN = re.compile(r'^(?:"[^"\\]+"|[^\s"@<>(),:;\[\]\\]+)@[^\s@<>(),:;"\[\]]+$')
# RFC 5322 wants quotes around a dot, and people leave them out: Example Inc. <a@example.com>.
_DOTTED_NAME = re.compile(r'^\s*((?!.*=\?)[^"<>@(),:;\\]*\.[^"<>@(),:;\\]*?)\s*(<[^<>]*>)\s*$')
_DOMAIN_IN_A_NAME = re.compile(r"@\s*[\w.。-]+")
_UNSEEN = {"Cf", "Mn", "Me"}  # categories of signs that programs draw as nothing, or over the one before


class SenderError(Exception):
    """This From cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A name (may be empty) and an address, as in From."""

    name: str
    address: str

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @property
    def header_value(self) -> str:
        """The mailbox as a header field's text: name by RFC 2047 and folded, domain in A-labels."""
        local, _, domain = self.address.rpartition("@")
        address = f"{local}@{canonical_domain(domain)}"
        if not self.name:
            return address
        return f"{_quoted_name(self.name)} <{address}>"

    @property
    def ascii_value(self) -> str:
        """The same for a relay without SMTPUTF8: a group without members shows the address (RFC 6857 section 3.1.8)."""
        shown = self.header_value
        return shown if shown.isascii() else f"{_quoted_name(str(self))} :;"

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


def _quoted_name(name: str) -> str:
    if name.isascii() and len(name) < 60 and "=?" not in name:  # RFC 2047 would read "=?" as an encoded word
        return formataddr((name, "x")).removesuffix(" <x>")
    return Header(name, "utf-8", header_name="Reply-To").encode(linesep="\r\n")


@dataclass(frozen=True, slots=True)
class Sender:
    """The From that a mail leaves with. `reply_to` is set where another From was asked for."""

    mailbox: Mailbox
    reply_to: Mailbox | None = None


def parse_mailbox(text: str) -> Mailbox:
    """Return the one mailbox in `text`; SenderError on none, several, or an impossible one."""
    if len(text) > LONGEST:
        raise SenderError(f"A From must not be longer than {LONGEST} characters.")
    if _CONTROL.search(text):
        raise SenderError("A From must not hold line breaks or control characters.")
    found, sound = _read_mailboxes(text)
    if len(found) != 1:
        raise SenderError("Enter one address, for example Incident Desk <incidents@example.com>.")
    if not sound or not _is_address(found[0].address) or _CONTROL.search(found[0].name):
        raise SenderError(f"'{text}' is not an e-mail address such as incidents@example.com.")
    return found[0]


def _is_address(text: str) -> bool:
    try:
        envelope.wire_address(text)
    except ValueError:
        return False
    return bool(_LOCAL_AND_DOMAIN.match(text))


def _read_mailboxes(text: str) -> tuple[list[Mailbox], bool]:
    """Return the mailboxes as a mail program would read them, and whether the text was well-formed."""
    try:
        header: Any = policy.default.header_factory("From", _DOTTED_NAME.sub(r'"\1" \2', text))
        found = [Mailbox(address.display_name, address.addr_spec) for address in header.addresses]
    except (HeaderParseError, ValueError, IndexError, AttributeError):
        return [], False
    grouped = any(group.display_name is not None for group in header.groups)
    return found, not grouped and all(isinstance(defect, NonASCIILocalPartDefect) for defect in header.defects)


@lru_cache(maxsize=256)  # the same few, mail after mail
def canonical_domain(domain: str) -> str:
    """Return the A-label form, lower case, without a trailing dot: one spelling per domain."""
    name = domain.strip().lower()
    with suppress(ValueError):  # not a domain name: compare it as it stands
        name = network.ascii_domain(name)
    return name.rstrip(".")


def is_reserved(address: str) -> bool:
    """Say whether the address lies in a reserved domain or below one."""
    domain = canonical_domain(address.rpartition("@")[2])
    names = [canonical_domain(name) for name in settings.RESERVED_SENDER_DOMAINS if name.strip()]
    return any(domain == name or domain.endswith(f".{name}") for name in names)


def refuse_reserved(text: str) -> Mailbox:
    """Return the mailbox, or raise SenderError where nobody may send as it."""
    mailbox = parse_mailbox(text)
    if "=?" in mailbox.name:  # some program on the way would read another name there
        raise SenderError("The name of a From must not be encoded twice: it must not hold '=?'.")
    for address in _addresses_shown(mailbox):
        if is_reserved(address):
            raise SenderError(
                f"'{address.rpartition('@')[2].strip()}' belongs to this installation and cannot be used as From. "
                "Use an address that your own mail server may send for."
            )
    return mailbox


def _addresses_shown(mailbox: Mailbox) -> list[str]:
    """Return the address, and what looks like one in the name: many mail programs show the name alone."""
    name = unicodedata.normalize("NFKC", mailbox.name)
    seen = "".join(letter for letter in name if unicodedata.category(letter) not in _UNSEEN)
    return [mailbox.address, *_DOMAIN_IN_A_NAME.findall(name), *_DOMAIN_IN_A_NAME.findall(seen)]


def default_sender() -> Mailbox:
    return _own(settings.DEFAULT_FROM_EMAIL)


@lru_cache(maxsize=4)
def _own(text: str) -> Mailbox:
    return parse_mailbox(text)


def default_sender_warning() -> str:
    """Say so where mail of the default sender reaches nobody; '' where it does."""
    if not settings.DEFAULT_SENDER_URL.startswith("file:"):
        return ""
    folder = unquote(settings.DEFAULT_SENDER_URL.removeprefix("file://").removeprefix("file:"))
    return f"The default sender only writes files to {folder}, which nobody receives. DEFAULT_SENDER_URL changes that."


def through_default_sender(requested: str) -> Sender:
    """The default sender keeps its own address; another From lends its name and becomes Reply-To."""
    own = default_sender()
    if not requested or parse_mailbox(requested) == own:
        return Sender(own)
    wanted = refuse_reserved(requested)
    return Sender(Mailbox(wanted.name or own.name, own.address), reply_to=wanted)


def through_integration(requested: str, *, default_from: str, user_name: str, label: str) -> Sender:
    """An integration uses the From asked for, else its Default From, else its username where that is an address."""
    installation = (settings.DEFAULT_FROM_EMAIL, tuple(settings.RESERVED_SENDER_DOMAINS))
    return _through_integration(requested, default_from, user_name, label, installation)


@lru_cache(maxsize=256)  # the same few senders, mail after mail
def _through_integration(
    requested: str, default_from: str, user_name: str, label: str, _installation: tuple[object, ...]
) -> Sender:
    if requested and parse_mailbox(requested) != default_sender():
        return Sender(refuse_reserved(requested))
    if default_from:
        return Sender(refuse_reserved(default_from))
    with suppress(SenderError):
        return Sender(refuse_reserved(user_name))
    raise SenderError(
        f"No From: fill in 'Default From' in Configuration → Integrations → {label}, or From in the action."
    )
