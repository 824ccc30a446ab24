"""What is stored of a server's words."""

from __future__ import annotations

import pytest

from integrations.redaction import redact_error, redact_receipt
from integrations.transports.base import Receipt, Reply, Scope, Stage, TransportError

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
