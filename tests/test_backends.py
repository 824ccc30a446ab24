"""The router, over real sockets: which way a mail takes, and which sender it gets."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection, send_mail

from integrations import services
from integrations.backends import with_sender
from integrations.models import SendGridIntegration, SmtpIntegration
from integrations.senders import Mailbox, Sender
from integrations.transports.base import Receipt, Reply, Scope, Stage, TransportError
from integrations.transports.pool import POOL

from .damage import lose_key_of
from .fake_relay import Accepted, FakeRelay
from .fake_sendgrid import FakeSendGrid
from .installation import wait_until

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router")]
DESK = Sender(Mailbox("Desk", "desk@example.com"))


def mail(subject: str = "Down", **values: Any) -> EmailMessage:
    values = {
        "from_email": "Ada <ada@example.com>",
        "to": ["bob@x.test"],
        "headers": {"Message-ID": "<1@x.test>"},
    } | values
    return EmailMessage(subject, "The database is down.", **values)


def headers_of(content: bytes) -> list[tuple[str, str]]:
    """Return From, Reply-To and whatever else could name a sender or a hidden recipient."""
    names = {"from", "sender", "reply-to", "return-path", "bcc"}
    message = BytesParser(policy=policy.default).parsebytes(content)
    return [
        (name, value) for name, value in message.items() if name.lower() in names or name.lower().startswith("resent")
    ]


def written(outbox: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(outbox.glob("*.eml"))]


def subjects(relay: FakeRelay) -> list[str]:
    parser = BytesParser(policy=policy.default)
    return [str(parser.parsebytes(accepted.content)["Subject"]) for accepted in relay.ledger]


# Which way


def test_sends_through_smtp(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    message = mail(to=["Bob <bob@x.test>"], cc=["carol@x.test"], bcc=["dave@x.test", "bob@x.test"])
    assert message.send() == 1
    [accepted] = relay.ledger
    assert accepted == Accepted("ada@example.com", ("bob@x.test", "carol@x.test", "dave@x.test"), accepted.content)
    assert accepted.content.startswith(b"From: Ada <ada@example.com>\r\nContent-Type: text/plain")
    assert accepted.content.endswith(b"\r\n\r\nThe database is down.\r\n")
    assert b"dave" not in accepted.content
    receipt: Receipt = message.receipt  # type: ignore[attr-defined]
    assert receipt == Receipt(
        reply=Reply(250, "queued as 1", "2.0.0"),
        message_id="<1@x.test>",
        milliseconds=receipt.milliseconds,
        provider="smtp",
        sender="Ada <ada@example.com>",
    )


def test_sends_through_sendgrid(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    message = mail()
    assert message.send() == 1
    [document] = sendgrid_api.ledger
    assert document["from"] == {"email": "ada@example.com", "name": "Ada"}
    assert document["personalizations"] == [{"to": [{"email": "bob@x.test"}]}]
    receipt: Receipt = message.receipt  # type: ignore[attr-defined]
    assert receipt == Receipt(
        reply=Reply(202, "queued as id-1"),
        message_id="<1@x.test>",
        milliseconds=receipt.milliseconds,
        provider="sendgrid",
        sender="Ada <ada@example.com>",
        provider_id="id-1",
    )


def test_sends_through_the_default_sender(live_router: Path) -> None:
    message = mail()
    assert message.send() == 1
    [content] = written(live_router)
    assert headers_of(content) == [
        ("Return-Path", "<workflows@rootmail.example>"),
        ("From", "Ada <workflows@rootmail.example>"),
        ("Reply-To", "Ada <ada@example.com>"),
    ]
    receipt: Receipt = message.receipt  # type: ignore[attr-defined]
    assert (receipt.provider, receipt.sender) == ("default", "Ada <workflows@rootmail.example>")


def test_smtp_beats_sendgrid_beats_the_default_sender(
    smtp: SmtpIntegration,
    relay: FakeRelay,
    sendgrid: SendGridIntegration,
    sendgrid_api: FakeSendGrid,
    live_router: Path,
) -> None:
    def arrived() -> tuple[int, int, int]:
        return len(relay.ledger), len(sendgrid_api.ledger), len(written(live_router))

    mail().send()
    assert arrived() == (1, 0, 0)
    services.disconnect("smtp", actor="ada")
    mail().send()
    assert arrived() == (1, 1, 0)
    services.disconnect("sendgrid", actor="ada")
    mail().send()
    assert arrived() == (1, 1, 1)


def test_connect_and_disconnect_act_on_the_next_mail_of_the_same_batch(
    smtp: SmtpIntegration,
    relay: FakeRelay,
    sendgrid: SendGridIntegration,
    sendgrid_api: FakeSendGrid,
    live_router: Path,
) -> None:
    def batch() -> Iterator[EmailMessage]:
        yield mail("one")
        services.disconnect("smtp", actor="ada")
        yield mail("two")
        services.disconnect("sendgrid", actor="ada")
        yield mail("three")
        again = {"address": "127.0.0.1", "port": relay.port, "user_name": "user", "password": "right horse"}
        services.connect("smtp", again | CLEAR, actor="ada", check=False)
        yield mail("four")

    assert get_connection().send_messages(batch()) == 4
    POOL.close()
    assert subjects(relay) == ["one", "four"]
    assert [document["subject"] for document in sendgrid_api.ledger] == ["two"]
    assert b"\r\nSubject: three\r\n" in written(live_router)[0]
    wait_until(lambda: relay.transcript.count("QUIT") == 2, what="the end of both sessions")


CLEAR = {"ssl": False, "enable_starttls_auto": False, "allow_clear_text_auth": True}


@pytest.mark.parametrize(
    ("replies", "permanent"),
    [
        ({"CONNECT": "421 4.3.2 not now"}, False),
        ({"AUTH": "535 5.7.8 credentials invalid"}, False),
        ({"MAIL": "451 4.3.0 try later"}, False),
        ({"RCPT": "550 5.1.1 no such user"}, True),
        ({".": "554 5.7.1 spam"}, True),
    ],
)
def test_a_failing_provider_never_falls_through_to_the_next(
    smtp: SmtpIntegration,
    relay: FakeRelay,
    sendgrid: SendGridIntegration,
    sendgrid_api: FakeSendGrid,
    live_router: Path,
    replies: dict[str, str],
    permanent: bool,
) -> None:
    relay.replies = replies
    with pytest.raises(TransportError) as caught:
        mail().send()
    assert (caught.value.provider, caught.value.permanent) == ("smtp", permanent)
    assert (relay.ledger, sendgrid_api.requests, live_router.exists()) == ([], [], False)


def test_a_failing_sendgrid_does_not_fall_through_either(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid, live_router: Path
) -> None:
    sendgrid_api.api_key = "SG.another"
    with pytest.raises(TransportError) as caught:
        mail().send()
    assert (caught.value.provider, caught.value.code, live_router.exists()) == ("sendgrid", 401, False)


def test_a_password_that_no_key_decrypts_stops_the_mail(
    smtp: SmtpIntegration,
    relay: FakeRelay,
    sendgrid: SendGridIntegration,
    sendgrid_api: FakeSendGrid,
    live_router: Path,
) -> None:
    lose_key_of(smtp, "password")
    with pytest.raises(TransportError, match="The stored Password of SMTP cannot be decrypted") as caught:
        mail().send()
    assert (caught.value.provider, caught.value.scope) == ("smtp", Scope.PROVIDER)
    assert (relay.transcript, sendgrid_api.requests, live_router.exists()) == ([], [], False)


def test_an_unreadable_url_of_the_default_sender_is_a_transport_error(settings: Any) -> None:
    settings.DEFAULT_SENDER_URL = "nonsense"
    with pytest.raises(TransportError, match="The URL of the default sender cannot be used"):
        mail().send()


# Any Django mail


def test_send_mail_gets_the_default_from_of_the_integration(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    assert send_mail("Down", "Text", None, ["bob@x.test"], html_message="<p>Text</p>") == 1
    assert relay.ledger[0].sender == "desk@example.com"
    assert headers_of(relay.ledger[0].content) == [("From", "Desk <desk@example.com>")]
    assert b"<p>Text</p>" in relay.ledger[0].content


def test_a_password_reset_gets_the_default_from_of_the_integration(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid, settings: Any
) -> None:
    SendGridIntegration.objects.update(default_from="Desk <desk@example.com>")
    message = EmailMultiAlternatives("Reset", "Click", settings.DEFAULT_FROM_EMAIL, ["bob@x.test"])
    message.attach_alternative("<p>Click</p>", "text/html")
    assert message.send() == 1
    assert sendgrid_api.ledger[0]["from"] == {"email": "desk@example.com", "name": "Desk"}
    assert [block["type"] for block in sendgrid_api.ledger[0]["content"]] == ["text/plain", "text/html"]


def test_a_username_that_is_an_address_serves_where_there_is_no_default_from(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    relay.user = smtp.user_name = "mailer@example.com"
    smtp.default_from = ""
    smtp.save()
    mail(from_email=None).send()
    assert relay.ledger[0].sender == "mailer@example.com"


def test_without_any_from_the_mail_fails_for_good_and_says_what_to_fill_in(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    SmtpIntegration.objects.update(default_from="")
    with pytest.raises(TransportError, match=r"No From: fill in 'Default From' in .* SMTP") as caught:
        mail(from_email=None).send()
    error = caught.value
    assert (error.stage, error.scope, error.permanent, error.provider) == (Stage.MAIL, Scope.MESSAGE, True, "smtp")
    assert relay.transcript == []


@pytest.mark.parametrize(
    "requested",
    ["Ceo <ceo@rootmail.example>", "a@ROOTMAIL.example", "a@x.test, b@y.test", '"ceo@rootmail.example" <a@x.test>'],
)
@pytest.mark.parametrize("provider", ["smtp", "sendgrid", "default"])
def test_a_reserved_or_double_from_is_refused_by_every_provider(
    provider: str, requested: str, request: pytest.FixtureRequest, live_router: Path
) -> None:
    if provider != "default":
        request.getfixturevalue(provider)
    with pytest.raises(TransportError) as caught:
        mail(from_email=requested).send()
    error = caught.value
    assert (error.scope, error.permanent, error.provider) == (Scope.MESSAGE, True, provider)
    assert not live_router.exists()


def test_a_mail_without_recipients_is_not_sent(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    assert get_connection().send_messages([mail(to=[])]) == 0
    assert relay.transcript == []


def test_refused_recipients_are_in_the_receipt(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"RCPT carol@x.test": "550 5.1.1 no such user"}
    message = mail(to=["bob@x.test", "Carol <carol@x.test>", "nobody"])
    assert message.send() == 1
    assert relay.ledger[0].recipients == ("bob@x.test",)
    receipt: Receipt = message.receipt  # type: ignore[attr-defined]
    assert {address: str(reply) for address, reply in receipt.refused.items()} == {
        "carol@x.test": "550 5.1.1 no such user",
        "nobody": "5.1.3 'nobody' is not an e-mail address",
    }


def test_what_cannot_be_read_as_one_recipient_is_refused_by_its_name(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    with pytest.raises(TransportError) as caught:
        mail(to=["bob@x.test, carol@x.test"]).send()
    assert list(caught.value.refused) == ["bob@x.test, carol@x.test"]
    assert relay.ledger == []


def test_fail_silently_counts_what_was_accepted(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"RCPT eve@x.test": "550 5.1.1 no such user"}
    messages = [
        mail("one"),
        mail("two", to=["eve@x.test"]),
        mail("three"),
        mail("four", from_email="a@rootmail.example"),
    ]
    assert get_connection(fail_silently=True).send_messages(messages) == 2
    assert subjects(relay) == ["one", "three"]
    assert [hasattr(message, "receipt") for message in messages] == [True, False, True, False]


def test_without_fail_silently_the_first_failure_ends_the_batch(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"RCPT eve@x.test": "550 5.1.1 no such user"}
    with pytest.raises(TransportError, match="no such user"):
        get_connection().send_messages([mail("one"), mail("two", to=["eve@x.test"]), mail("three")])
    assert subjects(relay) == ["one"]


# Sessions


def test_one_session_serves_every_mail_of_a_process(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    assert get_connection().send_messages([mail("one"), mail("two")]) == 2
    mail("three").send()
    assert verbs(relay) == ["EHLO", "AUTH", *["MAIL", "RCPT", "DATA"] * 3]
    POOL.close()
    assert verbs(relay)[-1] == "QUIT"


def test_a_changed_password_opens_a_new_session_and_ends_the_old_one(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    mail().send()
    smtp.password = relay.password = "another horse"
    smtp.save()
    mail().send()
    wait_until(lambda: "QUIT" in relay.transcript, what="the end of the old session")
    assert verbs(relay).count("AUTH") == 2
    assert len(relay.ledger) == 2


def test_a_disconnected_relay_gets_its_quit_with_the_next_mail(
    smtp: SmtpIntegration, relay: FakeRelay, live_router: Path
) -> None:
    mail("one").send()
    services.disconnect("smtp", actor="ada")
    mail("two").send()
    wait_until(lambda: "QUIT" in relay.transcript, what="the end of the old session")
    assert (subjects(relay), len(written(live_router))) == (["one"], 1)


def test_a_session_survives_a_refused_mail(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"MAIL": ["550 5.7.60 not your sender"]}
    with pytest.raises(TransportError):
        mail("one").send()
    mail("two").send()
    assert verbs(relay) == ["EHLO", "AUTH", "MAIL", "RSET", "MAIL", "RCPT", "DATA"]


def verbs(relay: FakeRelay) -> list[str]:
    known = {"EHLO", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "QUIT"}
    return [verb for line in relay.transcript if (verb := line.split(" ")[0]) in known]


# The sender


def test_no_header_of_a_message_can_name_another_sender(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    spoof = "ceo@rootmail.example"
    names = ("From", "Sender", "Resent-From", "Resent-Sender", "resent-bcc", "Return-Path", "X-Harmless")
    mail(headers=dict.fromkeys(names, spoof)).send()
    assert headers_of(relay.ledger[0].content) == [("From", "Ada <ada@example.com>")]
    assert relay.ledger[0].sender == "ada@example.com"
    assert relay.ledger[0].content.count(spoof.encode()) == 1


def test_the_default_sender_leaves_a_reply_to_as_it_is(live_router: Path) -> None:
    mail(reply_to=["desk@x.test"]).send()
    [content] = written(live_router)
    assert headers_of(content)[1:] == [("From", "Ada <workflows@rootmail.example>"), ("Reply-To", "desk@x.test")]


FROM = b"From: Desk <desk@example.com>\r\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Subject: x\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"From: a@b\r\nSubject: x\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject: x\r\nfrom : a@b\r\nTo: c@d\r\n\r\nbody\r\n", b"Subject: x\r\nTo: c@d\r\n\r\nbody\r\n"),
        (b"Subject: x\r\nFROM:\r\n A\r\n\t<a@b>\r\nTo: c@d\r\n\r\n", b"Subject: x\r\nTo: c@d\r\n\r\n"),
        (b"Sender: a@b\r\nResent-From: a@b\r\nRESENT-SENDER: a@b\r\nSubject: x\r\n\r\n", b"Subject: x\r\n\r\n"),
        (b"Return-Path: <a@b>\r\nBcc: e@f,\r\n g@h\r\nResent-Bcc: e@f\r\nSubject: x\r\n\r\n", b"Subject: x\r\n\r\n"),
        (b"Subject: x\r\nFrom: a@b\r\nFrom: c@d\r\n\r\n", b"Subject: x\r\n\r\n"),
        # Line ends that a relay would only later turn into CRLF.
        (
            b"Subject: x\nFrom: a@b\nTo: c@d\n\nFrom: in the body\n",
            b"Subject: x\r\nTo: c@d\r\n\r\nFrom: in the body\r\n",
        ),
        (b"Subject: x\rFrom: a@b\r\n\r\nbody\r\n", b"Subject: x\r\n\r\nbody\r\n"),
        (b"Subject: x\nSender: a@b\r\n\r\nbody", b"Subject: x\r\n\r\nbody\r\n"),
        # A first line that would go on with our own From.
        (b" , ceo@rootmail.example\r\n\t, x@y\r\nSubject: x\r\n\r\n", b"Subject: x\r\n\r\n"),
        # What only looks like a sender stays.
        (b"X-From: a@b\r\nFromage: brie\r\nSubject: a\r\n From: b\r\n\r\n", None),
        (b"Subject: x\r\n\r\nFrom: a@b\r\nBcc: c@d\r\n\r\nSender: e@f\r\n", None),
        (b"Reply-To: a@b\r\nSubject: x\r\n\r\n\xff\xfe\r\n", None),
    ],
)
def test_a_message_names_one_sender_and_it_is_ours(before: bytes, after: bytes | None) -> None:
    assert with_sender(before, DESK) == FROM + (before if after is None else after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Subject: x\r\n\r\n", b"Reply-To: Ada <ada@example.com>\r\nSubject: x\r\n\r\n"),
        (b"Subject: x\r\nreply-to: a@b\r\n\r\n", b"Subject: x\r\nreply-to: a@b\r\n\r\n"),
        (
            b"Subject: x\r\n\r\nReply-To: a@b\r\n",
            b"Reply-To: Ada <ada@example.com>\r\nSubject: x\r\n\r\nReply-To: a@b\r\n",
        ),
    ],
)
def test_the_from_that_was_asked_for_becomes_reply_to(before: bytes, after: bytes) -> None:
    sender = Sender(DESK.mailbox, reply_to=Mailbox("Ada", "ada@example.com"))
    assert with_sender(before, sender) == FROM + after


# Secrets


def test_no_log_record_holds_a_secret(
    db: None, caplog: pytest.LogCaptureFixture, sendgrid_api: FakeSendGrid, live_router: Path
) -> None:
    """Connect, send and fail to send, through both providers, with every logger at DEBUG."""
    for name in (None, *logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, logger=name)
    user, password, key = "mailer-7f3a@corp.example", "right horse battery", "SG.a-very-secret-key"
    with FakeRelay(user=user, password=password) as relay:
        values = {"address": "127.0.0.1", "port": relay.port, "user_name": user, "password": password, **CLEAR}
        for mechanism in ("plain", "login", "cram_md5"):
            services.connect("smtp", values | {"authentication": mechanism}, actor="ada")
            assert mail().send() == 1
            POOL.close()
            relay.password = "changed"
            with pytest.raises(TransportError):
                mail().send()
            relay.password = password
        services.disconnect("smtp", actor="ada")
    sendgrid_api.api_key = key
    services.connect("sendgrid", {"api_key": key, "base_url": sendgrid_api.base_url}, actor="ada")
    assert mail().send() == 1
    sendgrid_api.api_key = "SG.changed"
    with pytest.raises(TransportError):
        mail().send()
    logging.getLogger("tests").debug("the net is out")
    said = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    assert "the net is out" in said
    secrets = [user, password, key, f"\0{user}\0{password}"]
    secrets += [base64.b64encode(secret.encode()).decode() for secret in secrets]
    assert [secret for secret in secrets if secret in said] == []
