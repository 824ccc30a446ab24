"""The SendGrid transport against a stand-in that enforces the contract."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from email.header import Header
from email.message import EmailMessage
from typing import Any

import httpx
import pytest

from integrations.transports import network
from integrations.transports.base import Receipt, Reply, Scope, Stage, Submission, TransportError
from integrations.transports.sendgrid import SendGridSettings, SendGridTransport
from integrations.transports.sendgrid_answers import stated_seconds
from integrations.transports.sendgrid_payload import payload
from integrations.transports.sendgrid_place import checked_url

from .fake_sendgrid import BAD_KEY, NOT_VERIFIED, STATES, FakeSendGrid, message_id, refuse
from .sendgrid_rules import broken_rules

KEY = "SG.key"


def content(**headers: str) -> bytes:
    message = EmailMessage()
    usual = {"From": "Amy <a@x.test>", "To": "b@x.test", "Subject": "Hello", "Message-ID": "<1@x.test>"}
    for name, value in {**usual, **headers}.items():
        if value:
            message[name.replace("_", "-")] = value
    message.set_content("Text\n")
    return message.as_bytes()


def mail(*recipients: str, body: bytes = b"", sender: str = "a@x.test", **headers: str) -> Submission:
    return Submission(sender=sender, recipients=recipients or ("b@x.test",), content=body or content(**headers))


def send(fake: FakeSendGrid, submission: Submission | None = None, **changes: Any) -> Receipt:
    transport = transport_to(fake, **changes)
    try:
        return transport.send(submission or mail())
    finally:
        transport.close()


def transport_to(fake: FakeSendGrid, **changes: Any) -> SendGridTransport:
    return SendGridTransport(SendGridSettings(**{"api_key": KEY, "base_url": fake.base_url, **changes}))


def fail(fake: FakeSendGrid, submission: Submission | None = None, **changes: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        send(fake, submission, **changes)
    return caught.value


def document_of(submission: Submission) -> dict[str, Any]:
    document, _ = payload(submission)
    assert list(broken_rules(document)) == []
    return document


def test_sends_a_mail() -> None:
    with FakeSendGrid() as fake:
        receipt = send(fake)
    assert fake.requests == ["POST /v3/mail/send"]
    assert receipt.reply == Reply(202, f"queued as {message_id(1)}")
    assert (receipt.message_id, receipt.refused, receipt.tls) == ("<1@x.test>", {}, "TLSv1.3")
    assert fake.ledger == [
        {
            "personalizations": [{"to": [{"email": "b@x.test"}]}],
            "from": {"email": "a@x.test", "name": "Amy"},
            "subject": "Hello",
            "content": [{"type": "text/plain", "value": "Text\n"}],
            "headers": {"Message-ID": "<1@x.test>"},
            "custom_args": {"rootmail_message_id": "<1@x.test>"},
            "tracking_settings": {
                "click_tracking": {"enable": False, "enable_text": False},
                "open_tracking": {"enable": False},
                "subscription_tracking": {"enable": False},
            },
        }
    ]


ALL = ("b@x.test", "c@x.test", "d@x.test", "e@x.test")


@pytest.mark.parametrize(
    ("recipients", "to", "cc", "expected"),
    [
        (ALL, "b@x.test", "c@x.test", [{"to": ["b@x.test"], "cc": ["c@x.test"], "bcc": ["d@x.test", "e@x.test"]}]),
        (ALL[:1], "b@x.test, c@x.test", "", [{"to": ["b@x.test"]}]),
        (ALL[1:], "b@x.test", "c@x.test, d@x.test", [{"to": ["c@x.test"], "cc": ["d@x.test"], "bcc": ["e@x.test"]}]),
        (ALL[2:], "b@x.test", "c@x.test", [{"to": ["d@x.test"]}, {"to": ["e@x.test"]}]),
        (("B@X.test", "b@x.test"), "b@x.test", "B@x.test", [{"to": ["B@X.test"]}]),
        (("b@bücher.test",), "b@bücher.test", "", [{"to": ["b@xn--bcher-kva.test"]}]),
    ],
    ids=["all kinds", "only those due", "cc without to", "bcc do not see each other", "twice", "IDN"],
)
def test_sorts_the_due_recipients(recipients: tuple[str, ...], to: str, cc: str, expected: list[Any]) -> None:
    message = f"From: a@x.test\r\nTo: {to}\r\nSubject: S\r\n".encode()
    message += f"Cc: {cc}\r\n".encode() if cc else b""
    document = document_of(mail(*recipients, body=message + b"\r\nText"))
    found = [
        {kind: [one["email"] for one in people] for kind, people in group.items()}
        for group in document["personalizations"]
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("header", "person"),
    [
        ('"Doe, Amy; Ops" <b@x.test>', {"email": "b@x.test", "name": "Doe Amy Ops"}),
        ("=?utf-8?q?J=C3=BCrgen?= <b@x.test>", {"email": "b@x.test", "name": "Jürgen"}),
        ('",;" <b@x.test>', {"email": "b@x.test"}),
    ],
)
def test_cleans_names(header: str, person: dict[str, str]) -> None:
    document = document_of(mail(body=f"From: a@x.test\r\nTo: {header}\r\nSubject: S\r\n\r\nText".encode()))
    assert document["personalizations"] == [{"to": [person]}]


def test_leaves_out_reserved_headers_in_any_case() -> None:
    head = "From: a@x.test\r\nTO: b@x.test\r\nsubject: S\r\nMIME-Version: 1.0\r\ncontent-TYPE: text/plain\r\n"
    head += "Received: by me\r\nDKIM-Signature: v=1\r\nX-SG-EID: 1\r\nReply-To: r@x.test\r\nReturn-Path: <a@x.test>\r\n"
    head += "List-Unsubscribe: <mailto:u@x.test>\r\nX-Empty: \r\nIn-Reply-To: <0@x.test>\r\n"
    document = document_of(mail(body=head.encode() + b"\r\nText"))
    assert document["headers"] == {"List-Unsubscribe": "<mailto:u@x.test>", "In-Reply-To": "<0@x.test>"}
    assert document["reply_to"] == {"email": "r@x.test"}


def test_several_reply_addresses_are_a_list() -> None:
    document = document_of(mail(Reply_To="R <r@x.test>, s@x.test"))
    assert document["reply_to_list"] == [{"email": "r@x.test", "name": "R"}, {"email": "s@x.test"}]
    assert "reply_to" not in document


def test_text_comes_before_html_and_attachments_follow() -> None:
    message = EmailMessage()
    for name, value in {"From": "a@x.test", "To": "b@x.test", "Subject": "S"}.items():
        message[name] = value
    message.set_content("Text ü\n")
    message.add_alternative("<p>HTML</p>\n", subtype="html")
    html = message.get_body(("html",))
    assert html
    html.add_related(b"png", "image", "png", cid="<logo@x>", filename="logo.png", disposition="inline")
    message.add_attachment(b"data", "application", "pdf", filename="report.pdf")
    document = document_of(mail(body=message.as_bytes()))
    assert document["content"] == [
        {"type": "text/plain", "value": "Text ü\n"},
        {"type": "text/html", "value": "<p>HTML</p>\n"},
    ]
    assert document["attachments"] == [
        {
            "content": "cG5n",
            "type": "image/png",
            "filename": "logo.png",
            "disposition": "inline",
            "content_id": "logo@x",
        },
        {"content": "ZGF0YQ==", "type": "application/pdf", "filename": "report.pdf", "disposition": "attachment"},
    ]


def test_leaves_out_an_empty_text() -> None:
    message = EmailMessage()
    message["From"], message["To"] = "a@x.test", "b@x.test"
    message.set_content("\n")
    message.add_alternative("<p>HTML</p>\n", subtype="html")
    document = document_of(mail(body=message.as_bytes()))
    assert document["content"] == [{"type": "text/html", "value": "<p>HTML</p>\n"}]
    assert document["subject"] == "(no subject)"


def test_an_attached_message_is_one_thing() -> None:
    inner = EmailMessage()
    inner.set_content("Inner\n")
    outer = EmailMessage()
    outer["From"], outer["To"], outer["Subject"] = "a@x.test", "b@x.test", "S"
    outer.set_content("Outer\n")
    outer.add_attachment(inner, filename="inner.eml")
    document = document_of(mail(body=outer.as_bytes()))
    assert [block["value"] for block in document["content"]] == ["Outer\n"]
    assert [(one["type"], one["filename"]) for one in document["attachments"]] == [("message/rfc822", "inner.eml")]


def test_a_mail_without_any_text_has_the_least_that_is_allowed() -> None:
    assert document_of(mail(body=b"From: a@x.test\r\nTo: b@x.test\r\n\r\n"))["content"] == [
        {"type": "text/plain", "value": " "}
    ]


def test_refuses_addresses_beyond_ascii_and_sends_to_the_others() -> None:
    with FakeSendGrid() as fake:
        receipt = send(fake, mail("b@x.test", "bö@x.test", "a b@x.test"))
        error = fail(fake, mail("bö@x.test"))
        sender_error = fail(fake, mail(sender="ä@x.test", From=""))
    assert {address: reply.enhanced for address, reply in receipt.refused.items()} == {
        "bö@x.test": "5.6.7",
        "a b@x.test": "5.1.3",
    }
    assert len(fake.ledger) == 1
    assert (error.scope, error.permanent, set(error.refused)) == (Scope.RECIPIENT, True, {"bö@x.test"})
    assert (sender_error.scope, sender_error.permanent) == (Scope.MESSAGE, True)


P, M = Scope.PROVIDER, Scope.MESSAGE
KEY_ADVICE = "Check the API key: it must be valid"
HTML = (502, "<html>Bad Gateway</html>", {"Content-Type": "text/html"})


@pytest.mark.parametrize(
    ("answer", "scope", "permanent", "unknown", "wait", "words"),
    [
        (refuse(400, "Bad Request"), M, True, False, None, "400 Bad Request"),
        (refuse(400, "too short", "subject"), M, True, False, None, "400 too short (field subject)"),
        (refuse(401, "Permission denied, wrong credentials"), P, False, False, None, KEY_ADVICE),
        (refuse(*BAD_KEY), P, False, False, None, KEY_ADVICE),
        (refuse(401, "authorization required"), P, False, False, None, KEY_ADVICE),
        (refuse(401, "Maximum credits exceeded"), P, False, False, 600, "The plan is used up"),
        (refuse(*STATES["suspended"]), P, False, False, None, "whether the account is under review"),
        (refuse(403, NOT_VERIFIED, "from"), M, True, False, None, "Verify the sender"),
        (refuse(403, "no", "from.email"), M, True, False, None, "Verify the sender"),
        (refuse(403, "access forbidden"), P, False, False, None, KEY_ADVICE),
        (refuse(*STATES["blocked"]), P, False, False, 300, "wait some minutes"),
        (refuse(404, "not found"), P, False, False, None, "Check the API address"),
        (refuse(405, "method not allowed"), P, False, False, None, "Check the API address"),
        (refuse(406, "not acceptable"), P, False, False, None, "Check the API address"),
        (refuse(408, "request timeout"), P, False, False, None, "408 request timeout"),
        (refuse(415, "unsupported media type"), P, False, False, None, "Check the API address"),
        ((302, "", {"Location": "https://elsewhere.test/"}), P, False, False, None, "Check the API address"),
        ((200, "{}", {}), P, False, False, None, "Check the API address"),
        (refuse(413, "content too large"), M, True, False, None, "too large"),
        ((413, "<html>", {}), M, True, False, None, "too large"),
        (refuse(422, "no"), M, True, False, None, "422 no"),
        (refuse(429, "too many requests"), P, False, False, None, "429 too many requests"),
        ((429, "", {"Retry-After": "9"}), P, False, False, 9, "429 Too Many Requests"),
        ((401, refuse(*STATES["credits"])[1], {"Retry-After": "9"}), P, False, False, 9, "The plan is used up"),
        ((500, "", {}), P, False, True, None, "500 Internal Server Error"),
        (HTML, P, False, True, None, "502 Bad Gateway"),
        ((503, "[1]", {"Retry-After": "7"}), P, False, True, 7, "503"),
        ((504, '{"errors": ["text"]}', {}), P, False, True, None, "504"),
        ((500, "[" * 5000, {}), P, False, True, None, "500"),
    ],
)
def test_reads_what_a_refusal_means(
    answer: tuple[int, str, Mapping[str, str]], scope: Scope, permanent: bool, unknown: bool, wait: int | None,
    words: str,
) -> None:  # fmt: skip
    with FakeSendGrid(answer=answer) as fake:
        error = fail(fake)
    stage = Stage.AUTH if words in (KEY_ADVICE, "whether the account is under review") else Stage.HTTP
    assert (error.stage, error.scope, error.permanent, error.outcome_unknown) == (stage, scope, permanent, unknown)
    assert (error.code, error.retry_after) == (answer[0], wait)
    assert words in error.text
    assert len(fake.requests) == 1  # neither repeated nor redirected


INVALID = "Does not contain a valid address."


def refuse_people(*fields: str) -> tuple[int, str, Mapping[str, str]]:
    rows = [{"message": INVALID, "field": field, "help": None} for field in fields]
    return 400, json.dumps({"errors": rows}), {}


@pytest.mark.parametrize(
    ("fields", "recipients", "refused", "permanent"),
    [
        (["personalizations.0.to.0.email"], ("b@x.test", "c@x.test"), {"b@x.test"}, False),
        (["personalizations.0.bcc.0.email"], ("b@x.test", "C@x.test"), {"C@x.test"}, False),
        (["personalizations.0.to.0.email", "personalizations.0.bcc.0"], ("b@x.test", "c@x.test"),
         {"b@x.test", "c@x.test"}, True),
        (["personalizations.0.to"], ("b@x.test",), {"b@x.test"}, True),
        (["personalizations.1.to"], ("d@x.test", "c@x.test"), {"c@x.test"}, False),
        (["personalizations.0.to"], ("B@x.test", "b@x.test"), {"B@x.test", "b@x.test"}, True),
        (["personalizations.0.to.0.email", "subject"], ("b@x.test", "c@x.test"), set(), True),
        (["personalizations.0.to.7.email"], ("b@x.test", "c@x.test"), set(), True),
        (["personalizations.9.to"], ("b@x.test", "c@x.test"), set(), True),
        (["personalizations.0.bcc"], ("b@x.test", "c@x.test", "d@x.test"), set(), True),
        ([], ("b@x.test",), set(), True),
    ],
)  # fmt: skip
def test_an_address_that_sendgrid_refuses_ends_that_recipient_and_not_the_others(
    fields: list[str], recipients: tuple[str, ...], refused: set[str], permanent: bool
) -> None:
    with FakeSendGrid(answer=refuse_people(*fields)) as fake:
        error = fail(fake, mail(*recipients))
    assert set(error.refused) == refused
    assert set(error.refused.values()) <= {Reply(400, INVALID, "5.1.3")}
    assert (error.scope, error.permanent) == (Scope.RECIPIENT if refused else M, permanent)


def test_more_recipients_than_a_request_may_have_follow_later() -> None:
    everybody = tuple(f"p{number}@x.test" for number in range(1002))
    with FakeSendGrid() as fake:
        receipt = send(fake, mail(*everybody))
    assert receipt.refused == dict.fromkeys(
        everybody[1000:], Reply(None, "SendGrid takes 1000 recipients at once", "4.5.3")
    )
    assert not next(iter(receipt.refused.values())).permanent
    assert len(fake.ledger[0]["personalizations"]) == 1000


def test_a_mail_that_is_too_large_is_not_sent() -> None:
    with FakeSendGrid() as fake:
        error = fail(fake, mail(body=content() + b"x" * 30_000_001))
    assert (error.scope, error.permanent, error.enhanced_code, fake.requests) == (M, True, "5.3.4", [])


@pytest.mark.parametrize(("clicks", "opens"), [(False, False), (True, False), (False, True)])
def test_says_in_every_mail_what_may_be_tracked(clicks: bool, opens: bool) -> None:
    with FakeSendGrid() as fake:
        send(fake, click_tracking=clicks, open_tracking=opens)
    assert fake.ledger[0]["tracking_settings"] == {
        "click_tracking": {"enable": clicks, "enable_text": False},
        "open_tracking": {"enable": opens},
        "subscription_tracking": {"enable": False},
    }


def test_names_the_delivery_and_nobody_in_what_events_will_carry() -> None:
    document = document_of(mail(X_Rootmail_Delivery="d-1"))
    assert document["custom_args"] == {"rootmail_delivery": "d-1", "rootmail_message_id": "<1@x.test>"}
    assert "categories" not in document
    long = b"From: a@x.test\r\nMessage-ID: <" + b"1" * 1000 + b"@x.test>\r\n\r\nText"
    assert "custom_args" not in document_of(mail(body=long))


def test_the_number_of_a_mail_comes_back_in_the_receipt_and_fits_into_its_column() -> None:
    with FakeSendGrid(faults=[]) as fake:
        assert send(fake).provider_id == message_id(1)
    with FakeSendGrid(answer=(202, "", {"X-Message-Id": "x" * 300})) as fake:
        assert send(fake).provider_id == "x" * 100


def test_a_certificate_that_nobody_vouches_for_is_not_shown_the_key() -> None:
    with FakeSendGrid(trusted=False) as fake:
        error = fail(fake)
    assert (error.stage, error.scope, error.outcome_unknown, fake.requests) == (Stage.TLS, P, False, [])
    assert "SSL_CERT_FILE must name a file with its CA" in error.text


def test_a_refusal_never_quotes_the_key() -> None:
    with FakeSendGrid(answer=refuse(401, f"bad key {KEY}")) as fake:
        error = fail(fake)
    assert error.reply == Reply(401, "bad key ***")
    assert KEY not in error.text + repr(SendGridSettings(KEY))


@pytest.mark.parametrize("field", [None, "personalizations.0.to"])
def test_of_a_long_answer_the_beginning_is_kept(field: str | None) -> None:
    with FakeSendGrid(answer=refuse(400, "x" * 60_000, field)) as fake:
        error = fail(fake)
    assert max(len(reply.text) for reply in (error.reply, *error.refused.values()) if reply) <= 1100


def test_an_answer_that_comes_byte_by_byte_has_a_limit_too() -> None:
    with FakeSendGrid(faults=["okay", "drip"]) as fake:
        transport = transport_to(fake, total_seconds=1.0)
        with pytest.raises(TransportError):
            transport.send(mail())  # over a connection that was kept, too
        began = time.monotonic()
        with pytest.raises(TransportError) as caught:
            transport.send(mail())
        transport.close()
    assert time.monotonic() - began < 3
    assert caught.value.outcome_unknown


@pytest.mark.parametrize("secret", ["SG.k\x01ey", "sg.KEY", "SG.k\u200bey"])
def test_a_key_that_is_echoed_is_hidden_however_it_is_spelt(secret: str) -> None:
    with FakeSendGrid(answer=refuse(403, f"bad key {secret}")) as fake:
        error = fail(fake)
    assert (error.reply and error.reply.text, "bad key ***" in error.text) == ("bad key ***", True)


@pytest.mark.parametrize("fault", ["hang", "reset", "error"])
def test_no_answer_after_the_whole_mail_leaves_the_outcome_unknown(fault: str) -> None:
    with FakeSendGrid(faults=[fault]) as fake:
        error = fail(fake, reply_seconds=0.3)
    assert (error.stage, error.scope, error.permanent, error.outcome_unknown) == (Stage.HTTP, P, False, True)
    assert len(fake.ledger) == 1


def test_a_proxy_that_answers_for_sendgrid_is_not_believed() -> None:
    with FakeSendGrid(faults=["okay", "page"]) as fake:
        assert [fail(fake).outcome_unknown for _ in range(2)] == [False, True]
    assert fake.ledger == []


def test_an_accepted_mail_stays_accepted_when_the_body_is_cut_short() -> None:
    with FakeSendGrid(answer=(202, "x" * 50, {"X-Message-Id": "abc"}), fault="truncate") as fake:
        assert send(fake).reply == Reply(202, "queued as abc")


def test_a_server_that_is_not_there_has_certainly_not_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    transport = SendGridTransport(SendGridSettings(KEY, base_url=f"http://127.0.0.1:{port}"))
    with pytest.raises(TransportError) as caught:
        transport.send(mail())
    transport.close()
    error = caught.value
    assert (error.stage, error.scope, error.permanent, error.outcome_unknown) == (Stage.CONNECT, P, False, False)


@pytest.mark.parametrize("key", ["", "SG.ke y", "SG.k\ney", "SG.kéy"])
def test_a_key_that_cannot_be_a_header_is_not_sent(key: str) -> None:
    with FakeSendGrid() as fake:
        error = fail(fake, api_key=key)
    assert error.text == "The API key cannot be right: copy it once more, without spaces."
    assert fake.requests == []


def test_white_space_around_the_key_does_not_matter() -> None:
    with FakeSendGrid() as fake:
        assert send(fake, api_key=f" {KEY}\n").reply.code == 202


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("https://api.sendgrid.com", "https://api.sendgrid.com"),
        ("https://api.eu.sendgrid.com/", "https://api.eu.sendgrid.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_takes_a_safe_base_url(url: str, checked: str) -> None:
    assert checked_url(url) == checked


@pytest.mark.parametrize(
    "url", ["http://api.sendgrid.com", "http://10.0.0.1", "api.sendgrid.com", "https://", "ftp://x", "", "http://[::1"]
)
def test_refuses_to_send_the_key_in_clear_text(url: str) -> None:
    with pytest.raises(TransportError):
        checked_url(url)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "999999"}, 3600),
        ({"X-RateLimit-Reset": "1060", "X-RateLimit-Remaining": "0"}, 60),
        ({"X-RateLimit-Reset": "1060"}, 60),
        ({"X-RateLimit-Reset": "900", "X-RateLimit-Remaining": "0"}, 1),
        ({"X-RateLimit-Reset": "1060", "X-RateLimit-Remaining": "500"}, None),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({}, None),
    ],
)
def test_reads_how_long_to_wait(headers: dict[str, str], seconds: int | None) -> None:
    assert stated_seconds(httpx.Headers(headers), now=1000) == seconds


def test_a_rate_limit_says_when_to_come_back() -> None:
    answer = (429, json.dumps({"errors": [{"message": "too many requests"}]}), {"Retry-After": "9"})
    with FakeSendGrid(answer=answer) as fake:
        assert fail(fake).retry_after == 9


def test_asks_what_the_key_may_do() -> None:
    with FakeSendGrid(scopes=["mail.send", "alerts.read"]) as fake:
        assert transport_to(fake).scopes() == ["mail.send", "alerts.read"]
    assert fake.requests == ["GET /v3/scopes"]


@pytest.mark.parametrize(("status", "body"), [(500, ""), (200, "<html>"), (200, "[]"), (200, '{"scopes": 1}')])
def test_asking_for_scopes_never_leaves_an_outcome_unknown(status: int, body: str) -> None:
    with FakeSendGrid(answer=(status, body, {})) as fake, pytest.raises(TransportError) as caught:
        transport_to(fake).scopes()
    assert not caught.value.outcome_unknown


def test_a_long_name_comes_through_unbroken() -> None:
    """It takes two encoded words, and what stands between them is no part of it (RFC 2047, section 6.2)."""
    name = "インシデント対応チーム・東京オフィス・当番"
    folded = Header(name, "utf-8").encode(linesep="\r\n")
    assert folded.count("=?") == 2
    head = f"From: {folded} <desk@example.com>\r\nTo: {folded}\r\n <a@example.org>\r\nSubject: s\r\n\r\n"
    document, _ = payload(Submission("desk@example.com", ("a@example.org",), head.encode() + b"x\r\n"))
    assert document["from"] == {"email": "desk@example.com", "name": name}
    assert document["personalizations"] == [{"to": [{"email": "a@example.org", "name": name}]}]


class TestWhereTheApiIs:
    """Who sets the integration up must not reach what is inside the network, where that is switched off."""

    def refused(self, transport: SendGridTransport) -> str:
        with pytest.raises(TransportError) as caught:
            transport.scopes()
        assert caught.value.scope == Scope.PROVIDER
        return caught.value.text

    @pytest.mark.parametrize("tls", [True, False])
    def test_a_private_address_hears_nothing_where_they_are_switched_off(self, tls: bool) -> None:
        with FakeSendGrid(api_key=KEY, tls=tls) as fake:
            said = self.refused(transport_to(fake, allow_private_networks=False))
            assert transport_to(fake).scopes() == ["mail.send"]
        assert "loopback and private addresses are switched off here" in said
        assert fake.requests == ["GET /v3/scopes"]

    @pytest.mark.parametrize(
        "address", ["https://169.254.169.254", "https://[fd00:ec2::254]", "https://[::ffff:a9fe:a9fe]"]
    )
    def test_metadata_is_never_asked(self, address: str) -> None:
        said = self.refused(SendGridTransport(SendGridSettings(KEY, base_url=address)))
        assert "link-local and cloud metadata addresses are refused" in said

    def test_a_name_that_changes_in_between_hears_nothing_either(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(network, "resolve", lambda *_, **__: ())
        with FakeSendGrid(api_key=KEY) as fake:
            said = self.refused(transport_to(fake, allow_private_networks=False))
        assert "is not a place for an API: 127.0.0.1" in said
        assert fake.requests == []
