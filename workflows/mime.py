"""Write a rendered mail as the bytes of an RFC 5322 message, without From and Bcc.

Ours instead of the standard library's EmailMessage, which takes thirty times as long. The library's encoders
do the encoding; what is decided here is which one, and where lines end.
"""

import hashlib
import re
from base64 import encodebytes
from binascii import b2a_qp
from collections.abc import Iterable
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache

from .recipients import ascii_domain, parse, quoted_name
from .rendering import RenderedMail, RenderingError

SIZE_LIMIT = 25 * 1024 * 1024
LINE_LIMIT = 998  # RFC 5322, 2.1.1, without the CRLF
FOLD_AT = 76
PLAIN_HEADER = re.compile(r"(?!.*=\?)[!-~]{1,60}(?: [!-~]{1,60})*")
PLAIN_BODY = bytes((*b"\t\n", *range(0x20, 0x7F)))
ONE_TOKEN = re.compile(r"[!-~]{1,900}")


def build(mail: RenderedMail, *, message_id: str, date: datetime, delivery_id: str) -> bytes:
    """Return the message; the router puts From in front of it when it is sent, and Reply-To where there is none."""
    boundary = _boundary(mail, seed=message_id)
    headers = [*_headers(mail, message_id=message_id, date=date, delivery_id=delivery_id)]
    headers.append(f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"')
    parts = [_part(mail.text, subtype="plain"), _part(mail.html, subtype="html")]
    opening, closing = f"--{boundary}\r\n".encode(), f"--{boundary}--\r\n".encode()
    body = b"".join(opening + part + b"\r\n" for part in parts) + closing
    message = "\r\n".join(headers).encode("ascii") + b"\r\n\r\n" + body
    if len(message) > SIZE_LIMIT:
        size = f"{len(message) / 1024 / 1024:.1f}"
        raise RenderingError("body", f"the mail has {size} MB; {SIZE_LIMIT // 1024 // 1024} MB are allowed")
    return message


def _headers(mail: RenderedMail, *, message_id: str, date: datetime, delivery_id: str) -> Iterable[str]:
    if mail.to:
        yield _address_header("To", mail.to)
    if mail.cc:
        yield _address_header("Cc", mail.cc)
    if not mail.to and not mail.cc:
        yield "To: undisclosed-recipients:;"
    if mail.reply_to:
        yield _address_header("Reply-To", mail.reply_to)
    yield _text_header("Subject", mail.subject)
    yield f"Date: {format_datetime(date)}"
    yield f"Message-ID: {_token(message_id)}"
    yield "MIME-Version: 1.0"
    yield "Auto-Submitted: auto-generated"
    yield f"X-Rootmail-Delivery: {_token(delivery_id)}"


def _token(value: str) -> str:
    if not ONE_TOKEN.fullmatch(value):
        raise ValueError(f"not fit for a header: {value!r}")
    return value


def _text_header(name: str, value: str) -> str:
    if PLAIN_HEADER.fullmatch(value):
        line = f"{name}: {value}"
        return line if len(line) <= FOLD_AT else _folded(f"{name}:", value.split(" "), separator=" ")
    return f"{name}: {_encoded(value, header=name)}"


def _address_header(name: str, mailboxes: Iterable[str]) -> str:
    return _folded(f"{name}:", [_mailbox(each) for each in mailboxes], separator=", ")


@lru_cache(maxsize=4096)  # the same people, mail after mail
def _mailbox(text: str) -> str:
    mailbox = parse(text)
    local, _, domain = mailbox.address.rpartition("@")
    address = mailbox.address if domain.isascii() else f"{local}@{ascii_domain(domain)}"
    if not local.isascii():
        return _encoded_mailbox(mailbox.name, address=address)
    if not mailbox.name:
        return address
    if len(mailbox.name) <= FOLD_AT and PLAIN_HEADER.fullmatch(mailbox.name):
        return f"{quoted_name(mailbox.name)} <{address}>"
    return f"{_encoded(mailbox.name)}\r\n <{address}>"


def _encoded_mailbox(name: str, *, address: str) -> str:
    """Return a group without members that shows the address, as RFC 6857 (3.1.8) downgrades a mailbox.

    Only the envelope needs SMTPUTF8 then: the mail stays one that every relay and every parser takes,
    also for the other recipients where the relay has no SMTPUTF8 and this one is refused.
    """
    return f"{_encoded(f'{name} {address}'.strip(), width=FOLD_AT - len(' :;,'))} :;"


def _encoded(value: str, *, header: str | None = None, width: int = FOLD_AT) -> str:
    """Return RFC 2047 encoded words, folded; a header's name takes its place on the first line."""
    return Header(value, "utf-8", maxlinelen=width, header_name=header).encode(linesep="\r\n", splitchars="")


def _folded(start: str, items: Iterable[str], *, separator: str) -> str:
    """Return a header with its items in lines of a good length, each line but the first indented."""
    mark = separator.rstrip()
    lines = [start]
    for number, item in enumerate(items):
        glue = mark if number else ""
        if number and _column(lines[-1]) + len(glue) + 1 + len(item.split("\r\n", 1)[0]) > FOLD_AT:
            lines[-1] += glue
            lines.append(f" {item}")
        else:
            lines[-1] += f"{glue} {item}"
    return "\r\n".join(lines)


def _column(line: str) -> int:
    return len(line.rsplit("\r\n", 1)[-1])


def _part(text: str, *, subtype: str) -> bytes:
    encoding, content = _transfer(text.replace("\r\n", "\n").replace("\r", "\n"))
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode("ascii") + content.replace(b"\n", b"\r\n")


def _transfer(text: str) -> tuple[str, bytes]:
    """Return the transfer encoding that keeps the text readable and its lines short, and the encoded text."""
    raw = text.encode("utf-8")
    if not raw.translate(None, delete=PLAIN_BODY) and max(map(len, text.split("\n"))) <= LINE_LIMIT:
        return "7bit", raw
    foreign = len(raw) - len(text)
    if foreign > len(raw) // 4:
        return "base64", encodebytes(text.replace("\n", "\r\n").encode("utf-8"))
    return "quoted-printable", b2a_qp(raw, istext=True)


def _boundary(mail: RenderedMail, *, seed: str) -> str:
    """Return a boundary that stands in neither part; the same mail gets the same one."""
    number = 0
    while True:
        boundary = "=_" + hashlib.sha256(f"{seed} {number}".encode()).hexdigest()[:32]
        if boundary not in mail.text and boundary not in mail.html:
            return boundary
        number += 1
