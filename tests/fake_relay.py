"""A scriptable SMTP server on a real loopback socket: the outermost edge, and the ledger that is believed.

    with FakeRelay(replies={"RCPT bob@x.test": "550 5.1.1 no such user"}) as relay:
        ...
        assert relay.ledger == [...]

A *point* is a command ("MAIL", "RCPT bob@x.test" for that recipient only), "CONNECT" for the greeting,
"RESPONSE" for a line in the middle of AUTH, "CONTENT" for the mail's bytes, and "." for the final dot.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
import threading
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Self

import trustme


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


class Gone(Exception):
    """The connection is over."""


@dataclass
class FakeRelay:
    """`replies` may give one reply for every time, or a list for the first times.

    At a point in `drop` the connection is closed instead of an answer, in `hang` nothing ever
    comes, in `drip` a reply begins and never ends. With drop or hang at "." the mail was taken.
    """

    extensions: Collection[str] = ("8BITMIME", "ENHANCEDSTATUSCODES")
    user: str = ""
    password: str = ""
    mechanisms: Sequence[str] = ("PLAIN", "LOGIN", "CRAM-MD5")
    auth_needs_tls: bool = False
    tls: str = ""  # "starttls" or "implicit"
    leaf: trustme.LeafCert | None = None
    replies: Mapping[str, str | list[str]] = field(default_factory=dict)
    drop: Collection[str] = ()
    hang: Collection[str] = ()
    drip: Collection[str] = ()
    after_starttls: bytes = b""  # sent in clear right behind the reply to STARTTLS
    transcript: list[str] = field(default_factory=list)
    ledger: list[Accepted] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.replies = {
            point: list(reply) if isinstance(reply, list) else reply for point, reply in self.replies.items()
        }
        self.stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        (self.leaf or certificate("localhost", "127.0.0.1")).configure_cert(context)
        return context

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Hang up on everybody, so that no thread waits for a client that forgot to leave."""
        self.stopped.set()
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(2)

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(sock)
            thread = threading.Thread(target=Conversation(self, sock).run, daemon=True)
            self._threads.append(thread)
            thread.start()

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


class Conversation:
    """One client."""

    def __init__(self, relay: FakeRelay, sock: socket.socket) -> None:
        self.relay = relay
        self.sock = sock
        self.file = sock.makefile("rb")
        self.encrypted = False
        self.authenticated = not relay.user
        self.sender = ""
        self.recipients: list[str] = []

    def run(self) -> None:
        try:
            if self.relay.tls == "implicit":
                self.encrypt()
            self.answer("CONNECT", "220 relay.test ESMTP")
            while True:
                self.obey(self.read())
        except (Gone, OSError, ValueError):
            self.file.close()
            self.sock.close()

    def read(self) -> str:
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Gone
        text = line[:-2].decode("utf-8", "replace")
        self.relay.transcript.append(text)
        return text

    def answer(self, point: str, usual: str) -> str:
        """Say what the script says for this point, or the usual; return the reply."""
        self.fail_at(point)
        reply = self.relay.scripted(point) or usual
        self.sock.sendall(("\r\n".join(reply.split("\n")) + "\r\n").encode())
        if reply.startswith("421"):
            raise Gone(reply)
        return reply

    def fail_at(self, point: str) -> None:
        def has(points: Collection[str]) -> bool:
            return any(_fits(one, point) for one in points)

        if has(self.relay.drop):
            raise Gone
        if has(self.relay.hang):
            self.relay.stopped.wait(20)
            raise Gone
        while has(self.relay.drip) and not self.relay.stopped.wait(0.02):
            self.sock.sendall(b"2")

    def encrypt(self) -> None:
        self.sock = self.relay.context.wrap_socket(self.sock, server_side=True)
        self.relay._open.append(self.sock)
        self.file = self.sock.makefile("rb")
        self.encrypted = True
        self.relay.transcript.append("(TLS)")

    def obey(self, line: str) -> None:
        verb = line.split(" ")[0].upper()
        handler = getattr(self, f"on_{verb.lower()}", None)
        if handler is None:
            self.answer(line, "500 5.5.1 unknown command")
        else:
            handler(line)

    def on_ehlo(self, line: str) -> None:
        offers = ["relay.test", *self.relay.extensions]
        if self.relay.tls == "starttls" and not self.encrypted:
            offers.append("STARTTLS")
        if self.relay.user and (self.encrypted or not self.relay.auth_needs_tls):
            offers.append(f"AUTH {' '.join(self.relay.mechanisms)}")
        self.answer(line, "\n".join([*(f"250-{offer}" for offer in offers[:-1]), f"250 {offers[-1]}"]))

    def on_helo(self, line: str) -> None:
        self.answer(line, "250 relay.test")

    def on_starttls(self, line: str) -> None:
        usual = "220 2.0.0 ready" + (f"\n{self.relay.after_starttls.decode()}" if self.relay.after_starttls else "")
        if self.answer(line, usual).startswith("220"):
            self.encrypt()

    def on_auth(self, line: str) -> None:
        mechanism = line.split(" ")[1].upper()
        if mechanism not in self.relay.mechanisms:
            self.answer(line, "504 5.5.4 mechanism not offered")
            return
        right = {"PLAIN": self.plain, "LOGIN": self.login, "CRAM-MD5": self.cram_md5}[mechanism](line)
        reply = self.answer(line, "235 2.7.0 welcome" if right else "535 5.7.8 credentials invalid")
        self.authenticated = reply.startswith("235")

    def plain(self, line: str) -> bool:
        response = line.split(" ")[2] if line.count(" ") == 2 else self.challenge("")
        return base64.b64decode(response) == f"\0{self.relay.user}\0{self.relay.password}".encode()

    def login(self, line: str) -> bool:
        answers = [base64.b64decode(self.challenge(question)).decode() for question in ("Username:", "Password:")]
        return answers == [self.relay.user, self.relay.password]

    def cram_md5(self, line: str) -> bool:
        nonce = "<1896.697170952@relay.test>"
        digest = hmac.new(self.relay.password.encode(), nonce.encode(), hashlib.md5).hexdigest()
        return base64.b64decode(self.challenge(nonce)).decode() == f"{self.relay.user} {digest}"

    def challenge(self, question: str) -> str:
        self.answer("RESPONSE", f"334 {base64.b64encode(question.encode()).decode()}")
        return self.read()

    def on_mail(self, line: str) -> None:
        usual = "250 2.1.0 ok" if self.authenticated else "530 5.7.0 authentication required"
        if self.answer(line, usual).startswith("2"):
            self.sender, self.recipients = _path(line), []

    def on_rcpt(self, line: str) -> None:
        if self.answer(line, "250 2.1.5 ok").startswith("2"):
            self.recipients.append(_path(line))

    def on_data(self, line: str) -> None:
        usual = "354 go ahead" if self.recipients else "554 5.5.1 no valid recipients"
        if self.answer(line, usual).startswith("354"):
            self.take(self.content())

    def content(self) -> bytes:
        self.fail_at("CONTENT")
        lines = []
        while (line := self.file.readline()) != b".\r\n":
            if not line:
                raise Gone
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    def take(self, content: bytes) -> None:
        self.relay.transcript.append(f"({len(content)} bytes)")
        mail = Accepted(self.sender, tuple(self.recipients), content, tls=self.encrypted)
        self.relay.ledger.append(mail)  # before the answer: whoever hears a 250 finds it here
        number = len(self.relay.ledger)
        try:
            reply = self.answer(".", f"250 2.0.0 queued as {number}")
        except Gone as gone:
            if gone.args:  # a 421: said, and so not taken
                self.relay.ledger.remove(mail)
            raise
        if reply.startswith(("4", "5")):
            self.relay.ledger.remove(mail)

    def on_rset(self, line: str) -> None:
        self.answer(line, "250 2.0.0 ok")

    def on_noop(self, line: str) -> None:
        self.answer(line, "250 2.0.0 ok")

    def on_quit(self, line: str) -> None:
        self.answer(line, "221 2.0.0 bye")
        raise Gone


def _path(line: str) -> str:
    return line[line.index("<") + 1 : line.index(">")]
