"""The fake relay itself, over raw sockets: what the other tests believe has to be true."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .fake_relay import Accepted, FakeRelay, authority_pem, certificate, loopbacks

FLIGHT = ["MAIL FROM:<a@x.test>", "RCPT TO:<b@x.test>", "RCPT TO:<c@x.test>", "DATA"]
PIPELINING = {"extensions": ["PIPELINING"]}


class Talk:
    """A client that says what it is told to, whenever it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self.use(sock)

    def use(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def say(self, *lines: str) -> None:
        self.sock.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def hear(self, count: int = 1) -> list[str]:
        return [self.reply() for _ in range(count)]

    def reply(self) -> str:
        while (line := self.file.readline().decode())[3:4] == "-":
            pass
        return line.rstrip("\r\n")

    def ask(self, *lines: str) -> list[str]:
        self.say(*lines)
        return self.hear(len(lines))

    def encrypt(self) -> None:
        context = ssl.create_default_context(cadata=authority_pem())
        self.file.close()
        self.use(context.wrap_socket(self.sock, server_hostname="localhost"))


@contextmanager
def connected(relay: FakeRelay) -> Iterator[Talk]:
    talk = Talk(socket.create_connection((relay.host, relay.port), timeout=5))
    try:
        yield talk
    finally:
        talk.file.close()
        talk.sock.close()


@contextmanager
def greeted(relay: FakeRelay) -> Iterator[Talk]:
    with connected(relay) as talk:
        assert talk.hear() == ["220 relay.test ESMTP"]
        assert talk.ask("EHLO me.test")[0].startswith("250 ")
        yield talk


def codes(replies: list[str]) -> list[str]:
    return [reply[:3] for reply in replies]


def test_takes_a_mail() -> None:
    with FakeRelay() as relay, greeted(relay) as talk:
        assert codes([talk.ask(line)[0] for line in FLIGHT]) == ["250", "250", "250", "354"]
        talk.say("..hidden dot", ".")
        assert talk.hear() == ["250 2.0.0 queued as 1"]
        assert relay.ledger == [Accepted("a@x.test", ("b@x.test", "c@x.test"), b".hidden dot\r\n")]
        assert talk.ask("QUIT") == ["221 2.0.0 bye"]
        assert talk.reply() == ""
    assert relay.transcript == ["EHLO me.test", *FLIGHT, "(13 bytes)", "QUIT"]
    assert relay.flights == [["EHLO me.test"], *([line] for line in FLIGHT), ["QUIT"]]


# Pipelining


def test_answers_a_flight_in_order_and_at_once() -> None:
    with FakeRelay(**PIPELINING, replies={"RCPT <b@": "550 5.1.1 unknown"}) as relay, greeted(relay) as talk:
        talk.say(*FLIGHT)
        first = talk.sock.recv(4096, socket.MSG_PEEK)
        assert first.count(b"\r\n") == 4
        assert codes(talk.hear(4)) == ["250", "550", "250", "354"]
        talk.say("Hello", ".", "QUIT")
        assert codes(talk.hear(2)) == ["250", "221"]
    assert relay.flights == [["EHLO me.test"], FLIGHT, ["QUIT"]]
    assert relay.transcript == ["EHLO me.test", *FLIGHT, "(7 bytes)", "QUIT"]
    assert relay.ledger == [Accepted("a@x.test", ("c@x.test",), b"Hello\r\n")]


def test_tells_of_each_line_that_came_too_early() -> None:
    with FakeRelay() as relay, greeted(relay) as talk:
        assert codes(talk.ask(*FLIGHT[:3])) == ["250"] * 3
    mail, one, two = FLIGHT[:3]
    assert relay.transcript == ["EHLO me.test", mail, f"(early talker: {one})", one, f"(early talker: {two})", two]
    assert relay.flights[1:] == [[mail, one, two]]


def test_tells_of_a_line_that_came_while_the_reply_was_prepared() -> None:
    with FakeRelay(slow={"MAIL": 0.2}) as relay, greeted(relay) as talk:
        talk.say(FLIGHT[0])
        time.sleep(0.05)
        talk.say("RSET")
        talk.hear(2)
    assert relay.transcript[1:] == [FLIGHT[0], "(early talker: RSET)", "RSET"]
    assert relay.flights[1:] == [[FLIGHT[0]], ["RSET"]]


@pytest.mark.parametrize("options", [{}, PIPELINING])
def test_no_content_may_come_before_the_354(options: dict[str, Any]) -> None:
    with FakeRelay(**options) as relay, greeted(relay) as talk:
        for line in FLIGHT[:3]:
            talk.ask(line)
        talk.say("DATA", "Hello", ".")
        assert codes(talk.hear(2)) == ["354", "250"]
    assert relay.transcript[-3:] == ["DATA", "(early talker: Hello)", "(7 bytes)"]
    assert relay.flights[-1] == ["DATA"]


def test_nobody_may_pipeline_before_it_was_announced_or_speak_before_the_greeting() -> None:
    with FakeRelay(**PIPELINING, slow={"CONNECT": 0.2}) as relay, connected(relay) as talk:
        talk.say("EHLO me.test", FLIGHT[0])
        assert codes(talk.hear(3)) == ["220", "250", "250"]
    early = [f"(early talker: {line})" for line in ("EHLO me.test", FLIGHT[0])]
    assert relay.transcript == [early[0], "EHLO me.test", early[1], FLIGHT[0]]


def test_a_refused_sender_refuses_the_rest_of_the_flight() -> None:
    with FakeRelay(**PIPELINING, replies={"MAIL": "550 5.7.1 no"}) as relay, greeted(relay) as talk:
        assert codes(talk.ask(*FLIGHT)) == ["550", "503", "503", "554"]
    assert relay.ledger == []


def test_an_empty_mail_for_nobody_is_not_taken() -> None:
    replies: dict[str, str | list[str]] = {"RCPT": "550 5.1.1 unknown", "DATA": "354 go"}
    with FakeRelay(**PIPELINING, replies=replies) as relay, greeted(relay) as talk:
        assert codes(talk.ask(*FLIGHT)) == ["250", "550", "550", "354"]
        assert codes(talk.ask(".")) == ["554"]
    assert relay.transcript == ["EHLO me.test", *FLIGHT, "(0 bytes)"]
    assert relay.ledger == []


# Faults


@pytest.mark.parametrize("point", ["CONNECT", "RCPT", ""])
def test_drops(point: str) -> None:
    with FakeRelay(**PIPELINING, drop=[point]) as relay, connected(relay) as talk:
        if point == "RCPT":
            talk.hear()
            talk.ask("EHLO me.test")
            talk.say(*FLIGHT)
            assert talk.reply() == "250 2.1.0 ok"
        assert talk.reply() == ""


def test_hangs_until_the_relay_goes() -> None:
    with FakeRelay(hang=["MAIL"]) as relay, greeted(relay) as talk:
        talk.sock.settimeout(0.2)
        talk.say(FLIGHT[0])
        with pytest.raises(TimeoutError):
            talk.sock.recv(1)
        started = time.monotonic()
        relay.__exit__()
        assert time.monotonic() - started < 1
        assert talk.sock.recv(1) == b""


def test_drips() -> None:
    with FakeRelay(drip=["MAIL"]) as relay, greeted(relay) as talk:
        talk.say(FLIGHT[0])
        assert talk.file.read(5) == b"22222"


def test_each_slow_reply_waits_for_the_one_before() -> None:
    with FakeRelay(**PIPELINING, slow={"RCPT": 0.1}) as relay, greeted(relay) as talk:
        started = time.monotonic()
        talk.ask(*FLIGHT)
        assert 0.2 <= time.monotonic() - started < 2


@pytest.mark.parametrize(("point", "taken"), [("CONTENT", 0), (".", 1)])
def test_a_lost_250_is_a_mail_that_was_taken(point: str, taken: int) -> None:
    with FakeRelay(drop=[point]) as relay, greeted(relay) as talk:
        for line in FLIGHT:
            talk.ask(line)
        if taken:
            talk.say("Hello", ".")
        assert talk.reply() == ""
        assert len(relay.ledger) == taken


@pytest.mark.parametrize(("reply", "taken"), [("552 5.3.4 large", 0), ("421 4.3.0 bye", 0), ("250 ok", 1)])
def test_the_ledger_is_right_before_the_client_hears_of_it(reply: str, taken: int) -> None:
    with FakeRelay(replies={".": reply}) as relay, greeted(relay) as talk:
        for line in FLIGHT:
            talk.ask(line)
        talk.say("Hello", ".")
        assert talk.reply() == reply
        assert len(relay.ledger) == taken


def test_421_ends_the_session_in_the_middle_of_a_flight() -> None:
    with FakeRelay(**PIPELINING, replies={"RCPT <c@": "421 4.7.0 enough"}) as relay, greeted(relay) as talk:
        talk.say(*FLIGHT)
        assert codes(talk.hear(4)) == ["250", "250", "421", ""]
    assert relay.transcript == ["EHLO me.test", *FLIGHT[:3]]


# TLS, and several clients


def test_starttls_forgets_what_came_in_clear() -> None:
    with FakeRelay(**PIPELINING, tls="starttls") as relay, greeted(relay) as talk:
        talk.say("STARTTLS", "NOOP")
        assert codes(talk.hear()) == ["220"]
        talk.encrypt()
        talk.ask("EHLO me.test")
        assert codes(talk.ask(*FLIGHT)) == ["250", "250", "250", "354"]
    opening = ["EHLO me.test", "STARTTLS", "(early talker: NOOP)", "(TLS)", "EHLO me.test"]
    assert relay.transcript == [*opening, *FLIGHT]
    assert relay.flights == [["EHLO me.test"], ["STARTTLS"], ["EHLO me.test"], FLIGHT]


def test_implicit_tls_with_a_context_of_the_tests_own() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate("localhost").configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with FakeRelay(tls="implicit", context=context) as relay, connected(relay) as talk:
        talk.encrypt()
        assert codes(talk.hear()) == ["220"]
        assert talk.sock.version() == "TLSv1.2"  # type: ignore[attr-defined]


def test_a_failed_handshake_ends_the_connection() -> None:
    with FakeRelay(tls="implicit") as relay:
        with connected(relay) as talk:
            talk.say("EHLO me.test")
            talk.file.read()
        assert (relay.transcript, relay.connections) == ([], 1)


def test_serves_several_clients_at_once() -> None:
    with FakeRelay(hang=["NOOP"]) as relay, greeted(relay) as one, greeted(relay) as two:
        one.say("NOOP")
        assert codes(two.ask("RSET")) == ["250"]
        assert relay.connections == 2


def test_hangs_up_and_is_there_again() -> None:
    with FakeRelay() as relay:
        with greeted(relay) as talk:
            relay.hang_up()
            assert talk.reply() == ""
        with greeted(relay):
            assert relay.connections == 2


@pytest.mark.parametrize("host", loopbacks())
def test_listens_on(host: str) -> None:
    with FakeRelay(host=host) as relay, greeted(relay) as talk:
        assert talk.ask("QUIT") == ["221 2.0.0 bye"]
