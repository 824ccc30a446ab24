"""Pure: addresses and content in the form in which they may go over the wire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.parser import BytesHeaderParser

from .base import Reply, Scope, Stage, TransportError, stated_wait
from .network import ascii_domain

_LINE_END = re.compile(rb"\r\n|\r|\n")
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)
LISTED = 3  # so many recipients are named in a text for people
_MESSAGE_ID = re.compile(rb"^message-id:[ \t]*([!-~]+)[ \t]*\r\n(?![ \t])", re.IGNORECASE | re.MULTILINE)  # on one line
_HEADERS_END = re.compile(rb"\r\n\r\n|\n\n")


def wire_address(address: str) -> str:
    """Return an address with its domain as A-labels, or raise ValueError.

    Whatever could end the command or begin another one is refused before anything is written.
    """
    local, at, domain = address.rpartition("@")
    if not (local and at and domain):
        raise ValueError(f"{address!r} is not an e-mail address")
    is_quoted = len(local) > 2 and local[0] == local[-1] == '"'
    if not address.isprintable() or any(sign in address for sign in (" <>" if is_quoted else " <>,")):
        raise ValueError(f"{address!r} has characters that an address must not have")
    if "@" in local and not is_quoted:
        raise ValueError(f"{address!r} has characters that an address must not have")
    return f"{local}@{ascii_domain(domain)}"


def wire_recipients(addresses: tuple[str, ...]) -> tuple[dict[str, str], dict[str, Reply]]:
    """Return what goes over the wire for each address, and the refusals of those no relay could take."""
    recipients: dict[str, str] = {}
    refused: dict[str, Reply] = {}
    for address in addresses:
        try:
            recipients[address] = wire_address(address)
        except ValueError as error:
            refused[address] = Reply(None, str(error), "5.1.3")
    if not recipients:
        raise all_refused(refused)
    return recipients, refused


def wire_sender(address: str) -> str:
    try:
        return wire_address(address)
    except ValueError as error:
        raise unfit(f"The sender {error}", enhanced="5.1.7") from error


def unfit(text: str, *, enhanced: str) -> TransportError:
    """Make the error for a mail that this relay can never take; no server spoke."""
    reply = Reply(None, text, enhanced)
    return TransportError(text, stage=Stage.MAIL, scope=Scope.MESSAGE, permanent=True, reply=reply)


def all_refused(refused: Mapping[str, Reply]) -> TransportError:
    """Make the error for a mail that no recipient can get; permanent only if it is so for all."""
    transient = [reply for reply in refused.values() if not reply.permanent]
    replies = transient or list(refused.values())
    waits = [wait for reply in transient if (wait := stated_wait(reply.text)) is not None]
    return TransportError(
        f"No recipient was accepted in this attempt: {_listed(refused)}",
        stage=Stage.RCPT,
        scope=Scope.RECIPIENT,
        permanent=not transient,
        reply=replies[0] if replies else None,
        retry_after=max(waits, default=None),
        refused=refused,
    )


def _listed(refused: Mapping[str, Reply]) -> str:
    named = [f"{address} ({reply})" for address, reply in list(refused.items())[:LISTED]]
    more = len(refused) - len(named)
    return ", ".join(named) + (f", and {more} more" if more else "")


def normalised(content: bytes) -> bytes:
    """Make every line end CRLF, the last one too: bare CR or LF is how mails are smuggled into mails."""
    pairs = content.count(b"\r\n")
    if pairs == content.count(b"\r") == content.count(b"\n") and content.endswith(b"\r\n"):
        return content  # as nearly every one is that we wrote ourselves
    lines = _LINE_END.sub(b"\r\n", content)
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def dot_stuffed(content: bytes) -> bytes:
    """Double the dot at the beginning of a line (RFC 5321 section 4.5.2) and add the final dot."""
    if b"\n." not in content and not content.startswith(b"."):
        return content + b".\r\n"
    return _LEADING_DOT.sub(b"..", content) + b".\r\n"


def headers_of(content: bytes) -> bytes:
    end = _HEADERS_END.search(content)
    return content[: end.start()] if end else content


def message_id_of(content: bytes) -> str:
    """Return the Message-ID that the headers name, '' where they name none."""
    plain = _MESSAGE_ID.findall(headers_of(content) + b"\r\n")
    if len(plain) == 1:
        return str(plain[0].decode("ascii"))
    headers = BytesHeaderParser().parsebytes(headers_of(content) + b"\r\n\r\n")
    return "".join(str(headers.get("Message-ID", "")).split())
