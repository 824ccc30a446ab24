"""Pure: the hard rules of SendGrid's POST /v3/mail/send, each as (message, field) of its error document."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

RESERVED = {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
RESERVED |= {"to", "from", "subject", "reply-to", "cc", "bcc"}
PEOPLE_AT_MOST = 1000
ARGUMENTS_AT_MOST = 10_000
AHEAD_AT_MOST = 72 * 3600

NO_PERSONALIZATION = "The personalizations field is required and must have at least one personalization."
TOO_MANY_PERSONALIZATIONS = "There is a limit of 1000 personalizations per API request."
TOO_MANY_RECIPIENTS = "There is a limit of 1000 total recipients (to + cc + bcc) per API request."
NO_TO = (
    "The to array is required for all personalization objects, and must have at least one email object with a valid "
    "email address."
)
DUPLICATE = (
    "Each email address in the personalization block should be unique between to, cc, and bcc. We found the first "
    "duplicate instance of [{}] in the personalizations.{}.{} field."
)
BAD_ADDRESS = "Does not contain a valid address."
BAD_NAME = "The name must not contain ',' or ';'."
NO_FROM = (
    "The from object must be provided for every email send. It is an object that requires the email parameter, but "
    'may also contain a name parameter.  e.g. {"email" : "example@example.com"}  or {"email" : "example@example.com", '
    '"name" : "Example Recipient"}.'
)
NO_SUBJECT = (
    "The subject is required. You can get around this requirement if you use a template with a subject defined or if "
    "every personalization has a subject defined."
)
NO_CONTENT = (
    "Unless a valid template_id is provided, the content parameter is required. There must be at least one defined "
    "content block. We typically suggest both text/plain and text/html blocks are included, but only one block is "
    "required."
)
EMPTY_CONTENT = "The content value must be a string at least one character in length."
BAD_TYPE = "The content type is required, and cannot contain ';', or CRLF characters."
WRONG_ORDER = (
    "If present, text/plain and text/html may only be provided once, and must be first: text/plain, then text/html."
)
RESERVED_HEADER = (
    "The headers {} is a reserved field. The following fields are reserved: x-sg-id, x-sg-eid, received, "
    "dkim-signature, Content-Type, Content-Transfer-Encoding, To, From, Subject, Reply-To, CC, BCC"
)
BAD_HEADER = "The headers names must be ASCII and hold no spaces, and the values must be strings."
BAD_ARGUMENT = "The custom_args values must be strings at least one character in length."
TOO_LARGE_ARGUMENTS = "The size of custom_args must not exceed 10000 bytes."
TOO_MANY_CATEGORIES = "There is a limit of 10 categories per request."
BAD_CATEGORY = "The categories must be unique strings of ASCII, at most 255 characters long."
TWO_REPLY_TO = "Only one of reply_to and reply_to_list may be used."
BAD_ATTACHMENT = "The attachment content must be base64 encoded."
BAD_FILENAME = "The attachment filename must be a string, and cannot contain CRLF characters."
BAD_DISPOSITION = "The attachment disposition must be one of: inline, attachment."
BAD_TIME = "The send_at parameter must be a valid unix timestamp."
TOO_LATE = "Scheduling more than 72 hours in advance is not permitted."

Problems = Iterator[tuple[str, str | None]]
LISTS = ("personalizations", "content", "attachments", "reply_to_list")
MAPPINGS = ("from", "reply_to", "headers", "custom_args", "mail_settings", "tracking_settings")


def broken_rules(document: Any, *, now: float = 0.0) -> Problems:
    """Yield (message, field) for each hard rule that the request breaks; of wrong types only that it does."""
    if not is_shaped(document) or not _is_text(document):
        yield "Bad Request", None
        return
    yield from _personalizations(document)
    yield from _message(document)
    yield from _content(document.get("content") or [])
    yield from _extras(document)
    yield from _attachments(document.get("attachments", []))
    yield from _time(document.get("send_at"), now=now)


def is_shaped(document: Any) -> bool:
    """Say whether everything has its type: of a document that does not, no rule is looked at."""
    if not isinstance(document, dict) or not all(_is_list(document.get(name, [])) for name in LISTS):
        return False
    personal = document.get("personalizations", [])
    people = [one.get(kind, []) for one in personal for kind in ("to", "cc", "bcc")]
    mappings = [document.get(name, {}) for name in MAPPINGS]
    return all(map(_is_list, people)) and all(isinstance(each, dict) for each in mappings)


def _is_text(document: object) -> bool:
    """Say whether all of it is Unicode: half a surrogate pair is none."""
    try:
        return bool(json.dumps(document, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _personalizations(document: dict[str, Any]) -> Problems:
    people = document.get("personalizations", [])
    if not people:
        yield NO_PERSONALIZATION, "personalizations"
    if len(people) > PEOPLE_AT_MOST:
        yield TOO_MANY_PERSONALIZATIONS, "personalizations"
    if sum(len(one.get(kind, [])) for one in people for kind in ("to", "cc", "bcc")) > PEOPLE_AT_MOST:
        yield TOO_MANY_RECIPIENTS, "personalizations"
    for number, one in enumerate(people):
        yield from _personalization(one, number=number)


def _personalization(one: dict[str, Any], *, number: int) -> Problems:
    name = f"personalizations.{number}"
    if not one.get("to"):
        yield NO_TO, f"{name}.to"
    seen: Counter[str] = Counter()
    for kind in ("to", "cc", "bcc"):
        for place, person in enumerate(one.get(kind, [])):
            yield from _person(person, name=f"{name}.{kind}.{place}")
            email = str(person.get("email", "")).lower()
            seen[email] += 1
            if seen[email] == 2:
                yield DUPLICATE.format(email, number, kind), name


def _person(person: dict[str, Any], *, name: str) -> Problems:
    if not is_address(person.get("email")):
        yield BAD_ADDRESS, f"{name}.email"
    if any(sign in str(person.get("name", "")) for sign in ",;"):
        yield BAD_NAME, f"{name}.name"
    if not isinstance(person.get("name", ""), str):
        yield "Bad Request", None


def is_address(email: object) -> bool:
    """ASCII before the @, and a domain of A-labels behind it."""
    return isinstance(email, str) and bool(re.fullmatch(r'("[ -~]+"|[!-?A-~]+)@[!-?A-~]+', email))


def _message(document: dict[str, Any]) -> Problems:
    if not document.get("from", {}).get("email"):
        yield NO_FROM, "from.email"
    elif not is_address(document["from"]["email"]):
        yield BAD_ADDRESS, "from.email"
    subjects = [document.get("subject"), *(one.get("subject") for one in document.get("personalizations", []))]
    if not subjects[0] and not (subjects[1:] and all(subjects[1:])):
        yield NO_SUBJECT, "subject"
    if "reply_to" in document and "reply_to_list" in document:
        yield TWO_REPLY_TO, "reply_to"
    people = [*document.get("reply_to_list", []), *([document["reply_to"]] if "reply_to" in document else [])]
    if not all(is_address(person.get("email")) for person in people):
        yield BAD_ADDRESS, "reply_to"


def _content(blocks: list[dict[str, Any]]) -> Problems:
    if not blocks:
        yield NO_CONTENT, "content"
    for number, block in enumerate(blocks):
        kind, value = block.get("type"), block.get("value")
        if not isinstance(kind, str) or not kind or re.search(r"[;\r\n]", kind):
            yield BAD_TYPE, f"content.{number}.type"
        if not isinstance(value, str) or not value:
            yield EMPTY_CONTENT, f"content.{number}.value"
    order = [{"text/plain": 0, "text/html": 1}.get(str(block.get("type")).partition(";")[0], 2) for block in blocks]
    if order != sorted(order) or order.count(0) > 1 or order.count(1) > 1:
        yield WRONG_ORDER, "content"


def _extras(document: dict[str, Any]) -> Problems:
    for name, value in document.get("headers", {}).items():
        if name.lower() in RESERVED:
            yield RESERVED_HEADER.format(name), f"headers.{name}"
        elif not re.fullmatch(r"[!-9;-~]+", name) or not isinstance(value, str):
            yield BAD_HEADER, f"headers.{name}"
    arguments = document.get("custom_args", {})
    if not all(isinstance(value, str) and value for value in arguments.values()):
        yield BAD_ARGUMENT, "custom_args"
    if sum(len(f"{name}{value}".encode()) for name, value in arguments.items()) > ARGUMENTS_AT_MOST:
        yield TOO_LARGE_ARGUMENTS, "custom_args"
    yield from _categories(document.get("categories", []))


def _categories(categories: Any) -> Problems:
    if not isinstance(categories, list):
        yield "Bad Request", None
        return
    if len(categories) > 10:
        yield TOO_MANY_CATEGORIES, "categories"
    fit = all(isinstance(one, str) and one.isascii() and len(one) <= 255 for one in categories)
    if not fit or len(set(categories)) < len(categories):
        yield BAD_CATEGORY, "categories"


def _attachments(attachments: list[dict[str, Any]]) -> Problems:
    for number, one in enumerate(attachments):
        if not _is_base64(one.get("content")):
            yield BAD_ATTACHMENT, f"attachments.{number}.content"
        if not isinstance(one.get("filename"), str) or re.search(r"[\r\n]", one["filename"]):
            yield BAD_FILENAME, f"attachments.{number}.filename"
        if one.get("disposition", "attachment") not in ("inline", "attachment"):
            yield BAD_DISPOSITION, f"attachments.{number}.disposition"


def _is_base64(text: object) -> bool:
    try:
        return bool(base64.b64decode(str(text), validate=True))
    except binascii.Error:
        return False


def _time(send_at: object, *, now: float) -> Problems:
    if send_at is None:
        return
    if not isinstance(send_at, int) or isinstance(send_at, bool):
        yield BAD_TIME, "send_at"
    elif send_at > now + AHEAD_AT_MOST:
        yield TOO_LATE, "send_at"
