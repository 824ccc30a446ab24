"""A stored mail as people look at it: its HTML part for a frame, its text, headers and source. Pure.

The stored bytes name no sender: the router puts From on when the mail is sent. Here the one that was used stands first.
"""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage

LONGEST = 200_000  # characters of a text or a source on a page; the file holds all of it
FRAMED = ("desktop", "phone", "dark")
PLAIN = ("text", "source", "headers")
VIEWS = FRAMED + PLAIN
# Mail programs choose by the reader's system; here the reader chooses, whatever the browser prefers.
_DARK_ONLY = re.compile(r"@media\s*\(\s*prefers-color-scheme\s*:\s*dark\s*\)", re.I)
_SCHEMES = re.compile(r'(<meta name="(?:supported-)?color-schemes?" content=")light dark(")', re.I)


def html(content: bytes, *, dark: bool) -> str:
    """Return the HTML part, in the theme asked for; empty where the mail has none."""
    found = _part(content, "html")
    found = _SCHEMES.sub(rf"\1{'dark' if dark else 'light'}\2", found)
    return _DARK_ONLY.sub("@media all" if dark else "@media not all", found)


def plain(content: bytes, view: str, *, sender: str) -> str:
    """Return the text part, the headers in readable letters, or the source as it is."""
    if view == "text":
        return _part(content, "plain")
    return _headers(content, sender) if view == "headers" else source(content, sender=sender).decode("utf-8", "replace")


def source(content: bytes, *, sender: str) -> bytes:
    """Return the message with the From that was, or would be, put on; `sender` is the value of the header."""
    return (f"From: {sender}\r\n".encode() if sender else b"") + content


def _headers(content: bytes, sender: str) -> str:
    head = content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    fields = _message(source(head, sender=sender)).items()
    return "\n".join(f"{name}: {' '.join(str(value).split())}" for name, value in fields)


def _part(content: bytes, subtype: str) -> str:
    part = _message(content).get_body(preferencelist=(subtype,))
    if not isinstance(part, EmailMessage) or part.get_content_subtype() != subtype:
        return ""
    return str(part.get_content())


def _message(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=policy.default)
