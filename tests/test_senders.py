"""May this From be used? And which From does a mail get?"""

from __future__ import annotations

from email import policy
from email.header import decode_header, make_header
from email.parser import BytesParser
from email.utils import parseaddr
from typing import Any

import pytest

from integrations.senders import (
    Mailbox,
    Sender,
    SenderError,
    canonical_domain,
    default_sender,
    is_reserved,
    parse_mailbox,
    refuse_reserved,
    through_default_sender,
    through_integration,
)

OWN = Mailbox("Rootmail", "workflows@rootmail.example")


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("a@b.test", Mailbox("", "a@b.test")),
        ("<a@b.test>", Mailbox("", "a@b.test")),
        ("  Incident Desk <a@b.test> ", Mailbox("Incident Desk", "a@b.test")),
        ("Example Inc. <a@b.test>", Mailbox("Example Inc.", "a@b.test")),
        (" Mr. J. X<a@b.test> ", Mailbox("Mr. J. X", "a@b.test")),
        ("=?utf-8?q?J=C3=B6rg_K.?= <a@b.test>", Mailbox("Jörg K.", "a@b.test")),
        ('"Desk, Incident" <a@b.test>', Mailbox("Desk, Incident", "a@b.test")),
        (r'"The \"Desk\"" <a@b.test>', Mailbox('The "Desk"', "a@b.test")),
        ("Jörg Müller <a@bücher.test>", Mailbox("Jörg Müller", "a@bücher.test")),
        ("=?utf-8?q?J=C3=B6rg?= <a@b.test>", Mailbox("Jörg", "a@b.test")),
        ("jörg@b.test", Mailbox("", "jörg@b.test")),
        ('"a@b"@c.test', Mailbox("", '"a@b"@c.test')),
        ("o'neil+tag@b_c.test", Mailbox("", "o'neil+tag@b_c.test")),
        ("root@localhost", Mailbox("", "root@localhost")),
    ],
)
def test_reads_one_mailbox(text: str, mailbox: Mailbox) -> None:
    assert parse_mailbox(text) == mailbox


@pytest.mark.parametrize(
    "text",
    [
        *("", "   ", "desk", "a@", "@b.test", "a@b@c.test", "a@b..test", ".a@b.test", "a b@c.test", "a@b.test x"),
        *("a@b.test, c@d.test", "A <a@b.test>, C <c@d.test>", "Desk, Incident <a@b.test>", "a@b.test; c@d.test"),
        *("Desk: a@b.test;", "Desk: a@b.test, c@d.test;", "undisclosed-recipients:;"),
        *(
            "<@relay.test:a@b.test>",
            "A. <@relay.test:a@b.test>",
            "A <a@b.test> trailing",
            "a@b.test>",
            "a\\@b.test",
            "a@[127.0.0.1]",
        ),
        *("a@b.test\r\nBcc: c@d.test", "a@b.test\nBcc: c@d.test", "A\r <a@b.test>", "A\x00 <a@b.test>"),
        *("A\u2028B <a@b.test>", "A\x85B <a@b.test>"),
        # The same, hidden in encoded words.
        *("=?utf-8?q?A=0D=0ABcc:_c@d.test?= <a@b.test>", "=?utf-8?b?QQ0KQmNjOiBjQGQudGVzdA==?= <a@b.test>"),
        *("=?utf-8?q?A=00?= <a@b.test>", "=?utf-8?q?A=E2=80=A8?= <a@b.test>", "=?utf-8?q?a=40b.test?="),
        # Domains that no relay could be told.
        *("a@rootmail.example。。", "a@root\u200bmail.example", "a@root\u00admail.example", "a@☃..test"),
    ],
)
def test_refuses_what_is_not_exactly_one_mailbox(text: str) -> None:
    with pytest.raises(SenderError):
        parse_mailbox(text)


def test_says_what_to_enter() -> None:
    with pytest.raises(SenderError, match=r"Enter one address, for example Incident Desk <incidents@example\.com>\."):
        parse_mailbox("a@b.test, c@d.test")
    with pytest.raises(SenderError, match="must not hold line breaks"):
        parse_mailbox("a@b.test\r\nBcc: c@d.test")
    with pytest.raises(SenderError, match="must not be longer than 998 characters"):
        parse_mailbox("." * 1_000_000 + " <a@b.test>")


@pytest.mark.parametrize(
    ("domain", "canonical"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("XN--bcher-KVA.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),  # as it goes over the wire: IDNA 2008
        ("ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"),
        ("example。com｡", "example.com"),
        ("mail_1.example", "mail_1.example"),
    ],
)
def test_a_domain_has_one_spelling(domain: str, canonical: str) -> None:
    assert canonical_domain(domain) == canonical


@pytest.mark.parametrize(
    "address",
    [
        *("ceo@rootmail.example", "ceo@ROOTMAIL.Example", "ceo@rootmail.example.", "ceo@mail.rootmail.example"),
        *(
            "ceo@a.b.rootmail.example.",
            "ceo@ｒｏｏｔｍａｉｌ．ｅｘａｍｐｌｅ",
            "ceo@rootmail。example",
            "ceo@rootmail｡example。",
        ),
        *("x@bücher.test", "x@xn--bcher-kva.test", "x@XN--BCHER-KVA.test", "x@shop.bÜcher.test"),
        *("x@straße.test", "x@xn--strae-oqa.test"),
        '"a@other.test"@rootmail.example',
    ],
)
def test_an_address_in_or_below_a_reserved_domain_is_reserved(address: str, settings: Any) -> None:
    settings.RESERVED_SENDER_DOMAINS = ["Rootmail.example.", " ", "bücher.test", "straße.test"]
    assert is_reserved(address)


@pytest.mark.parametrize(
    "address", ["a@example", "a@myrootmail.example", "a@rootmail.example.com", '"x@rootmail.example"@b.test', "a@other"]
)
def test_a_similar_address_is_not_reserved(address: str, settings: Any) -> None:
    settings.RESERVED_SENDER_DOMAINS = ["rootmail.example", ""]
    assert not is_reserved(address)


def test_a_reserved_domain_in_its_a_label_spelling_covers_the_other(settings: Any) -> None:
    settings.RESERVED_SENDER_DOMAINS = ["XN--bcher-kva.test"]
    assert is_reserved("x@bücher.test")


@pytest.mark.parametrize(
    "text",
    [
        "ceo@rootmail.example",
        "CEO <ceo@ROOTMAIL.example>",
        "ceo@(comment)rootmail.example",
        "ceo@rootmail.example (comment)",
        "ceo@=?utf-8?q?rootmail.example?=",
        # Many mail programs show the name alone.
        '"ceo@rootmail.example" <a@b.test>',
        '"CEO (ceo@Mail.Rootmail.Example)" <a@b.test>',
        "ceo＠rootmail．example <a@b.test>",
        "=?utf-8?q?ceo=40rootmail.example?= <a@b.test>",
        # Signs that nobody sees.
        '"ceo@rootmail\u200b.example" <a@b.test>',
        '"ceo@root\u00admail.example" <a@b.test>',
        '"ceo@rootmail\ufe0f.example" <a@b.test>',
        '"ceo@\u2060rootm\u034fail.example" <a@b.test>',
        '"ceo@ rootmail.example" <a@b.test>',
    ],
)
def test_nobody_may_send_as_the_installation(text: str) -> None:
    with pytest.raises(SenderError, match=r"(?i)^'(mail\.)?rootmail\.example\.?' belongs to this installation"):
        refuse_reserved(text)


def test_a_name_is_not_encoded_twice() -> None:
    twice = "=?utf-8?q?=3D=3Futf-8=3Fq=3Fceo=3D40rootmail.example=3F=3D?="
    with pytest.raises(SenderError, match="must not be encoded twice"):
        refuse_reserved(f"{twice} <a@b.test>")


def test_an_address_of_somebody_else_may_be_used() -> None:
    assert refuse_reserved("Zo\u00eb \u0928\u092e\u0938\u094d\u0924\u0947 <a@b.test>").address == "a@b.test"
    assert refuse_reserved("CEO of rootmail.example <a@b.test>") == Mailbox("CEO of rootmail.example", "a@b.test")


# Which From a mail gets


@pytest.mark.parametrize(
    ("requested", "sender"),
    [
        ("", Sender(OWN)),
        ("Rootmail <workflows@rootmail.example>", Sender(OWN)),
        ("a@b.test", Sender(OWN, reply_to=Mailbox("", "a@b.test"))),
        (
            "Desk <a@b.test>",
            Sender(Mailbox("Desk", "workflows@rootmail.example"), reply_to=Mailbox("Desk", "a@b.test")),
        ),
    ],
)
def test_the_default_sender_keeps_its_address(requested: str, sender: Sender) -> None:
    assert default_sender() == OWN
    assert through_default_sender(requested) == sender


@pytest.mark.parametrize("requested", ["Ceo <ceo@rootmail.example>", "a@b.test, c@d.test"])
def test_the_default_sender_refuses_too(requested: str) -> None:
    with pytest.raises(SenderError):
        through_default_sender(requested)


@pytest.mark.parametrize(
    ("requested", "default_from", "user_name", "mailbox"),
    [
        ("A <a@b.test>", "Desk <desk@c.test>", "user@d.test", Mailbox("A", "a@b.test")),
        ("", "Desk <desk@c.test>", "user@d.test", Mailbox("Desk", "desk@c.test")),
        # Django's own mails ask for DEFAULT_FROM_EMAIL, which no relay of the company would let pass.
        ("Rootmail <workflows@rootmail.example>", "Desk <desk@c.test>", "", Mailbox("Desk", "desk@c.test")),
        ("", "", "user@d.test", Mailbox("", "user@d.test")),
        ("Rootmail <workflows@rootmail.example>", "", "user@d.test", Mailbox("", "user@d.test")),
    ],
)
def test_an_integration_uses_the_from_asked_for_else_its_own_else_the_username(
    requested: str, default_from: str, user_name: str, mailbox: Mailbox
) -> None:
    sender = through_integration(requested, default_from=default_from, user_name=user_name, label="SMTP")
    assert sender == Sender(mailbox)


@pytest.mark.parametrize("user_name", ["", "apikey", "DOMAIN\\user", "user@", "user@rootmail.example"])
def test_without_any_from_it_says_which_field_to_fill_and_no_username(user_name: str) -> None:
    with pytest.raises(SenderError) as caught:
        through_integration("", default_from="", user_name=user_name, label="SMTP")
    assert str(caught.value) == (
        "No From: fill in 'Default From' in Configuration → Integrations → SMTP, or From in the action."
    )


@pytest.mark.parametrize(
    ("requested", "default_from"),
    [
        ("ceo@rootmail.example", "desk@c.test"),
        ("", "Desk <desk@rootmail.example>"),  # it became reserved after it was saved
        ("a@b.test, c@d.test", "desk@c.test"),
    ],
)
def test_an_integration_refuses_and_takes_nothing_else_instead(requested: str, default_from: str) -> None:
    with pytest.raises(SenderError):
        through_integration(requested, default_from=default_from, user_name="user@d.test", label="SMTP")


# The header


@pytest.mark.parametrize(
    ("mailbox", "value"),
    [
        (Mailbox("", "a@b.test"), "a@b.test"),
        (Mailbox("Desk", "a@b.test"), "Desk <a@b.test>"),
        (Mailbox("Desk, Incident", "a@b.test"), '"Desk, Incident" <a@b.test>'),
        (Mailbox("Jörg", "a@Bücher.test"), "=?utf-8?b?SsO2cmc=?= <a@xn--bcher-kva.test>"),
    ],
)
def test_the_header_is_ascii(mailbox: Mailbox, value: str) -> None:
    assert mailbox.header_value == value


def test_a_reply_address_that_needs_smtputf8_is_shown_without_it() -> None:
    value = Mailbox("Jörg", "jörg@b.test").ascii_value
    header: Any = policy.default.header_factory("Reply-To", value.replace("\r\n", ""))
    assert (header.addresses, header.groups[0].display_name) == ((), "Jörg <jörg@b.test>")
    assert value.isascii()
    assert Mailbox("Jörg", "a@b.test").ascii_value == Mailbox("Jörg", "a@b.test").header_value


def name_in(value: str) -> str:
    """Decode the name by RFC 2047; the newer parser of Python 3.11 leaves a blank between two encoded words."""
    quoted, _ = parseaddr(value.replace("\r\n", ""))
    return str(make_header(decode_header(quoted)))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Desk",
            "Desk, Incident (EU)",
            'The "Desk"',
            "back\\slash",
            "a@b",
            "Jörg Müller",
            "障害対応デスク",
            "🚨 Alarm",
        ),
        *("Incident Response " * 12 + "Desk", "Störung " * 25 + "Ende", "障害" * 60, "x" * 300),
        "=?utf-8?q?not_a_word?=",
    ],
)
def test_every_name_survives_the_way(name: str) -> None:
    mailbox = Mailbox(name, "a@b.test")
    content = f"From: {mailbox.header_value}\r\nReply-To: {mailbox.header_value}\r\n\r\n".encode("ascii")
    message: Any = BytesParser(policy=policy.default).parsebytes(content)
    for header in (message["From"], message["Reply-To"]):
        assert [one.addr_spec for one in header.addresses] == ["a@b.test"]
        assert header.defects == ()
    assert message.keys() == ["From", "Reply-To"]
    assert name_in(mailbox.header_value) == name
    assert max(map(len, content.split(b"\r\n"))) <= 90


def test_people_see_the_letters() -> None:
    assert str(Mailbox("Jörg", "a@bücher.test")) == "Jörg <a@bücher.test>"
    assert str(Mailbox("", "a@bücher.test")) == "a@bücher.test"
