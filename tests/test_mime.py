from datetime import UTC, datetime, timedelta, timezone
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from integrations.transports.base import Submission
from integrations.transports.sendgrid_payload import payload
from integrations.transports.smtp import SmtpSettings, SmtpTransport
from tests.effort import examples
from workflows import mime
from workflows.recipients import Mailbox, is_address
from workflows.rendering import RenderedMail, RenderingError

from .fake_relay import FakeRelay

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MESSAGE_ID = "<20261122.1@rootmail.example.com>"


def a_mail(
    *,
    to: tuple[str, ...] = ("a@example.org",),
    cc: tuple[str, ...] = (),
    bcc: tuple[str, ...] = (),
    reply_to: tuple[str, ...] = (),
    subject: str = "Checkout fails",
    text: str = "Hello\n",
    html: str = "<p>Hello</p>\n",
) -> RenderedMail:
    return RenderedMail(
        to=to, cc=cc, bcc=bcc, sender="", reply_to=reply_to, subject=subject, text=text, html=html, warnings=()
    )


def built(mail: RenderedMail) -> bytes:
    return mime.build(mail, message_id=MESSAGE_ID, date=NOON, delivery_id="d-1")


def parsed(message: bytes) -> EmailMessage:
    found = BytesParser(EmailMessage, policy=policy.default).parsebytes(message)
    assert not defects(found)
    return found


def defects(message: Message) -> list[object]:
    found: list[object] = list(message.defects)
    for value in message.values():
        found += getattr(value, "defects", [])
    for part in message.iter_parts() if isinstance(message, EmailMessage) else ():
        found += defects(part)
    return found


def content(message: EmailMessage, number: int) -> str:
    part = list(message.iter_parts())[number]
    raw = part.get_payload(decode=True)
    assert isinstance(raw, bytes)
    return raw.decode("utf-8").replace("\r\n", "\n")


def test_writes_the_whole_message_without_from_and_bcc() -> None:
    mail = a_mail(to=("Zoë <z@example.org>",), cc=("b@example.org",), bcc=("hidden@example.org",))
    message = built(mail)
    boundary = message.split(b'boundary="')[1].split(b'"')[0]
    assert message == (
        b"To: =?utf-8?q?Zo=C3=AB?=\r\n <z@example.org>\r\n"
        b"Cc: b@example.org\r\n"
        b"Subject: Checkout fails\r\n"
        b"Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
        b"Message-ID: <20261122.1@rootmail.example.com>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Auto-Submitted: auto-generated\r\n"
        b"X-Rootmail-Delivery: d-1\r\n"
        b'Content-Type: multipart/alternative;\r\n boundary="' + boundary + b'"\r\n'
        b"\r\n"
        b"--" + boundary + b"\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
        b"Hello\r\n\r\n"
        b"--" + boundary + b"\r\n"
        b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
        b"<p>Hello</p>\r\n\r\n"
        b"--" + boundary + b"--\r\n"
    )


def test_is_the_same_for_the_same_mail() -> None:
    assert built(a_mail()) == built(a_mail())


def test_names_nobody_when_all_recipients_are_hidden() -> None:
    message = built(a_mail(to=(), bcc=("hidden@example.org",)))
    assert message.startswith(b"To: undisclosed-recipients:;\r\n")
    assert b"hidden" not in message
    parsed(message)


def test_answers_go_where_the_action_says() -> None:
    message = parsed(built(a_mail(reply_to=("Lagezentrum Süd <lage@example.org>", "b@example.org"))))
    assert str(message["Reply-To"]) == "Lagezentrum Süd <lage@example.org>, b@example.org"
    assert b"Reply-To" not in built(a_mail())


def test_keeps_the_offset_of_the_date() -> None:
    date = datetime(2026, 11, 22, 13, 0, tzinfo=timezone(timedelta(hours=1)))
    message = mime.build(a_mail(), message_id=MESSAGE_ID, date=date, delivery_id="d-1")
    assert b"\r\nDate: Sun, 22 Nov 2026 13:00:00 +0100\r\n" in message


def test_writes_a_foreign_domain_in_its_ascii_spelling() -> None:
    assert built(a_mail(to=("j@bücher.example",))).startswith(b"To: j@xn--bcher-kva.example\r\n")


FOREIGN = ("Amy <a@example.org>", "Jörg <müller@bücher.example>", f"{'ö' * 32}@example.com", "b@example.org")


def test_shows_an_address_beyond_ascii_as_a_group_that_every_parser_takes() -> None:
    assert built(a_mail(to=("müller@example.com",))).startswith(b"To: =?utf-8?q?m=C3=BCller=40example=2Ecom?= :;\r\n")
    message = built(a_mail(to=FOREIGN, cc=FOREIGN[1:2]))
    header = message.split(b"\r\nSubject")[0]
    assert header.isascii()
    assert max(map(len, header.split(b"\r\n"))) <= 78
    found = parsed(message)
    assert [each.addr_spec for each in found["To"].addresses] == ["a@example.org", "b@example.org"]
    shown = [group.display_name for group in found["To"].groups if not group.addresses]
    assert [name.replace(" ", "") for name in shown] == ["Jörgmüller@xn--bcher-kva.example", FOREIGN[2]]


@pytest.mark.parametrize("extensions", [(), ("SMTPUTF8",)])
def test_an_address_beyond_ascii_is_sent_to_where_the_relay_can(extensions: tuple[str, ...]) -> None:
    mail = a_mail(to=("müller@example.com", "a@example.org"))
    addresses = tuple(address for address, _ in mail.envelope)
    with FakeRelay(extensions=extensions) as relay:
        transport = SmtpTransport(SmtpSettings(relay.host, relay.port, ssl=False, domain="me.test"))
        receipt = transport.send(Submission("me@example.org", addresses, built(mail)))
        transport.close()
    assert relay.ledger[0].recipients == (addresses if extensions else addresses[1:])
    assert [reply.enhanced for reply in receipt.refused.values()] == ([] if extensions else ["5.6.7"])
    assert relay.ledger[0].content == built(mail)
    assert relay.ledger[0].content.isascii()
    assert ("MAIL FROM:<me@example.org> SMTPUTF8" in relay.transcript) == bool(extensions)


def test_sendgrid_reads_the_others_of_a_field_with_an_address_beyond_ascii() -> None:
    addresses = ("a@example.org", "müller@bücher.example", f"{'ö' * 32}@example.com", "b@example.org")
    document, refused = payload(Submission("me@example.org", addresses, built(a_mail(to=FOREIGN))))
    people = [{"email": "a@example.org", "name": "Amy"}, {"email": "b@example.org"}]
    assert document["personalizations"] == [{"to": people}]
    assert list(refused) == list(addresses[1:3])


def test_folds_a_long_list_of_recipients() -> None:
    to = tuple(f"Person Number {number} <person{number}@example.org>" for number in range(200))
    message = built(a_mail(to=to))
    header = message.split(b"\r\nSubject")[0]
    assert max(map(len, header.split(b"\r\n"))) <= 78
    assert [str(each) for each in parsed(message)["To"].addresses] == list(to)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "Störung",
        "word " * 100 + "end",
        "x" * 2000,
        "ü" * 700,
        "=?utf-8?q?not_encoded_by_us?=",
        "障害が発生しました " * 20 + "終",
        "🔥 SEV1",
    ],
)
def test_a_subject_arrives_as_it_was(subject: str) -> None:
    message = built(a_mail(subject=subject))
    assert str(parsed(message)["Subject"]) == subject
    assert max(map(len, message.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", "7bit"),
        ("Zoë\n", "quoted-printable"),
        ("x" * 999, "quoted-printable"),
        ("障害が発生しました\n", "base64"),
        ("trailing space \nand tab\t\nand \x0c feed", "quoted-printable"),
        ("From here\n.\n..\n", "7bit"),
        ("no line end", "7bit"),
        ("", "7bit"),
        ("ü" * 5000, "base64"),
    ],
)
def test_a_text_arrives_as_it_was(text: str, encoding: str) -> None:
    message = parsed(built(a_mail(text=text)))
    assert next(message.iter_parts())["Content-Transfer-Encoding"] == encoding
    assert content(message, 0) == text


def test_refuses_a_mail_that_relays_would_refuse() -> None:
    with pytest.raises(RenderingError, match=r"^body: the mail has 26.0 MB; 25 MB are allowed$"):
        built(a_mail(text="x" * 60 + "\n", html=("x" * 63 + "\n") * 420_000))


@pytest.mark.parametrize("value", ["", "<a@b>\r\nBcc: x@example.org", "<a b@c>", "<ä@b>"])
def test_refuses_a_message_id_that_could_add_a_header(value: str) -> None:
    with pytest.raises(ValueError, match="not fit for a header"):
        mime.build(a_mail(), message_id=value, date=NOON, delivery_id="d-1")


LINES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=120)
TEXTS = st.lists(LINES, max_size=6).map("\n".join)


@settings(max_examples=examples(60), deadline=None)
@given(subject=LINES, name=LINES, text=TEXTS, html=TEXTS)
def test_strict_parsers_find_no_fault(subject: str, name: str, text: str, html: str) -> None:
    subject, name = " ".join(subject.split()), " ".join(name.split())
    mailbox = str(Mailbox("a@example.org", name))
    message = built(a_mail(to=(mailbox, "b@example.org"), subject=subject, text=text, html=html))
    found = parsed(message)
    assert max(map(len, message.split(b"\r\n"))) <= 998
    assert b"\n" not in message.replace(b"\r\n", b"")
    assert (content(found, 0), content(found, 1)) == (text, html)
    assert [each.addr_spec for each in found["To"].addresses] == ["a@example.org", "b@example.org"]
    assert str(found["Subject"]) == subject
    # Between two encoded words the parser of older Pythons puts a space that RFC 2047 forbids.
    assert found["To"].addresses[0].display_name.replace(" ", "") == name.replace(" ", "")


@settings(max_examples=examples(100), deadline=None)
@given(local=LINES, name=LINES)
def test_no_address_adds_a_header_or_a_recipient(local: str, name: str) -> None:
    """`local` is anything: what is let through as an address must stay one."""
    address = f"ö{local}@example.org"
    assume(is_address(address))
    mailbox = str(Mailbox(address, " ".join(name.split())))
    message = built(a_mail(to=(mailbox, "b@example.org")))
    assert message.split(b"\r\n\r\n")[0].isascii()
    found = parsed(message)
    assert found.keys()[:3] == ["To", "Subject", "Date"]
    assert [each.addr_spec for each in found["To"].addresses] == ["b@example.org"]
