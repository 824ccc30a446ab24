"""What is stored of a server's words."""

from __future__ import annotations

import pytest

from integrations.redaction import redact_error, redact_receipt
from integrations.transports.base import Receipt, Reply, Scope, Stage, TransportError
from integrations.transports.veil import Veil

P = Scope.PROVIDER


@pytest.mark.parametrize(
    ("text", "stage", "scope", "expected"),
    [
        ("smtp.acme.test:587 does not answer.", Stage.CONNECT, P, "The relay does not answer."),
        ("The certificate of SMTP.acme.test:465 has expired", Stage.TLS, P, "The certificate of the relay has expired"),
        ("535 user ada failed at smtp.acme.test", Stage.AUTH, P, "535 user the username failed at the relay"),
        ("530 ada may not send today", Stage.MAIL, P, "530 the username may not send today"),
        ("550 no such user ada", Stage.RCPT, Scope.RECIPIENT, "550 no such user ada"),
        ("mx.smtp.acme.test and smtp.acme.test-2", Stage.DATA, P, "mx.smtp.acme.test and smtp.acme.test-2"),
    ],
)
def test_an_error_names_neither_relay_nor_where_it_pauses_the_user(
    text: str, stage: Stage, scope: Scope, expected: str
) -> None:
    reply = Reply(535, text)
    error = TransportError(text, stage=stage, scope=scope, reply=reply, refused={"x": reply})
    redact_error(error, host="smtp.acme.test", user_name="ada")
    assert (error.text, str(error), error.reply) == (expected, expected, Reply(535, expected))
    assert "smtp.acme.test " not in error.refused["x"].text + " " or stage == Stage.DATA


@pytest.mark.parametrize(
    ("host", "text", "expected"),
    [
        (
            "mail",
            "mail:587 did not answer. Whether it took the mail is unknown.",
            "The relay did not answer. Whether it took the mail is unknown.",
        ),
        ("mail", "550 this mail looks like spam to mail", "550 this mail looks like spam to mail"),
        ("smtp.acme.test.", "smtp.acme.test.:587 is down", "The relay is down"),
        ("smtp.acme.test.", "550 ask smtp.acme.test.", "550 ask the relay."),
        ("2001:db8::1", "2001:db8::1 is down", "The relay is down"),
    ],
)
def test_a_host_without_a_dot_is_a_word_like_any_other(host: str, text: str, expected: str) -> None:
    error = TransportError(text, stage=Stage.DATA, scope=P, reply=Reply(550, text))
    redact_error(error, host=host, user_name="")
    assert (error.text, error.reply) == (expected, Reply(550, expected))
    assert Veil(host=host).over(text) == expected


def test_a_receipt_does_not_name_the_relay() -> None:
    receipt = Receipt(
        Reply(250, "queued at smtp.acme.test"), "<1@x>", 1, refused={"b": Reply(550, "ask smtp.acme.test")}
    )
    redacted = redact_receipt(receipt, host="smtp.acme.test")
    assert (redacted.reply.text, redacted.refused["b"].text) == ("queued at the relay", "ask the relay")


TOLD = """\
* Connected to port 25
< 220 smtp.acme.test ESMTP
> EHLO me
< 250 smtp.acme.test greets ada
* 3 mails later
> MAIL FROM:<ada@example.com>
< 250 2.1.0 fine{said}
> .
< 250 queued"""


@pytest.mark.parametrize(
    ("said", "shown"), [("", ""), (" with smtp.acme.test", " with the relay"), (" ada", " the username")]
)
def test_a_transcript_names_them_neither_in_its_opening_nor_in_its_mail(said: str, shown: str) -> None:
    receipt = Receipt(Reply(250, "queued"), "<1@x>", 1, transcript=TOLD.format(said=said))
    redacted = redact_receipt(receipt, host="smtp.acme.test", user_name="ada").transcript
    expected = TOLD.replace("smtp.acme.test", "The relay", 1).replace("smtp.acme.test", "The relay", 1)
    assert redacted == expected.replace("greets ada", "greets the username").format(said=shown)
