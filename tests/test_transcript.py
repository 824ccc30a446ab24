"""What was said in the session that handed a mail over: whole transcripts, and no credentials in any of them."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMessage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.models import SmtpIntegration
from integrations.redaction import redact_error, redact_receipt
from integrations.transports.base import Receipt, Reply, Scope, Stage, TransportError
from integrations.transports.default import FileSettings, FileTransport
from integrations.transports.smtp import SmtpTransport
from integrations.transports.transcript import LINE_LENGTH, Transcript
from integrations.transports.veil import Veil
from tests.effort import examples

from . import test_sendgrid
from .fake_relay import FakeRelay
from .fake_sendgrid import FakeSendGrid, message_id
from .test_smtp import CONTENT, IN_THE_CLEAR, REQUIRED, fail, mail, send, settings_for

USER, PASSWORD = "desk-4711@acme.test", "right horse, battery"
PLAIN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
CREDENTIALS = {"username": USER, "password": PASSWORD, "allow_clear_text_auth": True}
PIPELINING = ("PIPELINING", "8BITMIME")
GREETING = ["< 220 relay.test ESMTP", "> EHLO me.test", "< 250-relay.test"]
PLAIN_EHLO = [*GREETING, "< 250-8BITMIME", "< 250 ENHANCEDSTATUSCODES"]
AUTH_EHLO = [*PLAIN_EHLO[:-1], "< 250-ENHANCEDSTATUSCODES", "< 250 AUTH PLAIN LOGIN CRAM-MD5"]
TLS = "* TLS 1.3, TLS_AES_256_GCM_SHA384"


def connected(relay: FakeRelay) -> str:
    return f"* Connected to port {relay.port}"


def told(to: str = "b@x.test", *, number: int = 1) -> list[str]:
    """Return the lines of one mail to one recipient, each waiting for its reply."""
    return [
        "> MAIL FROM:<a@x.test>",
        "< 250 2.1.0 ok",
        f"> RCPT TO:<{to}>",
        "< 250 2.1.5 ok",
        "> DATA",
        "< 354 go ahead",
        f"> [{len(CONTENT)} octets of message]",
        "> .",
        f"< 250 2.0.0 queued as {number}",
    ]


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def lines(of: Receipt | TransportError) -> list[str]:
    return of.transcript.split("\n")


# SMTP


@pytest.mark.parametrize(
    ("mechanism", "exchange"),
    [
        ("plain", ["> AUTH PLAIN ***"]),
        ("login", ["> AUTH LOGIN", "< 334 ***", "> ***", "< 334 ***", "> ***"]),
        ("cram_md5", ["> AUTH CRAM-MD5", "< 334 ***", "> ***"]),
    ],
)
def test_credentials_stand_as_stars(mechanism: str, exchange: list[str]) -> None:
    with FakeRelay(user=USER, password=PASSWORD) as relay:
        receipt = send(relay, authentication=mechanism, **CREDENTIALS)
    assert lines(receipt) == [connected(relay), *AUTH_EHLO, *exchange, "< 235 2.7.0 welcome", *told()]


def test_a_response_that_is_asked_for_separately_stands_as_stars() -> None:
    replies = {"AUTH": "334 go on", PLAIN.upper(): f"535 no: {PLAIN}"}  # as a line of its own, it is its own point
    with FakeRelay(user=USER, password=PASSWORD, replies=replies) as relay:
        error = fail(relay, **CREDENTIALS)
    exchange = ["> AUTH PLAIN ***", "< 334 ***", "> ***", "< 535 no: ***"]
    assert lines(error) == [connected(relay), *AUTH_EHLO, *exchange]


def test_starttls_stands_between_two_ehlo() -> None:
    with FakeRelay(tls="starttls", user=USER, password=PASSWORD) as relay:
        receipt = send(relay, **REQUIRED, **CREDENTIALS)
    in_clear = [*AUTH_EHLO[:-1], "< 250-STARTTLS", AUTH_EHLO[-1]]
    encrypted = [TLS, *AUTH_EHLO[1:], "> AUTH PLAIN ***", "< 235 2.7.0 welcome"]
    starttls = ["> STARTTLS", "< 220 2.0.0 ready"]
    assert lines(receipt) == [connected(relay), *in_clear, *starttls, *encrypted, *told()]


def test_implicit_tls_stands_before_the_greeting() -> None:
    with FakeRelay(tls="implicit") as relay:
        receipt = send(relay, ssl=True)
    assert lines(receipt) == [connected(relay), TLS, *PLAIN_EHLO, *told()]


def test_a_relay_that_knows_helo_only() -> None:
    with FakeRelay(replies={"EHLO": "502 5.5.1 what?"}) as relay:
        receipt = send(relay)
    opening = ["> EHLO me.test", "< 502 5.5.1 what?", "> HELO me.test", "< 250 relay.test"]
    assert lines(receipt) == [connected(relay), GREETING[0], *opening, *told()]


def test_a_flight_stands_before_its_replies() -> None:
    refusal = "550-5.1.1 no\n550 5.1.1 such user"
    with FakeRelay(extensions=PIPELINING, replies={"RCPT TO:<bob@": refusal}) as relay:
        receipt = send(relay, mail("amy@x.test", "bob@x.test"))
    assert lines(receipt) == [
        connected(relay),
        *GREETING,
        "< 250-PIPELINING",
        "< 250 8BITMIME",
        "> MAIL FROM:<a@x.test>",
        "> RCPT TO:<amy@x.test>",
        "> RCPT TO:<bob@x.test>",
        "> DATA",
        "< 250 2.1.0 ok",
        "< 250 2.1.5 ok",
        "< 550-5.1.1 no",
        "< 550 5.1.1 such user",
        "< 354 go ahead",
        f"> [{len(CONTENT)} octets of message]",
        "> .",
        "< 250 2.0.0 queued as 1",
    ]


def test_a_later_mail_begins_with_the_opening_and_knows_no_other_recipients() -> None:
    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay))
        first, second, third = (transport.send(mail(f"{name}@x.test")) for name in ("amy", "bob", "cat"))
    opening = [connected(relay), *PLAIN_EHLO]
    assert lines(first) == [*opening, *told("amy@x.test", number=1)]
    assert lines(second) == [*opening, "* 1 mail later", *told("bob@x.test", number=2)]
    assert lines(third) == [*opening, "* 2 mails later", *told("cat@x.test", number=3)]


def test_a_session_tried_by_noop_shows_it_and_a_new_one_begins_anew() -> None:
    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay, noop_seconds=0))
        transport.send(mail())
        second = transport.send(mail())
        relay.hang_up()
        third = transport.send(mail())
    opening = [connected(relay), *PLAIN_EHLO]
    assert lines(second) == [*opening, "* 1 mail later", "> NOOP", "< 250 2.0.0 ok", *told(number=2)]
    assert lines(third) == [*opening, *told(number=3)]


def test_a_mail_that_is_not_begun_says_nothing_and_is_not_counted() -> None:
    with FakeRelay(replies={"MAIL": ["250 ok", "550 5.7.60 no"]}) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail("amy@x.test"))
        with pytest.raises(TransportError) as unfit:
            transport.send(mail("nobody"))
        with pytest.raises(TransportError) as refused:
            transport.send(mail())
        receipt = transport.send(mail())
    opening = [connected(relay), *PLAIN_EHLO]
    assert unfit.value.transcript == ""
    assert lines(refused.value) == [*opening, "* 1 mail later", "> MAIL FROM:<a@x.test>", "< 550 5.7.60 no"]
    assert lines(receipt) == [*opening, "* 2 mails later", *told(number=2)]


# Failures


def test_refused_credentials_end_with_the_refusal() -> None:
    with FakeRelay(user=USER, password="another") as relay:
        error = fail(relay, **CREDENTIALS)
    refusal = ["> AUTH PLAIN ***", "< 535 5.7.8 credentials invalid"]
    assert lines(error) == [connected(relay), *AUTH_EHLO, *refusal]


def test_a_challenge_that_cannot_be_read_is_told_in_words() -> None:
    with FakeRelay(user=USER, password=PASSWORD, replies={"RESPONSE": "334 ééé"}) as relay:
        error = fail(relay, authentication="cram_md5", **CREDENTIALS)
    end = ["> AUTH CRAM-MD5", "< 334 ***", "* The relay's CRAM-MD5 challenge cannot be read."]
    assert lines(error) == [connected(relay), *AUTH_EHLO, *end]


def test_silence_after_the_final_dot_is_told_in_words() -> None:
    with FakeRelay(hang=["."]) as relay:
        error = fail(relay, final_reply_seconds=0.3)
    end = "* The relay did not answer the final dot in time. Whether it took the mail is unknown."
    assert lines(error) == [connected(relay), *PLAIN_EHLO, *told()[:-1], end]


def test_a_lost_connection_is_told_in_words() -> None:
    with FakeRelay(drop=["RCPT"]) as relay:
        error = fail(relay)
    end = "* The relay closed the connection instead of answering RCPT."
    assert lines(error) == [connected(relay), *PLAIN_EHLO, *told()[:3], end]


def test_content_that_did_not_get_through_is_not_called_sent() -> None:
    more_than_any_buffer = CONTENT + (b"x" * 998 + b"\r\n") * 15_000
    with FakeRelay(hang=["CONTENT"]) as relay:
        error = fail(relay, mail(content=more_than_any_buffer), total_seconds=3)
    end = "* The relay did not answer the content in time."
    assert lines(error) == [connected(relay), *PLAIN_EHLO, *told()[:6], end]


def test_a_refused_connection_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    error = fail(FakeRelay(), port=port)
    assert error.transcript == (
        "* The relay refuses connections: nothing listens there. Check the address and the port."
    )


def test_a_name_that_cannot_be_resolved_is_told_in_words() -> None:
    error = fail(FakeRelay(), host="nowhere.invalid")
    assert error.transcript.startswith("* The name the relay cannot be resolved.")


def test_a_failed_handshake_is_told_in_words() -> None:
    with FakeRelay(tls="implicit") as relay:
        error = fail(relay, ssl=True, verify="peer")
    assert lines(error)[0] == connected(relay)
    assert lines(error)[1].startswith("* The certificate of the relay")
    assert len(lines(error)) == 2


def test_what_is_no_smtp_server_is_shown() -> None:
    with FakeRelay(replies={"CONNECT": "HTTP/1.1 400 Bad Request"}) as relay:
        error = fail(relay)
    said = "HTTP/1.1 400 Bad Request"
    assert lines(error) == [connected(relay), f"< {said}", f"* This is no SMTP server: it said '{said}'."]


# Limits


def test_many_long_recipients_are_shortened_in_the_middle() -> None:
    recipients = [f"somebody{number}@{'.'.join(['label'] * 30)}.test" for number in range(50)]
    with FakeRelay(extensions=PIPELINING) as relay:
        receipt = send(relay, mail(*recipients), total_seconds=200)
    shown = lines(receipt)
    [gap] = [line for line in shown if "left out" in line]
    everything = 6 + 52 + 52 + 3  # opening, commands, replies, and the content with its reply
    assert gap == f"* … {everything - len(shown) + 1:,} lines left out …"
    assert shown[6:8] == ["> MAIL FROM:<a@x.test>", f"> RCPT TO:<{recipients[0]}>"]
    assert shown[-4:] == ["< 354 go ahead", *told()[-3:]]
    assert 6_000 < len(receipt.transcript.encode()) <= 8_000


def test_a_talkative_relay_is_cut_short() -> None:
    ehlo = "\n".join([*(f"250-X-FEATURE-{number} {'é' * 40}" for number in range(500)), "250 HELP"])
    queued = "\n".join([*["250-" + "word " * 300] * 30, "250 queued"])
    with FakeRelay(replies={"EHLO": ehlo, ".": queued}) as relay:
        receipt = send(relay)
    assert LINE_LENGTH - 5 < max(map(len, lines(receipt))) <= LINE_LENGTH
    assert {line[-6:] for line in lines(receipt) if "word" in line} == {"word …"}
    assert lines(receipt)[-1] == "< 250 queued"
    assert "> EHLO me.test" in lines(receipt)
    assert "> MAIL FROM:<a@x.test>" in lines(receipt)
    assert len(receipt.transcript.encode()) <= 8_000


def test_one_line_left_out_is_one_line() -> None:
    transcript = Transcript(Veil())
    for line in [b"x" * 400] * 9 + [b"y" * 490] + [b"x" * 400] * 9:
        transcript.heard(line)
    assert transcript.text().split("\n")[9:10] == ["* … 1 line left out …"]


def test_signs_that_are_not_seen_are_removed() -> None:
    with FakeRelay(replies={".": "250 2.0.0 \x1b[31mqu\x00eued\u202e\u2028> RCPT\u200b TO:<ceo@x.test>\x85"}) as relay:
        receipt = send(relay)
    assert lines(receipt)[-1] == "< 250 2.0.0 [31mqueued > RCPT TO:<ceo@x.test>"


# Secrets


FORMS = [USER, PASSWORD, base64_of(USER), base64_of(PASSWORD), PLAIN]


def found_in(transcript: str) -> list[str]:
    bare = [form.rstrip("=").casefold() for form in FORMS]
    return [form for form in bare if form in transcript.casefold()]


@pytest.mark.parametrize(
    ("echo", "shown"),
    [
        (f"500 5.5.1 unknown command: AUTH PLAIN {PLAIN}", "500 5.5.1 unknown command: AUTH PLAIN ***"),
        (f"500 unknown command: AUTH PLAIN {PLAIN[:40]}...", "500 unknown command: AUTH PLAIN ***..."),
        (f"500-{PLAIN[:30]}\n500 {PLAIN[30:]}", "500-***\n< 500 ***"),
        (f"501 {base64_of(PASSWORD).rstrip('=')} {base64_of(USER)}", "501 *** ***"),
        (f"535 5.7.8 {USER} with {PASSWORD} failed", "535 5.7.8 the username with *** failed"),
        (f"535 {USER.upper()}: {PASSWORD.upper()}", "535 the username: ***"),
        (f"535 user={USER}xyz de\x00sk-4711@acme.test", "535 user=the usernamexyz the username"),
        (f"535 {PLAIN[:500]} at 127.0.0.1:25, ask 127.0.0.1", "535 *** at the relay, ask the relay"),
    ],
)
def test_what_a_relay_echoes_is_hidden(echo: str, shown: str) -> None:
    with FakeRelay(user=USER, password=PASSWORD, replies={"AUTH": echo}) as relay:
        error = fail(relay, **CREDENTIALS)
    assert error.transcript.endswith(f"> AUTH PLAIN ***\n< {shown}")
    assert found_in(error.transcript) == []
    assert not [piece for piece in (PASSWORD, base64_of(PASSWORD)[:9], PLAIN[:9], PLAIN[-9:]) if piece in error.text]


@pytest.mark.parametrize(
    "echo",
    [
        "wrong: s3cret\x01-pa!ss",
        "wrong: S3CRET-PA!SS",
        "wrong: s3cret\u200b-pa!ss",
        "wrong: s3cret-pa...",
        "wrong:\n535 5.7.8 s3cret-\n535 5.7.8 pa!ss",
    ],
)
def test_a_password_is_hidden_however_it_is_spelt_cut_or_broken(echo: str) -> None:
    reply = f"535 5.7.8 {echo}" if "\n" not in echo else "535-5.7.8 " + echo.replace("\n535 5.7.8 s", "\n535-5.7.8 s")
    with FakeRelay(user=USER, password="s3cret-pa!ss", replies={"AUTH": reply}) as relay:
        error = fail(relay, **CREDENTIALS | {"password": "s3cret-pa!ss"})
    told = f"{error.text} {error.reply} {error.transcript}".lower()
    assert "wrong:" in told
    assert not [piece for piece in ("s3cret", "pa!ss") if piece in told]


def test_the_relays_own_name_is_hidden_in_greeting_and_ehlo() -> None:
    replies = {
        "CONNECT": "220 127.0.0.1 ESMTP",
        "EHLO": "250-127.0.0.1 at your service\n250 HELP",
        ".": "250 127.0.0.1",
    }
    with FakeRelay(replies=replies) as relay:
        receipt = send(relay, host="127.0.0.1")
    said = [line for line in lines(receipt) if line.startswith("<")]
    assert said[:3] == ["< 220 The relay ESMTP", "< 250-The relay at your service", "< 250 HELP"]
    assert said[-1] == "< 250 The relay"


def test_an_own_address_that_is_the_username_stays_in_our_own_commands() -> None:
    replies = {"MAIL": "250 <a@x.test> ok"}
    with FakeRelay(user="a@x.test", password=PASSWORD, replies=replies) as relay:
        receipt = send(relay, **{**CREDENTIALS, "username": "a@x.test"})
    assert "> MAIL FROM:<a@x.test>\n< 250 <the username> ok\n" in receipt.transcript


CODES = {
    "CONNECT": ["220", "220-", "554"],
    "EHLO": ["250", "500", "250-"],
    "AUTH": ["235", "334", "334-", "500", "535", "421", "9"],
    "RESPONSE": ["334", "334-", "335", "501"],
    "MAIL": ["250", "250-", "530", "334"],
    "RCPT": ["250", "550", "451"],
    "DATA": ["354", "554"],
    ".": ["250", "554", "199"],
    "": ["500", "235", "250"],
}
GLUE = ["", " ", "-", "=", ":", "\0", "\u200b", "é", "x", "250 ", "<", "\t", "' '"]
WORDS = st.one_of(
    st.sampled_from(FORMS),
    st.sampled_from(FORMS).map(str.upper),
    st.sampled_from(FORMS).map(lambda form: form.rstrip("=")),
    st.sampled_from(FORMS).map("\x01".join),
    st.sampled_from(FORMS).map(lambda form: form * 30),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8),
)


@st.composite
def scripts(draw: st.DrawFn) -> dict[str, str | list[str]]:
    """Draw a hostile relay: what it answers, point by point."""
    script: dict[str, str | list[str]] = {}
    for point, codes in CODES.items():
        code = draw(st.sampled_from(codes))
        said = "".join(word + draw(st.sampled_from(GLUE)) for word in draw(st.lists(WORDS, max_size=4)))
        script[point] = f"{code.rstrip('-')}-{said}\n{code.rstrip('-')} {said}" if "-" in code else f"{code} {said}"
    script["EHLO"] = f"250-{str(script['EHLO'])[4:]}\n250-PIPELINING\n250 AUTH PLAIN LOGIN CRAM-MD5"
    return {point: reply for point, reply in script.items() if draw(st.booleans())}


def transcripts(relay: FakeRelay, mechanism: str) -> Iterator[str]:
    transport = SmtpTransport(settings_for(relay, authentication=mechanism, reply_seconds=1, **CREDENTIALS))
    for _ in range(2):
        try:
            yield transport.send(mail("bob@x.test")).transcript
        except TransportError as error:
            yield error.transcript
    transport.close()


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scripts(), st.sampled_from(["plain", "login", "cram_md5"]))
def test_no_transcript_holds_credentials_whatever_the_relay_answers(
    script: dict[str, str | list[str]], mechanism: str
) -> None:
    with FakeRelay(user=USER, password=PASSWORD, replies=script) as relay:
        for transcript in transcripts(relay, mechanism):
            assert found_in(transcript) == []
            assert transcript.startswith("* Connected")
            assert len(transcript.encode()) <= 8_000
            assert all(line[:2] in ("> ", "< ", "* ") for line in transcript.splitlines())
            assert transcript.replace("\n", "").isprintable()


@given(st.sampled_from(FORMS), st.text(max_size=20), st.text(max_size=20))
def test_the_veil_hides_every_form_within_any_text(form: str, before: str, after: str) -> None:
    veil = Veil(*FORMS[1:], user_name=USER)
    transcript = Transcript(veil)
    transcript.heard(f"250 {before}{form}{after}".encode(errors="replace"))
    assert found_in(transcript.text()) == []
    transcript.opened()
    transcript.heard(f"{before}{form}{after}".encode(errors="replace"))
    assert found_in(transcript.text()) == []


@pytest.mark.parametrize("user_name", ["ada", "x"])
def test_a_username_of_few_letters_is_hidden_where_it_is_a_word(user_name: str) -> None:
    veil = Veil(user_name=user_name)
    assert veil.over(f"user {user_name} in {user_name}press") == f"user the username in {user_name}press"


def test_a_transcript_is_looked_at_once_more_before_it_is_stored() -> None:
    text = "> MAIL FROM:<ada@mx.test>\n< 250 ada at mx.test\n< 550-mx.test: the relay\n* mx.test:25 did not answer ada."
    receipt = Receipt(Reply(250, "ok"), "<1@x.test>", 1, transcript=text)
    redacted = redact_receipt(receipt, host="mx.test", user_name="ada").transcript
    assert redacted.split("\n") == [
        "> MAIL FROM:<ada@mx.test>",
        "< 250 the username at the relay",
        "< 550-The relay: the relay",
        "* The relay did not answer the username.",
    ]
    assert redact_receipt(replace(receipt, transcript=redacted), host="mx.test", user_name="ada").transcript == redacted
    error = TransportError("no", stage=Stage.MAIL, scope=Scope.PROVIDER, transcript=text)
    redact_error(error, host="mx.test", user_name="ada")
    assert error.transcript == redacted


@pytest.mark.django_db
@pytest.mark.usefixtures("live_router")
def test_the_routers_receipt_and_error_have_the_transcript(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    message = EmailMessage("Down", "Text", "ada@example.com", ["bob@x.test"])
    message.send()
    receipt: Receipt = message.receipt  # type: ignore[attr-defined]
    assert receipt.transcript.endswith("\n> .\n< 250 2.0.0 queued as 1")
    relay.replies = {"MAIL": "550 5.7.60 not for user at 127.0.0.1"}
    with pytest.raises(TransportError) as caught:
        message.send()
    assert caught.value.transcript.endswith("\n< 550 5.7.60 not for the username at the relay")


# SendGrid and files


def test_sendgrid_accepts() -> None:
    with FakeSendGrid() as fake:
        receipt = test_sendgrid.send(fake)
    assert lines(receipt) == ["> POST /v3/mail/send [401 octets]", "< 202 Accepted", f"< X-Message-Id: {message_id(1)}"]


def test_sendgrid_refuses_the_key() -> None:
    with FakeSendGrid() as fake:
        fake.answer = test_sendgrid.refuse(401, "SG.wrong is\n> no \ud800key\x00 of ours " + "at all " * 100)
        error = test_sendgrid.fail(fake, api_key="SG.wrong")
    request, answer = lines(error)
    assert request == "> POST /v3/mail/send [401 octets]"
    assert answer.startswith("< 401 *** is > no key of ours at all")
    assert (len(answer) <= LINE_LENGTH, answer[-2:]) == (True, " …")


def test_a_large_mail_to_sendgrid_is_counted_in_thousands() -> None:
    with FakeSendGrid() as fake:
        receipt = test_sendgrid.send(fake, test_sendgrid.mail(body=test_sendgrid.content() + b"text\n" * 1000))
    assert lines(receipt)[0] == "> POST /v3/mail/send [6,401 octets]"


def test_sendgrid_that_cannot_be_reached_was_sent_nothing() -> None:
    with FakeSendGrid() as fake:
        pass
    error = test_sendgrid.fail(fake)
    assert lines(error) == [f"* {error.text}"]


def test_sendgrid_that_does_not_answer_was_sent_everything() -> None:
    with FakeSendGrid(fault="reset") as fake:
        error = test_sendgrid.fail(fake)
    assert lines(error) == ["> POST /v3/mail/send [401 octets]", f"* {error.text}"]


def test_one_mail_to_sendgrid_knows_nothing_of_the_one_before() -> None:
    with FakeSendGrid() as fake:
        transport = test_sendgrid.transport_to(fake)
        transport.send(test_sendgrid.mail())
        assert lines(transport.send(test_sendgrid.mail()))[-1] == f"< X-Message-Id: {message_id(2)}"
        assert len(lines(transport.send(test_sendgrid.mail()))) == 3


def test_a_file_is_written(tmp_path: Path) -> None:
    receipt = FileTransport(FileSettings(tmp_path)).send(mail())
    assert receipt.transcript == "* Written to a file"


def test_a_file_that_cannot_be_written_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(TransportError) as caught:
        FileTransport(FileSettings(tmp_path / "taken")).send(mail())
    assert caught.value.transcript == "* Not written to a file: File exists"


def test_a_default_sender_by_smtp_is_like_smtp() -> None:
    with FakeRelay() as relay:
        receipt = send(relay, **IN_THE_CLEAR)
    assert lines(receipt) == [connected(relay), *PLAIN_EHLO, *told()]


def test_an_error_says_whether_anything_was_tried() -> None:
    values: dict[str, Any] = {"stage": Stage.CONNECT, "scope": Scope.PROVIDER}
    assert TransportError("paused", **values, untried=True).untried
    assert not TransportError("no", **values).untried
