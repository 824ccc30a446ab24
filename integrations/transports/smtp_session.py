"""One open SMTP session: the steps that open it, one command and its reply, and the end."""

from __future__ import annotations

import re
import select
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from . import network, smtp_auth, smtp_failures, tls
from .base import Reply, Scope, Stage, TransportError
from .network import Address, Clock, ReplyReader
from .smtp_failures import Edge
from .smtp_settings import SmtpSettings, TlsMode
from .transcript import Transcript
from .veil import Veil

Step = tuple[str, Callable[[], str]]  # its name, and what to do; answers with the server's own words
Watch = Callable[[str, Callable[[], str]], object]

CHUNK = 64 * 1024
LAST_WORDS_SECONDS = 2.0
EHLO_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]+")


def unwatched(name: str, take: Callable[[], str]) -> object:
    return take()


class SmtpSession:
    """Knows the relay, not the mail. Every failure leaves as TransportError; the transcript notes every line.

    `alive` turns false when the connection cannot be used any more. `clock` may be replaced
    between two mails: it belongs to the mail, not to the session.
    """

    def __init__(self, settings: SmtpSettings, *, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.alive = False
        self.tls = ""
        self.step = ""  # of opening, the last one that was begun
        self.detail = ""  # of that step: what the server did not say itself
        self.greeting = ""
        self.certificate = b""  # the relay's own, in DER form
        # The name is given for form's sake: without it smtplib asks DNS, with no time limit.
        self._smtp = smtplib.SMTP(local_hostname="localhost")
        self._smtp.ehlo_msg = "EHLO"
        self._addresses: tuple[Address, ...] = ()
        self._introduction = ""  # the reply to EHLO, good until TLS begins
        self.veil = Veil(*smtp_auth.secrets_of(settings), user_name=settings.username, host=settings.host)
        self.transcript = Transcript(self.veil)
        self._is_authenticating = False

    # Opening

    def open(self, watch: Watch = unwatched) -> None:
        """Take the steps up to AUTH; `watch` may look at each, as the connection check does."""
        try:
            for name, take in self._steps():
                self.step, self.detail = name, ""
                watch(name, take)
            self.transcript.opened()
        except BaseException:
            self.drop()
            raise

    def _steps(self) -> Iterator[Step]:
        mode = self.settings.tls_mode
        yield "resolve", self._resolve
        yield "connect", self._connect
        if mode is TlsMode.IMPLICIT:
            yield "tls", self._encrypt
        yield "greeting", self._greeting
        if mode in (TlsMode.STARTTLS_REQUIRED, TlsMode.STARTTLS_OPPORTUNISTIC):
            yield "tls", self._starttls
        yield "ehlo", self._introduce
        if self.settings.username:
            yield "auth", self._auth

    def _resolve(self) -> str:
        settings = self.settings
        self.clock.allow(settings.connect_seconds)
        self._addresses = network.resolve(
            settings.host, port=settings.port, allow_private=settings.allow_private_networks, clock=self.clock
        )
        self.detail = ", ".join(address.ip for address in self._addresses)
        return ""

    def _connect(self) -> str:
        """Connect to the first checked address that answers: to the address, so DNS is not asked again."""
        failures: list[OSError] = []
        for address in self._addresses:
            try:
                self._adopt(self._dial(address))
            except OSError as error:
                failures.append(error)
            else:
                self.detail = address.ip
                self.transcript.note(f"Connected to port {address.port}")
                return ""
        raise self._unreachable(failures[-1]) from failures[-1]

    def _dial(self, address: Address) -> socket.socket:
        self.clock.allow(self.settings.connect_seconds)
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.clock.left())
            sock.connect((address.ip, address.port))
            # Without it the last packet of a mail waits for the ACK of the one before.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            raise
        return sock

    def _adopt(self, sock: socket.socket) -> None:
        self._smtp.sock = sock
        self._smtp.file = cast(Any, ReplyReader(sock, left=lambda: self.clock.left(), note=self.transcript.heard))
        self.alive = True

    def _greeting(self) -> str:
        self.clock.allow(self.settings.reply_seconds)
        reply = self.hear(Stage.CONNECT, to=smtp_failures.GREETING)
        self.greeting = self._expect(reply, stage=Stage.CONNECT, code=220)
        return self.greeting

    def _starttls(self) -> str:
        """Ask what the relay offers, then encrypt; what was said before TLS counts for nothing."""
        self._introduce()
        if "starttls" not in self.features:
            return self._without_starttls()
        said = self._expect(self.ask("STARTTLS", stage=Stage.TLS), stage=Stage.TLS, code=220)
        if self._reader.pending:  # CVE-2011-0411: somebody put words in front of the encrypted ones
            raise self._refusal("The relay sent more than its answer to STARTTLS. Something interferes.", Stage.TLS)
        self._encrypt()
        self._introduction = ""
        return said

    def _without_starttls(self) -> str:
        port = self.settings.port
        if self.settings.tls_mode is TlsMode.STARTTLS_REQUIRED:
            text = f"The relay offers no STARTTLS on port {port}. Use another port ({smtp_auth.other_ports(port)})."
            raise self._refusal(text, Stage.TLS)
        self.detail = "the relay offers no STARTTLS: the connection stays in clear text"
        return ""

    def _encrypt(self) -> str:
        settings = self.settings
        context = tls.client_context(settings.verify, ca_certificates=settings.ca_certificates)
        sock = self._socket
        with Edge(self, Stage.TLS, to="the TLS handshake"):
            self.clock.allow(settings.reply_seconds)
            sock.settimeout(self.clock.left())
            # On failure wrap_socket closes the socket: nothing can go over it in clear text.
            encrypted = context.wrap_socket(sock, server_hostname=network.ascii_domain(settings.host))
            self._adopt(encrypted)
        self.tls = encrypted.version() or ""
        self.certificate = encrypted.getpeercert(binary_form=True) or b""
        self.detail = tls.session_summary(encrypted)
        self.transcript.note(self.detail.replace("TLSv", "TLS "))
        return ""

    def _introduce(self) -> str:
        """Say EHLO, unless that was done already and no TLS came between."""
        self._introduction = self._introduction or self._ehlo()
        return self._introduction

    def _ehlo(self) -> str:
        """Very old relays know HELO only."""
        with Edge(self, Stage.EHLO, to="EHLO"):
            name = self._ehlo_name()
            self._begin_step()
            self.transcript.sent(f"EHLO {name}")
            reply = self._parsed(*self._smtp.ehlo(name))
            if reply.code in (500, 502):
                reply = self.ask(f"HELO {name}", stage=Stage.EHLO, to="EHLO")
        return self._expect(reply, stage=Stage.EHLO, code=250)

    def _ehlo_name(self) -> str:
        try:
            name = network.ascii_domain(self.settings.domain) or network.own_name()
        except ValueError:
            name = " "
        if name and not EHLO_NAME.fullmatch(name):
            raise self._refusal("The EHLO name cannot be sent: correct 'Domain', or leave it empty.", Stage.EHLO)
        return name or self._address_literal()

    def _address_literal(self) -> str:
        ip = self._socket.getsockname()[0]
        return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"

    def _auth(self) -> str:
        self._is_authenticating = True
        try:
            return str(smtp_auth.authenticate(self))
        finally:
            self._is_authenticating = False

    # Talking

    @property
    def features(self) -> dict[str, str]:
        """What EHLO offered: the keyword in small letters, and its parameters."""
        return self._smtp.esmtp_features

    def ask(self, command: str, *, stage: Stage, to: str = "") -> Reply:
        """Send one command and return the reply to it; `to` stands for it in an error."""
        to = to or command.split(" ")[0].upper()
        self.tell(command, stage=stage, to=to)
        return self.hear(stage, to=to)

    def confide(self, line: str, *, shown: str) -> Reply:
        """Send a line of AUTH, which may be a secret, and return the reply; the transcript notes what is `shown`."""
        with Edge(self, Stage.AUTH, to="AUTH"):
            self._begin_step()
            self._smtp.send(f"{line}\r\n".encode())
        self.transcript.sent(shown)
        return self.hear(Stage.AUTH, to="AUTH")

    def tell(self, *commands: str, stage: Stage, to: str) -> None:
        """Send commands without waiting for replies; `to` stands for them in an error."""
        with Edge(self, stage, to=to):
            self._begin_step()
            self._smtp.send("".join(f"{command}\r\n" for command in commands).encode())
        self.transcript.sent(*commands)

    def tell_content(self, content: bytes) -> Reply | None:
        """Send the content with its final dot; only the time for the whole mail limits it.

        Return what a relay said that did not wait for the dot, which has not left then. Not by smtplib, which
        hangs up at a failure: what the relay said before lies there yet.
        """
        try:
            with Edge(self, Stage.DATA, to="the content"):
                self.clock.allow(self.settings.total_seconds)
                for start in range(0, len(content), CHUNK):
                    if start and self.has_unheard:
                        return self.last_words() or Reply(None, "")
                    self._socket.settimeout(self.clock.left())
                    self._socket.sendall(content[start : start + CHUNK])
        except TransportError:
            if reply := self.last_words():
                return reply
            raise
        return None

    def last_words(self) -> Reply | None:
        """Return what the relay said unasked, None where it only hung up; the session is over."""
        reply = None
        with suppress(TransportError):
            self.clock.allow(LAST_WORDS_SECONDS)
            reply = self.hear(Stage.DATA, to="the content")
        self.alive = False
        return reply

    def hear(self, stage: Stage, *, to: str) -> Reply:
        """Wait for one reply. After 421 and 221 the relay closes, so the session is over."""
        with Edge(self, stage, to=to):
            reply = self._parsed(*self._smtp.getreply())
        self.alive = self.alive and reply.code not in (221, 421)
        return reply

    @property
    def has_unheard(self) -> bool:
        """Tell whether the relay has said something that nobody asked for, or has hung up."""
        sock = self._smtp.sock
        if sock is None or self._reader.pending or (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    @property
    def has_said_more(self) -> bool:
        """Tell the one from the other: whether there are words that nobody has heard."""
        if self.has_unheard and self._smtp.sock:
            self._reader.take_what_is_there()
            return bool(self._reader.pending)
        return False

    def _begin_step(self) -> None:
        self.clock.allow(self.settings.reply_seconds)
        if self._smtp.sock:
            self._smtp.sock.settimeout(self.clock.left())

    def _parsed(self, code: int, text: bytes) -> Reply:
        if code == -1 or not self._reader.is_one_reply:  # no reply of SMTP: smtplib has cut the codes off
            code, text = -1, b"\n".join(self._reader.lines)
        self._reader.forget()
        reply = Reply.parse(code, text)
        if code == 334 and self._is_authenticating:
            return reply  # a challenge is data: not a letter of it may change
        hide = self.veil.closely_without_secrets if self._is_authenticating else self.veil.without_secrets
        words = hide(reply.text)
        return reply if words == reply.text else replace(reply, text=words)

    def _expect(self, reply: Reply, *, stage: Stage, code: int) -> str:
        if reply.code != code:
            raise TransportError.from_reply(reply, stage=stage, tls=self.tls)
        return str(reply)

    # Failing and ending

    def _unreachable(self, error: OSError) -> TransportError:
        return self._refusal(smtp_failures.unreachable(error, place=self.settings.place), Stage.CONNECT)

    def _refusal(self, text: str, stage: Stage) -> TransportError:
        return TransportError(text, stage=stage, scope=Scope.PROVIDER, tls=self.tls)

    def quit(self) -> str:
        """Say QUIT and hang up; whatever happens here, the mails before it are delivered."""
        said = ""
        with suppress(TransportError):
            if self.alive:
                said = str(self.ask("QUIT", stage=Stage.CONNECT))
        self.drop()
        return said

    def drop(self) -> None:
        self.alive = False
        with suppress(OSError):
            self._smtp.close()

    @property
    def _socket(self) -> socket.socket:
        if self._smtp.sock is None:
            raise smtplib.SMTPServerDisconnected("the connection is closed")
        return self._smtp.sock

    @property
    def _reader(self) -> ReplyReader:
        return cast(ReplyReader, self._smtp.file)
