"""Whatever is sent, SendGrid takes it, or we refuse it ourselves before anything leaves."""

from __future__ import annotations

import json
import re
from email.errors import MessageError
from email.message import EmailMessage as StandardMessage
from typing import Any

from django.core.mail import EmailMultiAlternatives
from hypothesis import example, given, settings
from hypothesis import strategies as st

from integrations.transports.base import Scope, Submission, TransportError
from integrations.transports.sendgrid_payload import as_json, payload
from tests.effort import examples
from tests.sendgrid_rules import broken_rules
from workflows import mime
from workflows.rendering import RenderingError

from .test_mime import MESSAGE_ID, NOON, a_mail
from .test_smtp_properties import TEXTS

TEXT = TEXTS | st.text(max_size=60)
LINE = TEXT.map(lambda text: re.sub(r"[\r\n]", "", text))
LOCAL = st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1, max_size=12)
DOMAIN = st.sampled_from(["x.test", "X.TEST", "bücher.test", "xn--bcher-kva.test", "-", "a b", "", "x_y.test"])
ADDRESS = st.builds(lambda local, domain: f"{local}@{domain}", LOCAL, DOMAIN) | st.sampled_from(
    ["b@x.test", "B@x.test", '"a b"@x.test', "bö@x.test", "nobody"]
)
BYTES = st.binary(max_size=60) | TEXTS.map(lambda text: text.encode("utf-8", "surrogatepass"))
PEOPLE = st.lists(ADDRESS, max_size=4)
NAME = st.sampled_from(
    ["X-A", "x-sg-id", "To", "REPLY-TO", "List-Unsubscribe", "Received", "X-Ü", "Content-Type", "Cc"]
)
FIELD = st.sampled_from(
    ["From", "To", "Cc", "Subject", "Reply-To", "Message-ID", "Content-Type", "X-A", "received", ""]
)


def outcome(submission: Submission) -> dict[str, Any] | TransportError:
    """Return the document that leaves, which breaks no rule, or what we refused it with."""
    try:
        document, refused = payload(submission)
        sent: dict[str, Any] = json.loads(as_json(document))
    except TransportError as error:
        return of_the_mail(error)
    assert list(broken_rules(sent)) == []
    named = [one for group in sent["personalizations"] for kind in ("to", "cc", "bcc") for one in group.get(kind, [])]
    addresses = set(submission.recipients)
    assert len(named) <= len(addresses - set(refused))
    assert bool(named) == bool(addresses - set(refused))
    return sent


def of_the_mail(error: TransportError) -> TransportError:
    assert error.scope in (Scope.MESSAGE, Scope.RECIPIENT)
    assert not error.outcome_unknown
    return error


@settings(max_examples=examples(300), deadline=None)
@given(subject=LINE, text=TEXT, html=TEXT, to=PEOPLE, cc=PEOPLE, bcc=PEOPLE, headers=st.dictionaries(NAME, LINE),
       name=LINE, attachment=st.none() | st.tuples(LINE, st.binary(max_size=20)))  # fmt: skip
@example("", "", "", [], [], ["b@x.test"], {}, "", None)
@example("s", "t", "", ["b@x.test"], ["B@X.test"], ["b@x.test"], {"Reply-To": "r@x.test"}, "Doe, Amy; Ops", ("", b""))
@example("", "", "", [], [], [], {"To": ":;."}, "", None)
@example("", "", "", [], [], [], {}, "", ("\x0bBcc: evil@x.test", b""))
def test_any_mail_of_django_is_taken(
    subject: str, text: str, html: str, to: list[str], cc: list[str], bcc: list[str], headers: dict[str, str],
    name: str, attachment: tuple[str, bytes] | None,
) -> None:  # fmt: skip
    message = EmailMultiAlternatives(subject, text, "a@x.test", to, bcc, headers=headers, cc=cc)
    message.attach_alternative(html, "text/html")
    if attachment:
        message.attach(*attachment, "application/octet-stream")
    try:
        content = message.message().as_bytes()
    except (ValueError, IndexError, AttributeError, UnicodeError, MessageError):  # Django cannot write it, as To: ":;."
        return
    outcome(Submission("a@x.test", tuple(dict.fromkeys([*to, *cc, *bcc])) or ("b@x.test",), content))


@settings(max_examples=examples(300), deadline=None)
@given(
    fields=st.lists(st.tuples(FIELD, BYTES), max_size=8),
    body=BYTES,
    recipients=st.lists(ADDRESS, min_size=1, max_size=4, unique=True),
    sender=ADDRESS,
)
@example([("To", b"=?x-unknown?q?B?= <b@x.test>"), ("Subject", b"\xff\xfe")], b"\xff", ["b@x.test"], "a@x.test")
@example([("Content-Type", b"text/plain; charset=nobody")], b"\xe4", ["b@x.test"], "a@x.test")
@example([("Content-Type", b"multipart/mixed")], b"", ["b@x.test"], "a@x.test")
@example([("Reply-To", b"=?utf-8?b?AAAA?= <r@x.test>, <, ;:")], b"x", ["b@x.test"], "a@x.test")
def test_any_bytes_are_taken_or_refused(
    fields: list[tuple[str, bytes]], body: bytes, recipients: list[str], sender: str
) -> None:
    head = b"".join(f"{name}: ".encode() + value + b"\r\n" for name, value in fields)
    outcome(Submission(sender, tuple(recipients), head + b"\r\n" + body))


@settings(max_examples=examples(150), deadline=None)
@given(subject=LINE, text=TEXT)
def test_a_mail_of_ours_is_taken_with_its_number(subject: str, text: str) -> None:
    try:
        content = mime.build(a_mail(subject=subject, text=text), message_id=MESSAGE_ID, date=NOON, delivery_id="d-1")
    except (RenderingError, ValueError):
        return
    sent = outcome(Submission("a@x.test", ("a@example.org",), b"From: a@x.test\r\n" + content))
    assert isinstance(sent, dict)
    assert sent["custom_args"] == {"rootmail_delivery": "d-1", "rootmail_message_id": MESSAGE_ID}
    assert sent["headers"]["Message-ID"] == MESSAGE_ID


def test_a_message_that_only_looks_like_one_is_taken() -> None:
    inner = StandardMessage()
    inner.set_content("x")
    outer = StandardMessage()
    outer["To"] = "b@x.test"
    outer.add_attachment(inner)
    assert isinstance(outcome(Submission("a@x.test", ("b@x.test",), outer.as_bytes())), dict)
