"""Which addresses we connect to: resolve once, check every address, hand out only checked ones."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import TypeVar

import idna

from . import machine
from .base import Scope, Stage, TransportError

T = TypeVar("T")
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds hand credentials to whoever asks from inside: AWS, Google, Alibaba, Oracle, Azure.
# 169.254.169.254 is link-local and refused as such.
METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")  # Linux takes 0.0.0.0 for localhost
NAT64 = ipaddress.ip_network("64:ff9b::/96")
TRANSLATED = ipaddress.ip_network("::ffff:0:0:0/96")  # RFC 2765
LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")  # RFC 8215: leads to addresses that we cannot see
IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
NO_NAME_FOR = 60.0  # seconds
_own_name = ""


@dataclass(frozen=True, slots=True)
class Address:
    """One checked address, ready for `socket.connect`."""

    family: socket.AddressFamily
    ip: str
    port: int


class Clock:
    """The time that is left: for the present step, and for everything together."""

    def __init__(self, seconds: float) -> None:
        self._end = self._step_end = monotonic() + seconds

    def allow(self, seconds: float) -> None:
        """Begin a step that may take so long, but never longer than the whole."""
        self._step_end = min(monotonic() + seconds, self._end)

    def allow_beyond(self, seconds: float) -> None:
        """Begin the last step: it has its own time, whatever the others took."""
        self._step_end = self._end = monotonic() + seconds

    def total_left(self) -> float:
        """Return the seconds until everything has to be over, however long a step may take."""
        return self._end - monotonic()

    def left(self) -> float:
        left = self._step_end - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


def resolve(host: str, *, port: int, allow_private: bool, clock: Clock) -> tuple[Address, ...]:
    """Look a host name up and return the addresses that may be used, in the resolver's order."""
    found = _lookup(host, port=port, clock=clock)
    problems = {address.ip: refusal(address.ip, allow_private=allow_private) for address in found}
    usable = tuple(address for address in found if not problems[address.ip])
    if not usable:
        listed = ", ".join(f"{ip} ({problem})" for ip, problem in problems.items())
        raise _unresolved(f"{host} is not a place for a relay: {listed}. Check the address.")
    return usable


def refusal(ip: str, *, allow_private: bool) -> str:
    """Say why an address is never connected to, or return '' for a good one."""
    address = _unwrapped(ipaddress.ip_address(ip.partition("%")[0]))
    if address in METADATA or address.is_link_local:
        return "link-local and cloud metadata addresses are refused"
    if address.is_unspecified or address in THIS_NETWORK:
        return "the unspecified address is refused"
    if address.is_multicast or str(address) == "255.255.255.255":
        return "multicast and broadcast addresses are refused"
    if not allow_private and not _public(address):
        return "loopback and private addresses are switched off here"
    return ""


def ascii_domain(domain: str) -> str:
    """Return a domain as A-labels (IDNA 2008), or raise ValueError."""
    if domain.isascii():
        return domain  # as it stands: internal names may have underscores, which IDNA forbids
    return idna.encode(domain, uts46=True).decode("ascii")  # IDNAError is a ValueError


def own_name() -> str:
    """Return this machine's full name, or '' where it has none or DNS is slow to say so.

    A name is remembered; that there is none for a minute, since DNS may only be away.
    """
    global _own_name
    _own_name = _own_name or _look_for_own_name(int(monotonic() // NO_NAME_FOR))
    return _own_name


@lru_cache(maxsize=1)
def _look_for_own_name(minute: int) -> str:
    try:
        name = _within(Clock(2), socket.getfqdn)
    except (OSError, TransportError):
        return ""
    return name if "." in name and not name.endswith(".arpa") else ""


def _public(address: IpAddress) -> bool:
    site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return address.is_global and not site_local and address not in LOCAL_NAT64


def _unwrapped(address: IpAddress) -> IpAddress:
    """Take the IPv4 address out of the IPv6 forms that carry one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64 or address in TRANSLATED or (address in IPV4_COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _lookup(host: str, *, port: int, clock: Clock) -> list[Address]:
    try:
        name = ascii_domain(host)
        rows = _within(clock, lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
    except TimeoutError as error:
        raise _unresolved(f"DNS did not answer in time when asked for {host}.") from error
    except (OSError, ValueError) as error:
        text = f"The name {host} cannot be resolved. Check the address, or DNS on this machine."
        raise machine.lack(error, stage=Stage.RESOLVE) or _unresolved(text) from error
    addresses = (Address(family, str(place[0]), port) for family, _, _, _, place in rows)
    return list(dict.fromkeys(addresses))


def _unresolved(text: str) -> TransportError:
    return TransportError(text, stage=Stage.RESOLVE, scope=Scope.PROVIDER)


def _within(clock: Clock, ask: Callable[[], T]) -> T:
    """Call in a thread, because the system's resolver knows no time limit of ours."""
    answers: list[T] = []
    errors: list[Exception] = []
    thread = threading.Thread(target=_collect, args=(ask, answers, errors), daemon=True)
    machine.start(thread, stage=Stage.RESOLVE)
    thread.join(clock.left())
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError("timed out")
    return answers[0]


def _collect(ask: Callable[[], T], answers: list[T], errors: list[Exception]) -> None:
    try:
        answers.append(ask())
    except (OSError, ValueError) as error:
        errors.append(error)
