"""Whom we connect to."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from integrations.transports import network
from integrations.transports.base import Scope, Stage, TransportError
from integrations.transports.network import Address, Clock, ascii_domain, refusal, resolve
from integrations.transports.smtp_line import ReplyReader


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "::ffff:0.0.0.0",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "::169.254.169.254",
    ],
)
def test_never_connects_to(ip: str) -> None:
    assert refusal(ip, allow_private=True)


@pytest.mark.parametrize(
    "ip",
    [
        *("127.0.0.1", "127.9.9.9", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("fd12::1", "fec0::1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1"),
    ],
)
def test_connects_to_private_networks_only_where_allowed(ip: str) -> None:
    assert refusal(ip, allow_private=True) == ""
    assert refusal(ip, allow_private=False) == "loopback and private addresses are switched off here"


@pytest.mark.parametrize("ip", ["192.0.78.9", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_connects_to_public_addresses(ip: str) -> None:
    assert refusal(ip, allow_private=False) == ""


def answering(*ips: str) -> Any:
    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        families = [socket.AF_INET6 if ":" in ip else socket.AF_INET for ip in ips]
        return [(family, 1, 6, "", (ip, port)) for family, ip in zip(families, ips, strict=True)]

    return getaddrinfo


def test_returns_the_good_addresses_in_the_resolvers_order(monkeypatch: pytest.MonkeyPatch) -> None:
    ips = ("2606:4700::1", "169.254.169.254", "8.8.8.8", "8.8.8.8")
    monkeypatch.setattr(socket, "getaddrinfo", answering(*ips))
    assert resolve("relay.test", port=25, allow_private=True, clock=Clock(5)) == (
        Address(socket.AF_INET6, "2606:4700::1", 25),
        Address(socket.AF_INET, "8.8.8.8", 25),
    )


def test_says_why_no_address_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", answering("169.254.169.254", "10.0.0.1"))
    with pytest.raises(TransportError) as caught:
        resolve("relay.test", port=25, allow_private=False, clock=Clock(5))
    assert (caught.value.stage, caught.value.scope, caught.value.permanent) == (Stage.RESOLVE, Scope.PROVIDER, False)
    assert caught.value.text == (
        "relay.test is not a place for a relay: 169.254.169.254 (link-local and cloud metadata addresses are refused), "
        "10.0.0.1 (loopback and private addresses are switched off here). Check the address."
    )


def test_a_name_that_does_not_exist_is_an_error_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(TransportError, match=r"relay\.test cannot be resolved\. Check the address") as caught:
        resolve("relay.test", port=25, allow_private=True, clock=Clock(5))
    assert caught.value.stage is Stage.RESOLVE
    assert isinstance(caught.value.__cause__, socket.gaierror)


def test_a_resolver_that_hangs_costs_only_the_time_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(5))
    started = time.monotonic()
    with pytest.raises(TransportError, match="DNS did not answer in time"):
        resolve("relay.test", port=25, allow_private=True, clock=Clock(0.1))
    assert time.monotonic() - started < 4, "it did not wait for the resolver"


@pytest.mark.parametrize(
    ("domain", "sent"),
    [("x.test", "x.test"), ("under_score.test", "under_score.test"), ("bücher.test", "xn--bcher-kva.test")],
)
def test_writes_domains_as_a_labels(domain: str, sent: str) -> None:
    assert ascii_domain(domain) == sent


def test_keeps_the_sharp_s_of_a_domain() -> None:
    """IDNA 2003 made 'ss' of it, which may be somebody else's domain."""
    assert ascii_domain("straße.test") == "xn--strae-oqa.test"


def test_a_step_never_gets_more_time_than_the_whole() -> None:
    clock = Clock(5)
    clock.allow(100)
    assert clock.left() <= 5
    clock.allow(1)
    assert clock.left() <= 1
    clock.allow_beyond(60)
    assert 59 < clock.left() <= 60


def test_time_that_is_up_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        Clock(-1).left()


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our own name has not been looked for yet."""
    monkeypatch.setattr(network, "_own_name", "")
    network._look_for_own_name.cache_clear()
    yield
    network._look_for_own_name.cache_clear()


@pytest.mark.usefixtures("nameless")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("host", ""), ("host.example.org", "host.example.org"), ("1.0.0.127.in-addr.arpa", "")],
)
def test_own_name_is_a_full_name_or_empty(name: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    assert network.own_name() == expected


@pytest.mark.usefixtures("nameless")
def test_own_name_is_remembered_but_not_for_long_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS is away when a machine starts."""
    names, now = ["host", "host.example.org", "other.example.org"], [6000.0]
    monkeypatch.setattr(network, "monotonic", lambda: now[0])
    monkeypatch.setattr(socket, "getfqdn", lambda: names.pop(0))
    assert (network.own_name(), network.own_name()) == ("", "")
    now[0] += network.NO_NAME_FOR
    assert network.own_name() == "host.example.org"
    now[0] += 10 * network.NO_NAME_FOR
    assert network.own_name() == "host.example.org"


@pytest.fixture
def pair() -> Any:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_reads_lines_and_shows_what_is_left(pair: Any) -> None:
    reader = ReplyReader(pair[0], left=lambda: 1.0)
    pair[1].sendall(b"220 one\r\n250 two\r\n")
    assert reader.readline(8193) == b"220 one\r\n"
    assert reader.pending == b"250 two\r\n"


def test_half_a_line_is_no_answer(pair: Any) -> None:
    pair[1].sendall(b"250 o")
    pair[1].close()
    assert ReplyReader(pair[0], left=lambda: 1.0).readline(8193) == b""


def test_a_reply_without_end_is_cut(pair: Any) -> None:
    reader = ReplyReader(pair[0], left=lambda: 1.0)
    line = b"250-" + b"x" * 1018 + b"\r\n"  # 1 kB

    def read_lines(number: int) -> None:
        for _ in range(number):
            pair[1].sendall(line)
            assert reader.readline(8193) == line

    read_lines(64)
    with pytest.raises(ConnectionAbortedError):
        read_lines(1)
    reader.forget()
    reader.pending = b""
    read_lines(64)
