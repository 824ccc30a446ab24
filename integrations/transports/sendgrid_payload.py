"""Pure: a stored message becomes the body of SendGrid's POST /v3/mail/send."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from email import policy
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.utils import getaddresses
from typing import Any

from . import envelope
from .base import Reply, Submission, storable

Json = dict[str, Any]

# Refused by SendGrid in any case, and those that describe the MIME form, which SendGrid makes anew.
RESERVED_HEADERS = frozenset(
    {
        *("x-sg-id", "x-sg-eid", "received", "dkim-signature", "to", "from", "subject", "reply-to", "cc", "bcc"),
        *("content-type", "content-transfer-encoding", "content-disposition", "content-id", "mime-version"),
        "return-path",
    }
)

PEOPLE_AT_MOST = 1000  # of a request, in to, cc and bcc together
ARGUMENT_AT_MOST = 998  # of 10,000 bytes for all of them
SIZE_AT_MOST = 30_000_000
_HEADER_NAME = re.compile(r"[!-9;-~]+")


def payload(submission: Submission, *, clicks: bool = False, opens: bool = False) -> tuple[Json, dict[str, Reply]]:
    """Return the JSON document, and the refusals of recipients that it does not name.

    `clicks` and `opens`: whether SendGrid may rewrite links and add a pixel. What the account says counts for nothing.
    """
    message = BytesParser(policy=policy.default).parsebytes(submission.content)
    recipients, refused = _recipients(submission)
    bodies = _bodies(message)
    document: Json = {
        "personalizations": _personalizations(message, recipients=recipients),
        "from": _sender(message, submission=submission),
        "subject": _line(" ".join(_raw(message, "Subject")[:1])) or "(no subject)",
        "content": _content(bodies),
        "headers": _headers(message),
        "attachments": [_attachment(part) for part in _leaves(message) if part not in bodies],
        "custom_args": _arguments(message, message_id=envelope.message_id_of(submission.content)),
        "tracking_settings": _tracking(clicks=clicks, opens=opens),
        **_reply_to(message),
    }
    return {key: value for key, value in document.items() if value}, refused


def as_json(document: Json) -> bytes:
    """Return the body of the request; raises TransportError where it is larger than SendGrid takes."""
    content = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    if len(content) > SIZE_AT_MOST:
        text = f"The mail is too large for SendGrid: {len(content):,} bytes of {SIZE_AT_MOST:,}. Send less with it."
        raise envelope.unfit(text, enhanced="5.3.4")
    return content


def _tracking(*, clicks: bool, opens: bool) -> Json:
    """Say it either way: otherwise the account's own settings count. Links in plain text stay as they are."""
    return {
        "click_tracking": {"enable": clicks, "enable_text": False},
        "open_tracking": {"enable": opens},
        "subscription_tracking": {"enable": False},
    }


def _arguments(message: EmailMessage, *, message_id: str) -> Json:
    """Return what every event about the mail will carry: which mail it is, and nothing about anybody."""
    delivery = _line(" ".join(_raw(message, "X-Rootmail-Delivery")))
    named = {"rootmail_delivery": delivery, "rootmail_message_id": storable(message_id)}
    return {name: value for name, value in named.items() if value and len(value.encode()) <= ARGUMENT_AT_MOST}


def wire_form(address: str) -> str:
    """Return the form under which an address is looked for: SendGrid does not tell capitals from small letters."""
    try:
        return envelope.wire_address(address).lower()
    except ValueError:
        return ""


def _recipients(submission: Submission) -> tuple[dict[str, str], dict[str, Reply]]:
    """Return the due addresses by their small-letter form: SendGrid refuses one that comes twice."""
    wire, refused = envelope.wire_recipients(submission.recipients)
    due: dict[str, str] = {}
    for address, ascii_address in wire.items():
        if not ascii_address.isascii():
            refused[address] = Reply(None, "SendGrid takes no addresses with letters beyond ASCII", "5.6.7")
        elif len(due) < PEOPLE_AT_MOST or ascii_address.lower() in due:
            due.setdefault(ascii_address.lower(), ascii_address)
        else:
            refused[address] = Reply(None, f"SendGrid takes {PEOPLE_AT_MOST} recipients at once", "4.5.3")
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
    return [_unfolded(value) for field, value in message.raw_items() if field.lower() == name.lower()]


def _unfolded(value: object) -> str:
    text = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return re.sub(r"\r?\n(?=[ \t])", "", text)


def _named(headers: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name, address in getaddresses(headers):
        yield _decoded(name), address


def _decoded(text: str) -> str:
    # Not the parsed header: Python puts a blank between two encoded words, against RFC 2047 section 6.2, and
    # stumbles over some that are broken.
    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def _line(text: str) -> str:
    """Return the text of a header field as one line that can be stored."""
    return " ".join(storable(_decoded(text)).split())


def _person(name: str, *, email: str) -> Json:
    # A comma or semicolon in a name makes SendGrid accept the mail and drop it.
    clean = " ".join(re.sub(r"[,;]", " ", storable(name)).split())
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


def _bodies(message: EmailMessage) -> list[MIMEPart]:
    return [part for kind in ("plain", "html") if (part := message.get_body((kind,))) is not None]


def _content(bodies: list[MIMEPart]) -> list[Json]:
    """Return text before HTML, without empty ones; one block of one character is the least."""
    texts = [(part.get_content_type(), _text(part)) for part in bodies]
    blocks = [{"type": kind, "value": text} for kind, text in texts if text.strip()]
    return blocks or [{"type": "text/plain", "value": " "}]


def _text(part: MIMEPart) -> str:
    try:
        text = str(part.get_content())
    except LookupError:  # a charset that nobody knows
        text = _bytes(part).decode("utf-8", "replace")
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _headers(message: EmailMessage) -> dict[str, str]:
    """Return the header fields that SendGrid takes; of several with one name the last counts, as in its JSON."""
    named = ((name, _line(_unfolded(value))) for name, value in message.raw_items())
    return {name: value for name, value in named if value and _may_be_set(name)}


def _may_be_set(name: str) -> bool:
    return bool(_HEADER_NAME.fullmatch(name)) and name.lower() not in RESERVED_HEADERS


def _leaves(part: MIMEPart) -> Iterator[MIMEPart]:
    """Walk over everything that is not a container; an attached message is one thing."""
    if part.get_content_maintype() != "multipart":
        yield part
        return
    for child in part.iter_parts():
        yield from _leaves(child)


def _attachment(part: MIMEPart) -> Json:
    content_id = _line(str(part.get("Content-ID", ""))).strip(" <>")
    inline = content_id and part.get_content_disposition() != "attachment"
    attachment = {
        "content": base64.b64encode(_bytes(part) or b"\n").decode("ascii"),  # one that is empty is refused
        "type": part.get_content_type(),
        "filename": _line(part.get_filename() or "") or "attachment",
        "disposition": "inline" if inline else "attachment",
    }
    return attachment | ({"content_id": content_id} if inline else {})


def _bytes(part: MIMEPart) -> bytes:
    if part.get_content_maintype() == "message":
        return b"".join(bytes(child) for child in part.iter_parts()) or bytes(part.get_payload(decode=True) or b"")
    payload_bytes = part.get_payload(decode=True)
    return payload_bytes if isinstance(payload_bytes, bytes) else b""
