"""The SMTP transport against a relay on a real socket: whole transcripts, and the relay's own ledger."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from integrations.transports import envelope, network
from integrations.transports.base import Receipt, Reply, Scope, Stage, Submission, TransportError
from integrations.transports.smtp import SmtpSettings, SmtpTransport, TlsMode
from integrations.transports.smtp_session import SmtpSession
from integrations.transports.tls import client_context

from .fake_relay import Accepted, FakeRelay, authority_pem, certificate, loopbacks

CONTENT = b"From: a@x.test\r\nMessage-ID: <1@x.test>\r\n\r\nHello\r\n"
PASSWORD = "s3cret-pass"
PLAIN = base64.b64encode(f"\0user\0{PASSWORD}".encode()).decode()
IN_THE_CLEAR = {"ssl": False, "starttls_auto": False}
OPPORTUNISTIC = {"ssl": False, "starttls_auto": True}
REQUIRED = {"ssl": False, "starttls": True}
LOGIN = {"username": "user", "password": PASSWORD}
MAIL = ["MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "DATA", f"({len(CONTENT)} bytes)"]


def settings_for(relay: FakeRelay, **changes: Any) -> SmtpSettings:
    usual: dict[str, Any] = {"host": relay.host, "port": relay.port, "domain": "me.test", "reply_seconds": 5}
    return SmtpSettings(**{**usual, **IN_THE_CLEAR, **changes})


def mail(*recipients: str, sender: str = "a@x.test", content: bytes = CONTENT) -> Submission:
    return Submission(sender=sender, recipients=recipients or ("b@x.test",), content=content)


def send(relay: FakeRelay, submission: Submission | None = None, **changes: Any) -> Receipt:
    transport = SmtpTransport(settings_for(relay, **changes))
    try:
        return transport.send(submission or mail())
    finally:
        transport.close()


def fail(relay: FakeRelay, submission: Submission | None = None, **changes: Any) -> TransportError:
    with pytest.raises(TransportError) as caught:
        send(relay, submission, **changes)
    return caught.value


def meaning(error: TransportError) -> tuple[Stage, Scope, bool]:
    return error.stage, error.scope, error.permanent


# The happy path


def test_sends_a_mail() -> None:
    with FakeRelay() as relay:
        receipt = send(relay)
    assert relay.transcript == ["EHLO me.test", *MAIL, "QUIT"]
    assert relay.ledger == [Accepted("a@x.test", ("b@x.test",), CONTENT)]
    assert receipt.reply == Reply(250, "queued as 1", "2.0.0")
    assert (receipt.message_id, receipt.tls, receipt.refused) == ("<1@x.test>", "", {})
    assert 0 <= receipt.milliseconds < 5000


def test_sends_a_batch_over_one_connection() -> None:
    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay))
        for _ in range(3):
            transport.send(mail())
        transport.close()
    assert relay.transcript == ["EHLO me.test", *MAIL, *MAIL, *MAIL, "QUIT"]


@pytest.mark.parametrize(
    ("implicit", "starttls", "auto", "mode"),
    [
        (True, False, True, TlsMode.IMPLICIT),
        (True, False, False, TlsMode.IMPLICIT),
        (False, True, True, TlsMode.STARTTLS_REQUIRED),
        (False, True, False, TlsMode.STARTTLS_REQUIRED),
        (False, False, True, TlsMode.STARTTLS_OPPORTUNISTIC),
        (False, False, False, TlsMode.CLEARTEXT),
    ],
)
def test_three_switches_make_one_mode(implicit: bool, starttls: bool, auto: bool, mode: TlsMode) -> None:
    assert SmtpSettings("relay.test", ssl=implicit, starttls=starttls, starttls_auto=auto).tls_mode is mode


def test_settings_are_a_key_and_do_not_show_the_password() -> None:
    assert len({SmtpSettings("h", password=word) for word in ("old-pass", "new-pass", "new-pass")}) == 2
    assert "new-pass" not in repr(SmtpSettings("h", password="new-pass"))


# TLS


@pytest.mark.parametrize("tls_settings", [OPPORTUNISTIC, REQUIRED])
def test_starttls_comes_before_everything_and_ehlo_is_said_again(tls_settings: dict[str, Any]) -> None:
    with FakeRelay(tls="starttls", user="user", password=PASSWORD) as relay:
        receipt = send(relay, **tls_settings, **LOGIN)
    opening = ["EHLO me.test", "STARTTLS", "(TLS)", "EHLO me.test", f"AUTH PLAIN {PLAIN}"]
    assert relay.transcript == [*opening, *MAIL, "QUIT"]
    assert relay.ledger[0].tls
    assert receipt.tls == "TLSv1.3"


@pytest.mark.parametrize("host", ["localhost", "localhost."])
def test_the_name_that_tls_asks_for_has_no_dot_at_its_end(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda name, *more, **named: ask(name.rstrip("."), *more, **named))
    asked_for: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate("localhost").configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    with FakeRelay(tls="implicit", context=context) as relay:
        send(relay, host=host, ssl=True, verify="peer", ca_certificates=authority_pem())
    assert asked_for == ["localhost"]


def test_implicit_tls_encrypts_from_the_first_byte() -> None:
    with FakeRelay(tls="implicit") as relay:
        receipt = send(relay, ssl=True)
    assert relay.transcript == ["(TLS)", "EHLO me.test", *MAIL, "QUIT"]
    assert receipt.tls == "TLSv1.3"


def test_opportunistic_goes_on_in_clear_text_where_nothing_is_offered() -> None:
    with FakeRelay() as relay:
        assert send(relay, **OPPORTUNISTIC).tls == ""
    assert relay.transcript == ["EHLO me.test", *MAIL, "QUIT"]


def test_clear_text_mode_does_not_encrypt_even_if_offered() -> None:
    with FakeRelay(tls="starttls") as relay:
        send(relay)
    assert relay.transcript == ["EHLO me.test", *MAIL, "QUIT"]


def test_required_starttls_fails_closed() -> None:
    with FakeRelay(user="user", password=PASSWORD) as relay:
        error = fail(relay, **REQUIRED, **LOGIN)
    assert error.text == (
        f"The relay offers no STARTTLS on port {relay.port}. Use another port (465 with 'SSL' or 587 with 'StartTLS')."
    )
    assert meaning(error) == (Stage.TLS, Scope.PROVIDER, False)
    assert relay.transcript == ["EHLO me.test"]


@pytest.mark.parametrize("tls_settings", [OPPORTUNISTIC, REQUIRED])
def test_a_failed_handshake_never_falls_back_to_clear_text(tls_settings: dict[str, Any]) -> None:
    with FakeRelay(tls="starttls", user="user", password=PASSWORD) as relay:
        error = fail(relay, **tls_settings, **LOGIN, verify="peer")  # the CA is unknown
    assert meaning(error) == (Stage.TLS, Scope.PROVIDER, False)
    assert relay.transcript == ["EHLO me.test", "STARTTLS"]


@pytest.mark.parametrize("tls_settings", [OPPORTUNISTIC, REQUIRED])
def test_a_refused_starttls_never_falls_back_to_clear_text(tls_settings: dict[str, Any]) -> None:
    with FakeRelay(tls="starttls", replies={"STARTTLS": "454 4.7.0 TLS not available"}) as relay:
        error = fail(relay, **tls_settings)
    assert error.text == "The relay answered 454 4.7.0 TLS not available"
    assert meaning(error) == (Stage.TLS, Scope.PROVIDER, False)
    assert relay.transcript == ["EHLO me.test", "STARTTLS"]


def test_words_put_before_the_encrypted_ones_end_the_session() -> None:
    with FakeRelay(tls="starttls", after_starttls=b"250 AUTH PLAIN") as relay:
        error = fail(relay, **OPPORTUNISTIC)
    assert meaning(error) == (Stage.TLS, Scope.PROVIDER, False)
    assert "sent more than its answer to STARTTLS" in error.text
    assert "EHLO me.test" not in relay.transcript[2:]


def test_a_verified_certificate_of_a_company_ca_is_good() -> None:
    with FakeRelay(tls="implicit") as relay:
        send(relay, ssl=True, verify="peer", ca_certificates=authority_pem(), host="localhost")
    assert len(relay.ledger) == 1


def test_a_chain_that_python_3_13_would_find_too_loose_is_good() -> None:
    context = client_context("peer", ca_certificates="")
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert client_context("none", ca_certificates="").minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_renewed_file_of_public_cas_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cas.pem"
    file.write_text(certificate("other.test").cert_chain_pems[0].bytes().decode())
    os.utime(file, (1, 1))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    before = client_context("peer", ca_certificates="")
    assert client_context("peer", ca_certificates="") is before
    file.write_text(authority_pem())
    with FakeRelay(tls="implicit") as relay:
        send(relay, ssl=True, verify="peer", host="localhost")
    assert len(relay.ledger) == 1


def test_a_certificate_for_another_host_is_refused() -> None:
    with FakeRelay(tls="implicit", leaf=certificate("other.test")) as relay:
        error = fail(relay, ssl=True, verify="peer", ca_certificates=authority_pem(), host="localhost")
    place = f"localhost:{relay.port}"
    assert error.text == (
        f"The certificate of {place} was not issued for localhost: use the name it was issued for as address."
    )
    assert meaning(error) == (Stage.TLS, Scope.PROVIDER, False)


def test_verify_none_takes_any_certificate() -> None:
    with FakeRelay(tls="implicit", leaf=certificate("other.test")) as relay:
        send(relay, ssl=True, verify="none")
    assert len(relay.ledger) == 1


def test_tls_to_a_clear_text_port_says_what_to_do() -> None:
    with FakeRelay() as relay:
        error = fail(relay, ssl=True)
    place = f"127.0.0.1:{relay.port}"
    assert error.text == f"{place} does not speak TLS from the first byte. Turn off 'SSL', or use another port."
    assert meaning(error) == (Stage.TLS, Scope.PROVIDER, False)


def test_a_refusal_in_clear_text_before_tls_is_heard() -> None:
    """Exim has no TLS yet where there are too many connections; its port is right all the same."""
    said = "421 Too many concurrent SMTP connections from this IP address; please try again later."
    with FakeRelay(replies={"CONNECT": said}) as relay:
        error = fail(relay, ssl=True)
    assert (*meaning(error), error.code) == (Stage.CONNECT, Scope.PROVIDER, False, 421)
    assert error.text == f"The relay answered {said}"
    assert relay.ledger == []


def test_ca_certificates_that_cannot_be_read_are_named() -> None:
    with FakeRelay(tls="implicit") as relay:
        error = fail(relay, ssl=True, verify="peer", ca_certificates="no PEM")
    assert error.text.startswith("The CA certificates cannot be read")
    assert error.stage is Stage.TLS


# AUTH


@pytest.mark.parametrize(
    ("authentication", "lines"),
    [
        ("plain", [f"AUTH PLAIN {PLAIN}"]),
        ("login", ["AUTH LOGIN", "dXNlcg==", base64.b64encode(PASSWORD.encode()).decode()]),
    ],
)
def test_uses_the_chosen_mechanism(authentication: str, lines: list[str]) -> None:
    with FakeRelay(tls="implicit", user="user", password=PASSWORD) as relay:
        send(relay, ssl=True, authentication=authentication, **LOGIN)
    assert relay.transcript == ["(TLS)", "EHLO me.test", *lines, *MAIL, "QUIT"]


def test_cram_md5_works_in_clear_text_because_it_does_not_show_the_password() -> None:
    with FakeRelay(user="user", password=PASSWORD) as relay:
        send(relay, authentication="cram_md5", **LOGIN)
    assert relay.transcript[:2] == ["EHLO me.test", "AUTH CRAM-MD5"]
    assert len(relay.ledger) == 1


@pytest.mark.parametrize("password", ["P", "PDE4", "=", "a"])
def test_cram_md5_works_with_a_password_that_stands_in_the_challenge(password: str) -> None:
    with FakeRelay(user="user", password=password) as relay:
        send(relay, authentication="cram_md5", username="user", password=password)
    assert len(relay.ledger) == 1


def test_plain_answers_a_relay_that_asks_for_the_response() -> None:
    with FakeRelay(tls="implicit", user="user", password=PASSWORD, replies={"AUTH": ["334 "]}) as relay:
        error = fail(relay, ssl=True, **LOGIN)
    assert relay.transcript == ["(TLS)", "EHLO me.test", f"AUTH PLAIN {PLAIN}", PLAIN]
    assert error.stage is Stage.AUTH  # the script knows no second line: what counts is that we sent it


@pytest.mark.parametrize("authentication", ["plain", "login"])
@pytest.mark.parametrize("tls_settings", [OPPORTUNISTIC, IN_THE_CLEAR])
def test_never_shows_a_password_in_clear_text(authentication: str, tls_settings: dict[str, Any]) -> None:
    with FakeRelay(user="user", password=PASSWORD) as relay:
        error = fail(relay, **tls_settings, **LOGIN, authentication=authentication)
    assert meaning(error) == (Stage.AUTH, Scope.PROVIDER, False)
    assert "The connection is not encrypted" in error.text
    assert relay.transcript == ["EHLO me.test"]


def test_shows_a_password_in_clear_text_where_the_admin_allows_it() -> None:
    with FakeRelay(user="user", password=PASSWORD) as relay:
        send(relay, allow_clear_text_auth=True, **LOGIN)
    assert relay.transcript == ["EHLO me.test", f"AUTH PLAIN {PLAIN}", *MAIL, "QUIT"]


def test_a_wrong_password_is_tried_once_with_one_mechanism() -> None:
    with FakeRelay(tls="implicit", user="user", password="another") as relay:
        error = fail(relay, ssl=True, **LOGIN)
    assert relay.transcript == ["(TLS)", "EHLO me.test", f"AUTH PLAIN {PLAIN}"]
    assert error.text == (
        "The relay refused the credentials: 535 5.7.8 credentials invalid. Check username, password and authentication."
    )
    assert (*meaning(error), error.code, error.enhanced_code) == (Stage.AUTH, Scope.PROVIDER, False, 535, "5.7.8")
    assert error.tls == "TLSv1.3"


@pytest.mark.parametrize("reply", ["503 5.5.1 already", "250 2.0.0 ok", "334 more"])
def test_anything_but_235_is_no_success(reply: str) -> None:
    replies: dict[str, str | list[str]] = {"AUTH": reply, "334": reply, PLAIN: "334 still more"}
    with FakeRelay(tls="implicit", user="user", password=PASSWORD, replies=replies) as relay:
        error = fail(relay, ssl=True, **LOGIN)
    assert meaning(error) == (Stage.AUTH, Scope.PROVIDER, False)
    assert relay.ledger == []


def test_a_mechanism_that_is_not_offered_is_not_tried() -> None:
    with FakeRelay(tls="implicit", user="user", password=PASSWORD, mechanisms=("LOGIN", "XOAUTH2")) as relay:
        error = fail(relay, ssl=True, **LOGIN)
    assert error.text == "The relay does not offer PLAIN. It offers LOGIN: choose it."
    assert relay.transcript == ["(TLS)", "EHLO me.test"]


def test_without_a_username_there_is_no_auth() -> None:
    with FakeRelay(tls="implicit", user="user", password=PASSWORD) as relay:
        error = fail(relay, ssl=True)
    assert relay.transcript[:3] == ["(TLS)", "EHLO me.test", "MAIL FROM:<a@x.test>"]
    assert (*meaning(error), error.code) == (Stage.MAIL, Scope.PROVIDER, False, 530)


def test_a_secret_that_the_relay_echoes_is_taken_out() -> None:
    echo = f"535 5.7.8 {PLAIN} is {PASSWORD}, {base64.b64encode(PASSWORD.encode()).decode()}"
    with FakeRelay(tls="implicit", user="user", password=PASSWORD, replies={"AUTH": echo}) as relay:
        error = fail(relay, ssl=True, **LOGIN)
    assert error.reply == Reply(535, "*** is ***, ***", "5.7.8")
    assert PASSWORD not in error.text
    assert PLAIN not in error.text


@pytest.mark.parametrize(
    ("fault", "words"),
    [("hang", "sent no greeting within 0.4 s."), ("drop", "closed the connection without a greeting.")],
)
def test_a_missing_greeting_is_told_as_such(fault: str, words: str) -> None:
    with FakeRelay(**{fault: ["CONNECT"]}) as relay:
        error = fail(relay, reply_seconds=0.4)
    advice = "Is this an SMTP port? Check the port, and whether a firewall is between."
    assert error.text == f"127.0.0.1:{relay.port} {words} {advice}"


def test_a_connection_closed_in_place_of_an_answer() -> None:
    with FakeRelay(drop=["MAIL"]) as relay:
        error = fail(relay)
    assert error.text == f"127.0.0.1:{relay.port} closed the connection instead of answering MAIL."


@pytest.mark.parametrize(
    ("authentication", "point"),
    [("plain", "AUTH"), ("login", "RESPONSE"), ("login", "AUTH"), ("cram_md5", "RESPONSE"), ("cram_md5", "AUTH")],
)
@pytest.mark.parametrize("fault", ["drop", "hang", "drip"])
def test_what_goes_wrong_at_auth_is_told_without_what_was_sent(authentication: str, point: str, fault: str) -> None:
    """The lines behind AUTH are no commands: to name them in an error would name the password."""
    with FakeRelay(tls="implicit", user="user", password=PASSWORD, **{fault: [point]}) as relay:
        error = fail(relay, ssl=True, reply_seconds=0.4, authentication=authentication, **LOGIN)
    assert error.stage is Stage.AUTH
    sent = [word for line in relay.transcript for word in line.split(" ") if word not in ("AUTH", "EHLO")]
    told = f"{error} {error.reply} {error.__cause__!r}".upper()
    assert [word for word in (PASSWORD, *sent) if len(word) > 5 and word.upper() in told] == []


def test_a_lost_connection_behind_the_password_names_auth_alone() -> None:
    with FakeRelay(tls="implicit", user="user", password=PASSWORD, drop=["AUTH"]) as relay:
        error = fail(relay, ssl=True, authentication="login", **LOGIN)
    assert error.text == f"127.0.0.1:{relay.port} closed the connection instead of answering AUTH."
    assert relay.transcript[-1] == base64.b64encode(PASSWORD.encode()).decode()


def test_a_challenge_outside_auth_is_filtered() -> None:
    replies: dict[str, str | list[str]] = {"MAIL": f"334 {PASSWORD}"}
    with FakeRelay(tls="implicit", user="user", password=PASSWORD, replies=replies) as relay:
        error = fail(relay, ssl=True, **LOGIN)
    assert PASSWORD not in f"{error} {error.reply}"


def test_silence_at_auth_is_a_timeout_at_auth() -> None:
    with FakeRelay(tls="implicit", user="user", password=PASSWORD, hang=["AUTH"]) as relay:
        error = fail(relay, ssl=True, reply_seconds=0.4, **LOGIN)
        assert error.text == f"127.0.0.1:{relay.port} did not answer AUTH in time."
    assert meaning(error) == (Stage.AUTH, Scope.PROVIDER, False)
    assert isinstance(error.__cause__, TimeoutError)


# Refusals and recipients


def test_records_recipients_refused_by_the_relay() -> None:
    with FakeRelay(replies={"RCPT <bob@": "550 5.1.1 no such user"}) as relay:
        receipt = send(relay, mail("amy@x.test", "bob@x.test", "cat@x.test"))
    assert receipt.refused == {"bob@x.test": Reply(550, "no such user", "5.1.1")}
    assert relay.ledger == [Accepted("a@x.test", ("amy@x.test", "cat@x.test"), CONTENT)]


@pytest.mark.parametrize(
    ("bob", "permanent", "code", "retry_after"),
    [("550 5.1.1 unknown", True, 550, None), ("450 4.7.1 greylisted, try again in 5 minutes", False, 450, 300)],
)
def test_all_refused_is_permanent_only_if_it_is_so_for_all(
    bob: str, permanent: bool, code: int, retry_after: int | None
) -> None:
    with FakeRelay(replies={"RCPT <amy@": "550 5.1.1 unknown", "RCPT <bob@": bob}) as relay:
        error = fail(relay, mail("amy@x.test", "bob@x.test"))
    assert meaning(error) == (Stage.RCPT, Scope.RECIPIENT, permanent)
    assert set(error.refused) == {"amy@x.test", "bob@x.test"}
    assert error.text == (
        f"No recipient was accepted in this attempt: amy@x.test (550 5.1.1 unknown), bob@x.test ({bob})"
    )
    assert (error.code, error.retry_after) == (code, retry_after)
    assert relay.transcript[-2:] == ["RSET", "QUIT"]
    assert "DATA" not in relay.transcript


def test_the_session_goes_on_after_a_refused_mail() -> None:
    with FakeRelay(replies={"RCPT": ["550 5.1.1 unknown"]}) as relay:
        transport = SmtpTransport(settings_for(relay))
        with pytest.raises(TransportError):
            transport.send(mail())
        transport.send(mail())
        transport.close()
    assert relay.transcript == ["EHLO me.test", *MAIL[:2], "RSET", *MAIL, "QUIT"]


def test_a_relay_that_refuses_everything_for_now_ends_the_session() -> None:
    with FakeRelay(replies={"RCPT <bob@": "421 4.7.0 too many connections, try again in 2 minutes"}) as relay:
        error = fail(relay, mail("amy@x.test", "bob@x.test"))
    assert meaning(error) == (Stage.RCPT, Scope.PROVIDER, False)
    assert error.retry_after == 120
    assert relay.transcript == ["EHLO me.test", MAIL[0], "RCPT TO:<amy@x.test>", "RCPT TO:<bob@x.test>"]
    assert relay.ledger == []


def test_a_fault_of_the_relay_at_a_recipient_ends_the_session_politely() -> None:
    with FakeRelay(replies={"RCPT": "530 5.7.0 authentication required"}) as relay:
        error = fail(relay, mail("amy@x.test", "bob@x.test"))
    assert (*meaning(error), error.code) == (Stage.RCPT, Scope.PROVIDER, False, 530)
    assert relay.transcript == ["EHLO me.test", MAIL[0], "RCPT TO:<amy@x.test>", "QUIT"]


@pytest.mark.parametrize(
    ("point", "reply", "stage", "scope", "permanent"),
    [
        ("CONNECT", "554 5.7.1 go away", Stage.CONNECT, Scope.PROVIDER, False),
        ("EHLO", "550 no", Stage.EHLO, Scope.PROVIDER, False),
        ("MAIL", "550 5.7.60 not your sender", Stage.MAIL, Scope.MESSAGE, True),
        ("MAIL", "451 4.3.0 later", Stage.MAIL, Scope.MESSAGE, False),
        ("DATA", "451 4.3.0 later", Stage.DATA, Scope.MESSAGE, False),
        (".", "554 5.7.1 spam", Stage.DATA, Scope.MESSAGE, True),
        (".", "452 4.3.1 no room", Stage.DATA, Scope.MESSAGE, False),
        (".", "421 4.3.0 shutting down", Stage.DATA, Scope.PROVIDER, False),
    ],
)
def test_a_refusal_is_of_its_stage(point: str, reply: str, stage: Stage, scope: Scope, permanent: bool) -> None:
    with FakeRelay(replies={point: reply}) as relay:
        error = fail(relay)
    assert meaning(error) == (stage, scope, permanent)
    assert error.text == f"The relay answered {reply}"
    assert not error.outcome_unknown
    assert relay.ledger == []


def test_an_old_relay_is_greeted_with_helo() -> None:
    with FakeRelay(replies={"EHLO": "502 5.5.1 what?"}) as relay:
        send(relay)
    assert relay.transcript == ["EHLO me.test", "HELO me.test", *MAIL, "QUIT"]


# Connections that die


@pytest.mark.parametrize(
    "death",
    [{"replies": {"MAIL": ["250 ok", "421 4.4.2 idle too long"]}}, {"replies": {"MAIL": ["250 ok", "421"]}}],
)
def test_a_session_that_died_meanwhile_is_replaced_silently(death: dict[str, Any]) -> None:
    with FakeRelay(**death) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail())
        transport.send(mail())
        transport.close()
    assert relay.transcript == ["EHLO me.test", *MAIL, MAIL[0], "EHLO me.test", *MAIL, "QUIT"]
    assert len(relay.ledger) == 2


def test_a_session_that_was_cut_is_replaced_silently() -> None:
    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail())
        relay.hang_up()
        transport.send(mail())
        transport.close()
    assert len(relay.ledger) == 2


def test_a_refused_mail_on_a_kept_session_is_not_repeated_on_another() -> None:
    with FakeRelay(replies={"MAIL": ["250 ok", "550 5.7.60 no"]}) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail())
        with pytest.raises(TransportError, match=r"5\.7\.60"):
            transport.send(mail())
    assert relay.connections == 1


@pytest.mark.parametrize(
    "script",
    [
        {"replies": {".": ["199 what"]}},  # the outcome is unknown, and whose reply comes next?
        {"replies": {"MAIL": ["354 what"]}},
        {"replies": {"RCPT": ["550 no"], "RSET": ["500 what?"]}},
        {"replies": {"DATA": ["354 go\n250 what"]}},
    ],
)
@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)])
def test_a_session_out_of_step_is_used_no_more(script: dict[str, Any], extensions: tuple[str, ...]) -> None:
    with FakeRelay(extensions=extensions, **script) as relay:
        transport = SmtpTransport(settings_for(relay))
        with pytest.raises(TransportError):
            transport.send(mail())
        assert transport.send(mail()).reply.code == 250
    assert relay.connections == 2


def test_a_reply_too_many_is_not_taken_for_the_next_one() -> None:
    """Shifted by one, the refusal of one recipient would end the mail for all."""
    with FakeRelay(replies={".": ["250 ok\n250 again"]}) as relay:
        relay.replies = {".": ["250 ok\r\n250 again"]}
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail())
        relay.replies = {"RCPT TO:<bob@": "550 5.1.1 no such user"}
        receipt = transport.send(mail("amy@x.test", "bob@x.test"))
    assert list(receipt.refused) == ["bob@x.test"]
    assert [one.recipients for one in relay.ledger] == [("b@x.test",), ("amy@x.test",)]


def test_a_250_before_the_content_is_no_acceptance() -> None:
    with FakeRelay(replies={"DATA": "354 go\r\n250 queued", ".": "554 5.7.1 spam"}) as relay:
        error = fail(relay)
    assert (*meaning(error), error.outcome_unknown) == (Stage.DATA, Scope.PROVIDER, False, False)
    assert relay.ledger == []


def test_an_interrupted_conversation_is_not_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: Any) -> None:
        raise Interrupted

    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay, reply_seconds=30))
        with monkeypatch.context() as patch:
            patch.setattr(SmtpSession, "tell_content", interrupt)
            with pytest.raises(Interrupted):
                transport.send(mail())
        took = transport.send(mail()).milliseconds
    assert took < 15_000, "its MAIL would have been content, and waited for in vain"
    assert relay.connections == 2
    assert [one.content for one in relay.ledger] == [CONTENT]


def test_who_was_refused_before_a_fault_of_the_relay_is_remembered() -> None:
    replies: dict[str, str | list[str]] = {"RCPT TO:<amy@": "550 5.1.1 unknown", "RCPT TO:<bob@": "421 4.3.2 closing"}
    with FakeRelay(replies=replies) as relay:
        assert list(fail(relay, mail("amy@x.test", "bob@x.test")).refused) == ["amy@x.test"]
    with FakeRelay(replies={"RCPT TO:<amy@": "550 5.1.1 unknown"}, drop=["."]) as relay:
        error = fail(relay, mail("amy@x.test", "bob@x.test"))
    assert (error.outcome_unknown, list(error.refused)) == (True, ["amy@x.test"])


@pytest.mark.parametrize("length", [20, 5000])
def test_a_size_beyond_all_numbers_is_none(length: int) -> None:
    with FakeRelay(extensions=[f"SIZE {'9' * length}"]) as relay:
        send(relay)
    assert len(relay.ledger) == 1


def test_a_stale_session_is_replaced_only_once() -> None:
    with FakeRelay(replies={"MAIL": ["250 ok", "421 idle", "421 busy"]}) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail())
        with pytest.raises(TransportError, match="421 busy"):
            transport.send(mail())
    assert relay.transcript == ["EHLO me.test", *MAIL, MAIL[0], "EHLO me.test", MAIL[0]]


def test_a_fresh_session_that_answers_421_is_not_replaced() -> None:
    with FakeRelay(replies={"MAIL": "421 4.7.0 busy"}) as relay:
        assert meaning(fail(relay)) == (Stage.MAIL, Scope.PROVIDER, False)
    assert relay.transcript == ["EHLO me.test", MAIL[0]]


@pytest.mark.parametrize(
    ("point", "stage"),
    [
        ("CONNECT", Stage.CONNECT),
        ("EHLO", Stage.EHLO),
        ("MAIL", Stage.MAIL),
        ("RCPT", Stage.RCPT),
        ("DATA", Stage.DATA),
    ],
)
@pytest.mark.parametrize("fault", ["drop", "hang", "drip"])
def test_a_connection_lost_before_the_final_dot_is_certainly_not_accepted(point: str, stage: Stage, fault: str) -> None:
    with FakeRelay(**{fault: [point]}) as relay:
        started = time.monotonic()
        error = fail(relay, reply_seconds=0.4)
        assert time.monotonic() - started < 10, "the relay is silent for 20 seconds"
    assert meaning(error) == (stage, Scope.PROVIDER, False)
    assert not error.outcome_unknown
    assert relay.ledger == []


@pytest.mark.parametrize("fault", ["drop", "hang", "drip"])
def test_a_lost_reply_to_the_final_dot_leaves_the_outcome_unknown(fault: str) -> None:
    with FakeRelay(**{fault: ["."]}) as relay:
        error = fail(relay, final_reply_seconds=0.4)
    assert error.outcome_unknown
    assert meaning(error) == (Stage.DATA, Scope.PROVIDER, False)
    assert error.text.endswith("Whether it took the mail is unknown.")
    assert len(relay.ledger) == 1  # it was taken, and nobody told us


@pytest.mark.parametrize("nonsense", ["what", "354 once more", "25", "2" * 9000])
def test_nonsense_after_the_final_dot_leaves_the_outcome_unknown(nonsense: str) -> None:
    with FakeRelay(replies={".": nonsense}) as relay:
        assert fail(relay).outcome_unknown


@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_a_failure_in_quit_does_not_matter(fault: str) -> None:
    with FakeRelay(**{fault: ["QUIT"]}) as relay:
        assert send(relay, reply_seconds=0.4).reply.code == 250


def test_a_drop_in_the_middle_of_the_content_is_certainly_not_accepted() -> None:
    with FakeRelay(drop=["CONTENT"]) as relay:
        # More than the sockets of both sides can hold: else all of it may have left before the relay hangs up.
        error = fail(relay, mail(content=CONTENT + b"x" * 70 + b"\r\n" * 8_000_000))
    assert not error.outcome_unknown
    assert meaning(error) == (Stage.DATA, Scope.PROVIDER, False)


def test_one_deadline_holds_over_all_steps() -> None:
    recipients = [f"r{number}@x.test" for number in range(200)]
    with FakeRelay(slow={"": 0.05}, replies={"RCPT": "450 busy"}) as relay:
        started = time.monotonic()
        error = fail(relay, mail(*recipients), total_seconds=0.6)
        assert time.monotonic() - started < 6, "all the replies together take 10 seconds"
    assert meaning(error) == (Stage.RCPT, Scope.PROVIDER, False)
    assert relay.ledger == []


def test_every_mail_has_its_own_deadline() -> None:
    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay, total_seconds=0.5, final_reply_seconds=0.1))
        transport.send(mail())
        time.sleep(0.6)
        transport.send(mail())
        transport.close()
    assert relay.transcript == ["EHLO me.test", *MAIL, *MAIL, "QUIT"]


def test_the_final_reply_has_its_own_time() -> None:
    with FakeRelay(slow={".": 0.6}) as relay:
        assert send(relay, total_seconds=0.4).reply.code == 250


# Connecting


def test_a_port_where_nobody_listens_is_named() -> None:
    with FakeRelay() as relay:
        pass
    error = fail_at("127.0.0.1", free_port())
    assert error.text.endswith("refuses connections: nothing listens there. Check the address and the port.")
    assert meaning(error) == (Stage.CONNECT, Scope.PROVIDER, False)
    assert relay.transcript == []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def fail_at(host: str, port: int, **changes: Any) -> TransportError:
    settings = SmtpSettings(host=host, port=port, domain="me.test", **IN_THE_CLEAR, **changes)
    with pytest.raises(TransportError) as caught:
        SmtpTransport(settings).send(mail())
    return caught.value


def test_a_refused_address_is_never_connected_to() -> None:
    with FakeRelay() as relay:
        error = fail(relay, allow_private_networks=False)
    assert meaning(error) == (Stage.RESOLVE, Scope.PROVIDER, False)
    assert relay.connections == 0


def test_tries_every_address_and_asks_dns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, 1, 6, "", (ip, port)) for ip in ("127.0.0.2", "127.0.0.1")]

    monkeypatch.setattr(network.socket, "getaddrinfo", getaddrinfo)
    with FakeRelay() as relay:
        send(relay, host="relay.test")
    assert asked == ["relay.test"]
    assert len(relay.ledger) == 1


@pytest.mark.parametrize("host", loopbacks())
def test_speaks_to_an_address_over_tls(host: str) -> None:
    with FakeRelay(host=host, tls="implicit") as relay:
        settings = settings_for(relay, ssl=True, verify="peer", ca_certificates=authority_pem(), domain="")
        assert SmtpTransport(settings).send(mail()).reply.code == 250
    assert len(relay.ledger) == 1


@pytest.mark.parametrize("host", loopbacks())
def test_localhost_is_found_by_whichever_address_it_listens_on(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may list ::1 first, and the relay listen on 127.0.0.1 alone, or the other way round."""

    def getaddrinfo(name: str, port: int, **_: Any) -> list[Any]:
        both = [(socket.AF_INET6, ("::1", port, 0, 0)), (socket.AF_INET, ("127.0.0.1", port))]
        return [(family, 1, 6, "", place) for family, place in both]

    with FakeRelay(host=host) as relay:
        monkeypatch.setattr(network.socket, "getaddrinfo", getaddrinfo)
        send(relay, host="localhost")
    assert len(relay.ledger) == 1


def test_ehlo_says_the_address_where_the_machine_has_no_full_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "own_name", lambda: "")
    with FakeRelay() as relay:
        send(relay, domain="")
    assert relay.transcript[0] == "EHLO [127.0.0.1]"


@pytest.mark.parametrize("domain", ["two words", "x\r\nMAIL FROM:<evil@x.test>", "bü cher"])
def test_an_ehlo_name_cannot_smuggle_a_command(domain: str) -> None:
    with FakeRelay() as relay:
        error = fail(relay, domain=domain)
    assert error.stage is Stage.EHLO
    assert relay.transcript == []


# Extensions


@pytest.mark.parametrize(
    ("extensions", "sender", "content", "command"),
    [
        (["SIZE 1000"], "a@x.test", CONTENT, f"MAIL FROM:<a@x.test> SIZE={len(CONTENT)}"),
        (["SIZE"], "a@x.test", CONTENT, f"MAIL FROM:<a@x.test> SIZE={len(CONTENT)}"),
        (["8BITMIME"], "a@x.test", CONTENT, "MAIL FROM:<a@x.test>"),
        (["8BITMIME"], "a@x.test", CONTENT + "ü".encode(), "MAIL FROM:<a@x.test> BODY=8BITMIME"),
        ([], "a@x.test", CONTENT + "ü".encode(), "MAIL FROM:<a@x.test>"),
        (["SMTPUTF8"], "a@x.test", CONTENT + "ü".encode(), "MAIL FROM:<a@x.test>"),
        (["SMTPUTF8"], "ä@x.test", CONTENT, "MAIL FROM:<ä@x.test> SMTPUTF8"),
        (["SMTPUTF8"], "a@x.test", "Subject: ü\r\n\r\n".encode(), "MAIL FROM:<a@x.test> SMTPUTF8"),
        ([], "a@bücher.test", CONTENT, "MAIL FROM:<a@xn--bcher-kva.test>"),
    ],
)
def test_uses_extensions_where_offered_and_needed(
    extensions: list[str], sender: str, content: bytes, command: str
) -> None:
    with FakeRelay(extensions=extensions) as relay:
        send(relay, mail(sender=sender, content=content))
    assert relay.transcript[1] == command


def test_a_mail_that_is_too_large_is_not_begun() -> None:
    with FakeRelay(extensions=["SIZE 20"]) as relay:
        error = fail(relay)
    assert error.text == f"The mail has {len(CONTENT)} bytes, and the relay takes 20 at most."
    assert (*meaning(error), error.code, error.enhanced_code) == (Stage.MAIL, Scope.MESSAGE, True, None, "5.3.4")
    assert MAIL[0] not in relay.transcript


@pytest.mark.parametrize("limit", ["SIZE 0", "SIZE much"])
def test_a_size_that_is_no_limit_is_none(limit: str) -> None:
    with FakeRelay(extensions=[limit]) as relay:
        send(relay)
    assert len(relay.ledger) == 1


def test_a_local_part_beyond_ascii_needs_smtputf8() -> None:
    with FakeRelay() as relay:
        receipt = send(relay, mail("bö@x.test", "b@bücher.test"))
        error = fail(relay, mail(sender="ä@x.test"))
    assert receipt.refused == {
        "bö@x.test": Reply(None, "The relay takes no addresses with letters beyond ASCII", "5.6.7")
    }
    assert receipt.refused["bö@x.test"].permanent
    assert relay.ledger[0].recipients == ("b@xn--bcher-kva.test",)
    assert (*meaning(error), error.enhanced_code) == (Stage.MAIL, Scope.MESSAGE, True, "5.6.7")


# Injection and smuggling

BAD_ADDRESSES = [
    "a@x.test\r\nRCPT TO:<evil@x.test>",
    "a@x.test\n",
    "a\0@x.test",
    "a>@x.test",
    "<a@x.test",
    "a b@x.test",
]
BAD_ADDRESSES += ["no-at-sign", "@x.test", "a@", "", "a\x85b@x.test"]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_a_bad_recipient_is_refused_before_anything_is_written(address: str) -> None:
    with FakeRelay() as relay:
        receipt = send(relay, mail(address, "b@x.test"))
        error = fail(relay, mail(address))
    assert relay.transcript == ["EHLO me.test", *MAIL, "QUIT"]
    assert list(receipt.refused) == [address]
    assert receipt.refused[address].permanent
    assert meaning(error) == (Stage.RCPT, Scope.RECIPIENT, True)


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_a_bad_sender_is_refused_before_anything_is_written(address: str) -> None:
    with FakeRelay() as relay:
        error = fail(relay, mail(sender=address))
    assert relay.transcript == []
    assert meaning(error) == (Stage.MAIL, Scope.MESSAGE, True)


@pytest.mark.parametrize(
    ("content", "arrives"),
    [
        (b"A: b\r\n\r\n.\r\nend\r\n", b"A: b\r\n\r\n.\r\nend\r\n"),
        (b"A: b\r\n\r\n..two\r\n", b"A: b\r\n\r\n..two\r\n"),
        (b"A: b\n\nx\n.\nMAIL FROM:<evil@x.test>\n", b"A: b\r\n\r\nx\r\n.\r\nMAIL FROM:<evil@x.test>\r\n"),
        (b"A: b\n\nx\r.\rMAIL FROM:<evil@x.test>", b"A: b\r\n\r\nx\r\n.\r\nMAIL FROM:<evil@x.test>\r\n"),
        (b"A: b\r\n\r\nx\r\n.\nquit", b"A: b\r\n\r\nx\r\n.\r\nquit\r\n"),
        (b"no end", b"no end\r\n"),
        (b"A: b\r\n\r\n" + b"y" * 200_000, b"A: b\r\n\r\n" + b"y" * 200_000 + b"\r\n"),
    ],
)
def test_a_mail_cannot_end_itself(content: bytes, arrives: bytes) -> None:
    with FakeRelay() as relay:
        send(relay, mail(content=content))
    assert [accepted.content for accepted in relay.ledger] == [arrives]
    assert relay.transcript[-2:] == [f"({len(arrives)} bytes)", "QUIT"]


@pytest.mark.parametrize("address", ["a@x.test,b@x.test", "a@b@x.test", "a b@x.test", "<a@x.test", "a@x.test\r\nDATA"])
def test_one_address_never_becomes_two_nor_a_command(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        envelope.wire_address(address)


def test_a_quoted_local_part_may_hold_them() -> None:
    assert envelope.wire_address('"a@b,c"@x.test') == '"a@b,c"@x.test'
