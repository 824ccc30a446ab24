"""One SMTP session: the steps that open it, and the end."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress

from . import machine, network, smtp_auth, smtp_failures, tls
from .base import Reply, Scope, Stage, TransportError
from .network import Address, Clock
from .smtp_line import LAST_WORDS_SECONDS, Edge, SmtpLine
from .smtp_settings import SmtpSettings, TlsMode
from .veil import Veil

Step = tuple[str, Callable[[], str]]  # its name, and what to do; answers with the server's own words
Watch = Callable[[str, Callable[[], str]], object]

EHLO_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]+")


def unwatched(name: str, take: Callable[[], str]) -> object:
    return take()


class SmtpSession(SmtpLine):
    """Knows the relay, not the mail."""

    def __init__(self, settings: SmtpSettings, *, clock: Clock) -> None:
        veil = Veil(*smtp_auth.secrets_of(settings), user_name=settings.username, host=settings.host)
        super().__init__(settings, clock=clock, veil=veil)
        self.step = ""  # of opening, the last one that was begun
        self.detail = ""  # of that step: what the server did not say itself
        self.greeting = ""
        self.certificate = b""  # the relay's own, in DER form
        self._addresses: tuple[Address, ...] = ()
        self._introduction = ""  # the reply to EHLO, good until TLS begins

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
        with Edge(self, Stage.TLS, to="the TLS handshake"):
            try:
                encrypted = self._shake_hands()
            except ssl.SSLError as error:
                if lacking := machine.lack(error, stage=Stage.TLS):
                    raise lacking from error
                if self.settings.tls_mode is TlsMode.IMPLICIT and tls.speaks_clear_text(error):
                    self._hear_refusal()
                raise
        self.tls = encrypted.version() or ""
        self.certificate = encrypted.getpeercert(binary_form=True) or b""
        self.detail = tls.session_summary(encrypted)
        self.transcript.note(self.detail.replace("TLSv", "TLS "))
        return ""

    def _shake_hands(self) -> ssl.SSLSocket:
        settings = self.settings
        context = tls.client_context(settings.verify, ca_certificates=settings.ca_certificates)
        self.clock.allow(settings.reply_seconds)
        name = network.ascii_domain(settings.host).rstrip(".")  # no dot at the end: RFC 6066 section 3
        # From here on nothing can go over it in clear text.
        encrypted = context.wrap_socket(self._socket, server_hostname=name, do_handshake_on_connect=False)
        self._adopt(encrypted)
        encrypted.settimeout(self.clock.left())
        encrypted.do_handshake()
        return encrypted

    def _hear_refusal(self) -> None:
        """Listen, over another connection, to what came in clear text instead of TLS: OpenSSL has lost its beginning.

        Exim says 421 so where it has too many connections, on a port for implicit TLS, too.
        """
        self.drop()
        reply = Reply(None, "")
        with suppress(TransportError):
            self._connect()
            self.clock.allow(LAST_WORDS_SECONDS)
            reply = self.hear(Stage.CONNECT, to=smtp_failures.GREETING)
        self.detail = ""
        if reply.code and reply.code >= 400:
            raise TransportError.from_reply(reply, stage=Stage.CONNECT)

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
            reply = self._parsed(*self._smtp.ehlo(name), stage=Stage.EHLO)
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
        return str(smtp_auth.authenticate(self))

    def _expect(self, reply: Reply, *, stage: Stage, code: int) -> str:
        if reply.code != code:
            raise TransportError.from_reply(reply, stage=stage, tls=self.tls)
        return str(reply)

    # Failing and ending

    def _unreachable(self, error: OSError) -> TransportError:
        if lacking := machine.lack(error, stage=Stage.CONNECT):
            return lacking
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
