"""Pure: a stored message becomes the body of SendGrid's POST /v3/mail/send."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.utils import getaddresses
from typing import Any

from . import envelope
from .base import Reply, Submission

Json = dict[str, Any]

# Refused by SendGrid in any case, and those that describe the MIME form, which SendGrid makes anew.
RESERVED_HEADERS = frozenset(
    {
        *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "to", "from", "subject", "reply-to", "cc", "bcc"),
        *("content-type", "content-transfer-encoding", "content-disposition", "content-id", "mime-version"),
        "return-path",
    }
)

# The account may have tracking on; links and pixels in operational mail are not ours to rewrite.
TRACKING_OFF: Json = {
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
}


def payload(submission: Submission) -> tuple[Json, dict[str, Reply]]:
    """Return the JSON document, and the refusals of recipients that SendGrid could not take."""
    message = BytesParser(policy=policy.default).parsebytes(submission.content)
    recipients, refused = _recipients(submission)
    bodies = [part for kind in ("plain", "html") if (part := message.get_body((kind,))) is not None]
    message_id = envelope.message_id_of(submission.content)
    document: Json = {
        "personalizations": _personalizations(message, recipients=recipients),
        "from": _sender(message, submission=submission),
        "subject": str(message.get("Subject", "")).strip() or "(no subject)",
        "content": _content(bodies),
        "headers": _headers(message),
        "attachments": [_attachment(part) for part in _leaves(message) if part not in bodies],
        "custom_args": {"rootmail_message_id": message_id} if message_id else {},
        "tracking_settings": TRACKING_OFF,
        **_reply_to(message),
    }
    return {key: value for key, value in document.items() if value}, refused


def _recipients(submission: Submission) -> tuple[dict[str, str], dict[str, Reply]]:
    """Return the due addresses by their small-letter form: SendGrid refuses one that comes twice."""
    wire, refused = envelope.wire_recipients(submission.recipients)
    due: dict[str, str] = {}
    for address, ascii_address in wire.items():
        if ascii_address.isascii():
            due.setdefault(ascii_address.lower(), ascii_address)
        else:
            refused[address] = Reply(None, "SendGrid takes no addresses with letters beyond ASCII", "5.6.7")
    if not due:
        raise envelope.all_refused(refused)
    return due, refused


def _personalizations(message: EmailMessage, *, recipients: Mapping[str, str]) -> list[Json]:
    """Sort the due recipients into to, cc and bcc; each needs a `to`, and nobody may learn of a bcc."""
    due = dict(recipients)
    to = _take(_raw(message, "To"), due=due)
    cc = _take(_raw(message, "Cc"), due=due)
    bcc = [{"email": address} for address in due.values()]
    if not to and cc:
        to, cc = cc[:1], cc[1:]
    if not to:
        return [{"to": [person]} for person in bcc]
    groups = {"to": to, "cc": cc, "bcc": bcc}
    return [{kind: people for kind, people in groups.items() if people}]


def _take(headers: Iterable[str], *, due: dict[str, str]) -> list[Json]:
    """Take the people named in these headers out of those who are due."""
    people = []
    for name, address in _people(headers):
        email = due.pop(address.lower(), None)
        if email:
            people.append(_person(name, email=email))
    return people


def _people(headers: Iterable[str]) -> list[tuple[str, str]]:
    """Return (name, address for the wire); what cannot be read is left out."""
    people = []
    for name, address in _named(headers):
        try:
            people.append((name, envelope.wire_address(address)))
        except ValueError:
            continue
    return people


def _raw(message: EmailMessage, name: str) -> list[str]:
    """Return the fields of this name as they stand in the message, unfolded."""
    found = [str(value) for field, value in message.raw_items() if field.lower() == name.lower()]
    texts = [value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for value in found]
    return [re.sub(r"\r?\n(?=[ \t])", "", text) for text in texts]


def _named(headers: Iterable[str]) -> Iterator[tuple[str, str]]:
    # Not the parsed header's names: Python puts a blank between two encoded words, against RFC 2047 section 6.2.
    for name, address in getaddresses(headers):
        yield str(make_header(decode_header(name))), address


def _person(name: str, *, email: str) -> Json:
    # A comma or semicolon in a name makes SendGrid accept the mail and drop it.
    clean = re.sub(r"[,;\s]+", " ", name).strip()
    return {"email": email, "name": clean} if clean else {"email": email}


def _sender(message: EmailMessage, *, submission: Submission) -> Json:
    people = _people(_raw(message, "From")) or [("", envelope.wire_sender(submission.sender))]
    name, email = people[0]
    if not email.isascii():
        raise envelope.unfit(f"SendGrid takes no sender with letters beyond ASCII: {email}", enhanced="5.6.7")
    return _person(name, email=email)


def _reply_to(message: EmailMessage) -> Json:
    people = [_person(name, email=email) for name, email in _people(_raw(message, "Reply-To"))]
    if len(people) > 1:
        return {"reply_to_list": people}
    return {"reply_to": people[0]} if people else {}


def _content(bodies: list[MIMEPart]) -> list[Json]:
    """Return text before HTML, without empty ones; one block of one character is the least."""
    texts = [(part.get_content_type(), _text(part)) for part in bodies]
    blocks = [{"type": kind, "value": text} for kind, text in texts if text.strip()]
    return blocks or [{"type": "text/plain", "value": " "}]


def _text(part: MIMEPart) -> str:
    try:
        return str(part.get_content())
    except LookupError:  # a charset that nobody knows
        return _bytes(part).decode("utf-8", "replace")


def _headers(message: EmailMessage) -> dict[str, str]:
    named = ((name, str(value).strip()) for name, value in message.items())
    return {name: value for name, value in named if value and name.isascii() and name.lower() not in RESERVED_HEADERS}


def _leaves(part: MIMEPart) -> Iterator[MIMEPart]:
    """Walk over everything that is not a container; an attached message is one thing."""
    if part.get_content_maintype() != "multipart":
        yield part
        return
    for child in part.iter_parts():
        yield from _leaves(child)


def _attachment(part: MIMEPart) -> Json:
    content_id = str(part.get("Content-ID", "")).strip(" <>")
    inline = content_id and part.get_content_disposition() != "attachment"
    attachment = {
        "content": base64.b64encode(_bytes(part)).decode("ascii"),
        "type": part.get_content_type(),
        "filename": part.get_filename() or "attachment",
        "disposition": "inline" if inline else "attachment",
    }
    return attachment | ({"content_id": content_id} if inline else {})


def _bytes(part: MIMEPart) -> bytes:
    if part.get_content_maintype() == "message":
        return b"".join(bytes(child) for child in part.iter_parts()) or bytes(part.get_payload(decode=True) or b"")
    payload_bytes = part.get_payload(decode=True)
    return payload_bytes if isinstance(payload_bytes, bytes) else b""
