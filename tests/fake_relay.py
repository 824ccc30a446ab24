"""A scriptable SMTP server on a real loopback socket: the outermost edge, and the ledger that is believed.

    with FakeRelay(replies={"RCPT bob@x.test": "550 5.1.1 no such user"}) as relay:
        ...
        assert relay.ledger == [...]

A *point* is where the script steps in: a command ("MAIL", "RCPT bob@x.test" for that recipient only, "" for
every reply), "CONNECT" for the greeting, "RESPONSE" for a challenge in the middle of AUTH, "CONTENT" for the
mail's bytes (not for a reply), and "." for the final dot.

The transcript has "(early talker: LINE)" where bytes lay there before the reply they should have waited for.
With `slow` at that reply even the fastest relay sees them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Self

import trustme

from .fake_wire import Gone, Listener, Wire, settle

# RFC 2920, 3.1, RFC 3207, 4 and RFC 4954, 4: what follows these has to wait, whatever was announced.
LAST_OF_A_FLIGHT = {"EHLO", "HELO", "DATA", "QUIT", "NOOP", "STARTTLS", "AUTH", "CONNECT", "RESPONSE"}


def loopbacks() -> list[str]:
    """List the loopback addresses of this machine: not every one has IPv6, containers for instance."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "::1"]


@lru_cache(maxsize=1)
def authority() -> trustme.CA:
    """Return the CA of all test certificates; `authority().cert_pem` is what trusts them."""
    return trustme.CA()


def authority_pem() -> str:
    return authority().cert_pem.bytes().decode("ascii")


@lru_cache(maxsize=8)
def certificate(*names: str) -> trustme.LeafCert:
    return authority().issue_cert(*names)


@dataclass(frozen=True)
class Accepted:
    """A mail for which the relay took responsibility."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    tls: bool = False
    began: float = field(default=0.0, compare=False)  # when MAIL came, by the wall clock
    at: float = field(default=0.0, compare=False)  # when the final dot did


@dataclass
class FakeRelay:
    """`replies` may give one reply for every time, or a list for the first times.

    At a point in `drop` the connection is closed instead of an answer, in `hang` nothing ever
    comes, in `drip` a reply begins and never ends; at one in `closes` it ends the connection, as 421
    does; at one in `slow` the reply comes so many seconds later. With drop or hang at "." the mail was
    taken. A relay that `lies` keeps a mail that it refuses there.

    `flights` are the commands that lay there together when the server began to answer them, `ahead` how many lay behind
    each final dot when that was answered.
    """

    extensions: Collection[str] = ("8BITMIME", "ENHANCEDSTATUSCODES")
    user: str = ""
    password: str = ""
    mechanisms: Sequence[str] = ("PLAIN", "LOGIN", "CRAM-MD5")
    auth_needs_tls: bool = False
    tls: str = ""  # "starttls" or "implicit"
    leaf: trustme.LeafCert = field(default_factory=lambda: certificate("localhost", "127.0.0.1", "::1"))
    context: ssl.SSLContext | None = None  # instead of leaf
    replies: Mapping[str, str | list[str]] = field(default_factory=dict)
    drop: Collection[str] = ()
    closes: Collection[str] = ()
    hang: Collection[str] = ()
    drip: Collection[str] = ()
    slow: Mapping[str, float] = field(default_factory=dict)
    lies: bool = False
    interrupts: str = ""  # said as soon as the content begins; then the relay hangs up without reading the rest
    after_starttls: bytes = b""  # sent in clear right behind the reply to STARTTLS
    host: str = "127.0.0.1"  # or "::1"
    transcript: list[str] = field(default_factory=list)
    flights: list[list[str]] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)
    ledger: list[Accepted] = field(default_factory=list)
    clear_auths: int = 0  # how often somebody began AUTH without TLS

    def __post_init__(self) -> None:
        self.replies = {at: list(reply) if isinstance(reply, list) else reply for at, reply in self.replies.items()}
        tls_first = self.tls == "implicit"
        self._listener = Listener(self.host, lambda wire: Conversation(self, wire).run(), tls_first=tls_first)
        self.port = self._listener.port

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._listener.stop()

    def hang_up(self) -> None:
        """Close the present connections; new ones are welcome."""
        self._listener.hang_up()

    @property
    def connections(self) -> int:
        """Count the connections made so far."""
        return len(self._listener.wires)

    def tls_context(self) -> ssl.SSLContext:
        if self.context:
            return self.context
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.leaf.configure_cert(context)
        return context

    def scripted(self, line: str) -> str | None:
        for point, reply in self.replies.items():
            if _fits(point, line):
                if isinstance(reply, str):
                    return reply
                return reply.pop(0) if reply else None
        return None


def _fits(point: str, line: str) -> bool:
    verb, _, rest = point.partition(" ")
    return line.upper().startswith(verb) and rest in line


def _in(points: Collection[str], line: str) -> bool:
    return any(_fits(point, line) for point in points)


class Conversation:
    """One client."""

    def __init__(self, relay: FakeRelay, wire: Wire) -> None:
        self.relay = relay
        self.wire = wire
        self.encrypted = False
        self.pipelining = False  # announced on this connection
        self.authenticated = not relay.user
        self.due = 0  # commands of the present flight that are still to be answered
        self.held = b""  # replies to those before
        self.reset()

    def reset(self) -> None:
        self.sender: str | None = None
        self.recipients: list[str] = []

    async def run(self) -> None:
        if self.relay.tls == "implicit":
            await self.encrypt()
        await self.answer("CONNECT", "220 relay.test ESMTP")
        with suppress(LookupError, ValueError):  # no good line: hang up
            while True:
                await self.obey(await self.read())

    async def read(self) -> str:
        line = _text(await self.wire.line())
        if not self.due:
            await settle()
            flight = self.flight(line)
            self.relay.flights.append(flight)
            self.due = len(flight)
        self.due -= 1
        self.relay.transcript.append(line)
        return line

    def flight(self, first: str) -> list[str]:
        """Return this command and those behind it, up to one that has to be the last."""
        flight = [first]
        for line in self.wire.buffer.split(b"\r\n")[:-1]:
            if _verb(flight[-1]) in LAST_OF_A_FLIGHT:
                break
            flight.append(_text(line))
        return flight

    async def answer(self, point: str, usual: str) -> str:
        """Say what the script says for this point, or the usual; return the reply."""
        reply = await self.prepare(point, usual)
        self.say(reply)
        if _in(self.relay.closes, point):
            self.flush()
            raise Gone
        return reply

    async def prepare(self, point: str, usual: str) -> str:
        for seconds in [pause for slow, pause in self.relay.slow.items() if _fits(slow, point)]:
            self.flush()
            await asyncio.sleep(seconds)
        await settle()
        self.note_early_talk(point)
        await self.fail_at(point)
        return self.relay.scripted(point) or usual

    def note_early_talk(self, point: str) -> None:
        may_follow = self.pipelining and _verb(point) not in LAST_OF_A_FLIGHT
        if self.wire.buffer and not may_follow:
            line, _, _ = self.wire.buffer.partition(b"\r\n")
            self.relay.transcript.append(f"(early talker: {_text(line)})")

    def say(self, reply: str) -> None:
        """Hold the reply until the last command of the flight is answered (RFC 2920, 3.2)."""
        self.held += ("\r\n".join(reply.split("\n")) + "\r\n").encode()
        if reply.startswith("421"):
            self.flush()
            raise Gone
        if not (self.pipelining and self.due):
            self.flush()

    def flush(self) -> None:
        self.wire.write(self.held)
        self.held = b""

    async def fail_at(self, point: str) -> None:
        if _in(self.relay.drop, point):
            self.flush()
            raise Gone
        if _in(self.relay.hang, point):
            self.flush()
            self.wire.transport.pause_reading()
            await asyncio.Event().wait()
        while _in(self.relay.drip, point):
            self.held += b"2"
            self.flush()
            await asyncio.sleep(0.02)

    async def encrypt(self) -> None:
        await self.wire.encrypt(self.relay.tls_context())
        self.encrypted, self.pipelining = True, False
        self.relay.transcript.append("(TLS)")

    async def obey(self, line: str) -> None:
        handler = getattr(self, f"on_{_verb(line).lower()}", None)
        if handler:
            await handler(line)
        else:
            await self.answer(line, "500 5.5.1 unknown command")

    async def on_ehlo(self, line: str) -> None:
        self.reset()
        offers = ["relay.test", *self.relay.extensions]
        if self.relay.tls == "starttls" and not self.encrypted:
            offers.append("STARTTLS")
        if self.relay.user and (self.encrypted or not self.relay.auth_needs_tls):
            offers.append(f"AUTH {' '.join(self.relay.mechanisms)}")
        usual = "\n".join([*(f"250-{offer}" for offer in offers[:-1]), f"250 {offers[-1]}"])
        reply = await self.answer(line, usual)
        self.pipelining = any(one[4:] == "PIPELINING" for one in reply.split("\n"))

    async def on_helo(self, line: str) -> None:
        self.reset()
        await self.answer(line, "250 relay.test")

    async def on_starttls(self, line: str) -> None:
        extra = self.relay.after_starttls.decode()
        if (await self.answer(line, f"220 2.0.0 ready\n{extra}".rstrip())).startswith("220"):
            await self.encrypt()

    async def on_auth(self, line: str) -> None:
        mechanism = line.split(" ")[1].upper()
        self.relay.clear_auths += not self.encrypted
        if mechanism not in self.relay.mechanisms:
            await self.answer(line, "504 5.5.4 mechanism not offered")
            return
        right = await {"PLAIN": self.plain, "LOGIN": self.login, "CRAM-MD5": self.cram_md5}[mechanism](line)
        reply = await self.answer(line, "235 2.7.0 welcome" if right else "535 5.7.8 credentials invalid")
        self.authenticated = reply.startswith("235")

    async def plain(self, line: str) -> bool:
        response = line.split(" ")[2] if line.count(" ") == 2 else await self.challenge("")
        return base64.b64decode(response) == f"\0{self.relay.user}\0{self.relay.password}".encode()

    async def login(self, line: str) -> bool:
        questions = ("Username:", "Password:")
        answers = [base64.b64decode(await self.challenge(question)).decode() for question in questions]
        return answers == [self.relay.user, self.relay.password]

    async def cram_md5(self, line: str) -> bool:
        nonce = "<1896.697170952@relay.test>"
        digest = hmac.new(self.relay.password.encode(), nonce.encode(), hashlib.md5).hexdigest()
        return base64.b64decode(await self.challenge(nonce)).decode() == f"{self.relay.user} {digest}"

    async def challenge(self, question: str) -> str:
        await self.answer("RESPONSE", f"334 {base64.b64encode(question.encode()).decode()}")
        return await self.read()

    async def on_mail(self, line: str) -> None:
        usual = "250 2.1.0 ok" if self.authenticated else "530 5.7.0 authentication required"
        self.reset()
        self.began = time.time()
        if (await self.answer(line, usual)).startswith("2"):
            self.sender = _path(line)

    async def on_rcpt(self, line: str) -> None:
        usual = "503 5.5.1 MAIL first" if self.sender is None else "250 2.1.5 ok"
        if (await self.answer(line, usual)).startswith("2"):
            self.recipients.append(_path(line))

    async def on_data(self, line: str) -> None:
        usual = "354 go ahead" if self.recipients else "554 5.5.1 no valid recipients"
        if not (await self.answer(line, usual)).startswith("354"):
            return
        content = await self.content()
        self.relay.transcript.append(f"({len(content)} bytes)")
        if self.recipients:
            times = {"began": self.began, "at": time.time()}
            await self.take(Accepted(self.sender or "", tuple(self.recipients), content, tls=self.encrypted, **times))
        else:
            await self.answer(".", "554 5.5.1 no valid recipients")
        self.reset()

    async def content(self) -> bytes:
        await self.fail_at("CONTENT")
        if self.relay.interrupts:
            await self.wire.line()
            self.say(self.relay.interrupts)
            raise Gone
        content = bytearray()
        while (line := await self.wire.line()) != b".":
            content += line.removeprefix(b".") + b"\r\n"
        return bytes(content)

    async def take(self, mail: Accepted) -> None:
        self.relay.ledger.append(mail)  # before the answer: whoever hears a 250 finds it here
        reply = await self.prepare(".", f"250 2.0.0 queued as {len(self.relay.ledger)}")
        self.relay.ahead.append(self.wire.buffer.count(b"\r\n"))
        if reply.startswith(("4", "5")) and not self.relay.lies:
            self.relay.ledger.remove(mail)
        self.say(reply)

    async def on_rset(self, line: str) -> None:
        self.reset()
        await self.answer(line, "250 2.0.0 ok")

    async def on_noop(self, line: str) -> None:
        await self.answer(line, "250 2.0.0 ok")

    async def on_quit(self, line: str) -> None:
        await self.answer(line, "221 2.0.0 bye")
        raise Gone


def _path(line: str) -> str:
    return line[line.index("<") + 1 : line.index(">")]


def _verb(line: str) -> str:
    return line.split(" ")[0].upper()


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
