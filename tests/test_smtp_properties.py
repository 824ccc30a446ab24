"""Whatever people write arrives intact at the relay, or is refused before anything is written; nothing else leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations import senders
from integrations.backends import with_sender
from integrations.senders import SenderError
from integrations.transports import envelope
from integrations.transports.base import Scope, Submission, TransportError
from integrations.transports.smtp import SmtpTransport
from tests.effort import examples

from .fake_relay import FakeRelay
from .test_mime import LINES, a_mail, built
from .test_smtp import settings_for

OFFERED = ("8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
NASTY = ["\r\n", "\n", "\r", ".", "\r\n.\r\n", "\n.\n", "\r.\r", "\n.\r\n", "\0", "\x85", "\u2028", "\ud800", "\x0b"]
NASTY += ["MAIL FROM:<evil@x.test>", "RCPT TO:<evil@x.test>", "DATA", "QUIT", "Bcc: evil@x.test", "From: evil@x.test"]
NASTY += [
    "<",
    ">",
    "@",
    ",",
    ";",
    ":",
    '"',
    "\\",
    "(",
    ")",
    " ",
    "\t",
    "=?utf-8?q?x?=",
    "ö",
    "例",
    "🔥",
    "\u202e",
    "@x.test",
]
PIECES = st.one_of(st.sampled_from(NASTY), st.text(max_size=12))
TEXTS = st.lists(PIECES, max_size=8).map("".join)
property_test = settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=[(), ("PIPELINING",)], ids=["singly", "pipelined"], scope="module")
def relay(request: pytest.FixtureRequest) -> Iterator[FakeRelay]:
    with FakeRelay(extensions=(*OFFERED, *request.param)) as server:
        yield server


@pytest.fixture(scope="module")
def transport(relay: FakeRelay) -> Iterator[SmtpTransport]:
    """One session for all examples: a mail that leaves something behind spoils the next one."""
    sending = SmtpTransport(replace(settings_for(relay), session_mails=10**6, session_seconds=10**6))
    yield sending
    sending.close()


def commands(relay: FakeRelay) -> list[str]:
    """Return the verbs that the relay has heard since the last look, but for the opening of the session."""
    heard, relay.transcript[:] = [line.split(" ")[0].split(":")[0] for line in relay.transcript], []
    return [verb for verb in heard if verb not in ("EHLO", "RSET")]


def content_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@property_test
@given(body=st.lists(st.one_of(PIECES.map(content_of), st.binary(max_size=40)), max_size=12).map(b"".join))
def test_any_content_is_one_mail(relay: FakeRelay, transport: SmtpTransport, body: bytes) -> None:
    relay.ledger.clear()
    content = b"Subject: x\r\n\r\n" + body
    transport.send(Submission("a@x.test", ("b@x.test",), content))
    [accepted] = relay.ledger
    assert accepted.content == envelope.normalised(content)
    assert (accepted.sender, accepted.recipients) == ("a@x.test", ("b@x.test",))
    assert commands(relay) == ["MAIL", "RCPT", "DATA", f"({len(accepted.content)}"]
    bare = accepted.content.replace(b"\r\n", b"")
    assert b"\r" not in bare
    assert b"\n" not in bare


@property_test
@given(local=TEXTS, domain=st.one_of(st.just("x.test"), st.just("bücher.test"), TEXTS))
def test_any_recipient_arrives_as_itself_or_is_refused_unsaid(
    relay: FakeRelay, transport: SmtpTransport, local: str, domain: str
) -> None:
    relay.ledger.clear()
    address = f"{local}@{domain}"
    receipt = transport.send(Submission("a@x.test", ("first@x.test", address, "last@x.test"), b"A: b\r\n\r\n"))
    [accepted] = relay.ledger
    if address in receipt.refused:
        assert receipt.refused[address].permanent
        assert accepted.recipients == ("first@x.test", "last@x.test")
    else:
        assert accepted.recipients == ("first@x.test", envelope.wire_address(address), "last@x.test")
        assert accepted.recipients[1].startswith(f"{local}@")
    said = len(accepted.recipients)
    assert commands(relay) == ["MAIL", *["RCPT"] * said, "DATA", f"({len(accepted.content)}"]


@property_test
@given(sender=st.one_of(TEXTS, TEXTS.map(lambda local: f"{local}@x.test")))
def test_any_sender_arrives_as_itself_or_is_refused_unsaid(
    relay: FakeRelay, transport: SmtpTransport, sender: str
) -> None:
    relay.ledger.clear()
    error = refusal(transport, Submission(sender, ("b@x.test",), b"A: b\r\n\r\n"))
    if error:
        assert (error.scope, error.permanent, relay.ledger) == (Scope.MESSAGE, True, [])
        assert commands(relay) == []
    else:
        [accepted] = relay.ledger
        assert accepted.sender == envelope.wire_address(sender)
        assert commands(relay)[:3] == ["MAIL", "RCPT", "DATA"]


def refusal(transport: SmtpTransport, submission: Submission) -> TransportError | None:
    try:
        transport.send(submission)
    except TransportError as error:
        return error
    return None


def squeezed(text: str) -> str:
    """Leave blanks aside: folding moves them, and between encoded words older parsers add one."""
    return "".join(text.split())


HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Auto-Submitted", "X-Rootmail-Delivery"]


@property_test
@given(subject=TEXTS, name=st.one_of(LINES.map(squeezed), TEXTS), text=TEXTS, html=TEXTS)
def test_any_subject_name_and_text_arrive_intact_or_are_refused_unsaid(
    relay: FakeRelay, transport: SmtpTransport, subject: str, name: str, text: str, html: str
) -> None:
    """The whole way: the message as the workflows build it, From as the router puts it on."""
    relay.ledger.clear()
    try:
        mailbox = senders.parse_mailbox(str(senders.Mailbox(name, "desk@example.com")))
        message = built(a_mail(subject=subject, text=text, html=html))
    except (SenderError, ValueError):
        assert commands(relay) == []
        return
    content = with_sender(message, senders.Sender(mailbox))
    transport.send(Submission(mailbox.address, ("a@example.org",), content))
    [accepted] = relay.ledger
    assert commands(relay) == ["MAIL", "RCPT", "DATA", f"({len(accepted.content)}"]
    found = BytesParser(EmailMessage, policy=policy.default).parsebytes(accepted.content)
    assert found.keys() == [*HEADERS, "Content-Type"]
    [shown] = found["From"].addresses
    assert shown.addr_spec == "desk@example.com"
    assert squeezed(shown.display_name) == squeezed(mailbox.name)
    assert squeezed(str(found["Subject"])) == squeezed(subject)
    plain, rich = (part.get_payload(decode=True) for part in found.iter_parts())
    assert [lines(plain), lines(rich)] == [lines(content_of(text)), lines(content_of(html))]


def lines(content: object) -> bytes:
    assert isinstance(content, bytes)
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
