"""The open line to a relay: one command and its reply, and what comes unasked."""

from __future__ import annotations

import re
import select
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, cast

from . import smtp_failures
from .base import Reply, Scope, Stage, TransportError
from .network import Clock
from .smtp_settings import SmtpSettings
from .transcript import Transcript
from .veil import Veil

CHUNK = 64 * 1024
LAST_WORDS_SECONDS = 2.0
REPLY_LIMIT = 64 * 1024
_CODE = re.compile(rb"\d{3}(?:[ -]|\r?$)")


class SmtpLine:
    """Knows no step and no mail. Every failure leaves as TransportError; the transcript notes every line.

    `alive` turns false when the connection cannot be used any more. `clock` may be replaced
    between two mails: it belongs to the mail, not to the line.
    """

    def __init__(self, settings: SmtpSettings, *, clock: Clock, veil: Veil) -> None:
        self.settings = settings
        self.clock = clock
        self.veil = veil
        self.alive = False
        self.tls = ""
        # The name is given for form's sake: without it smtplib asks DNS, with no time limit.
        self._smtp = smtplib.SMTP(local_hostname="localhost")
        self._smtp.ehlo_msg = "EHLO"
        self.transcript = Transcript(veil)

    def _adopt(self, sock: socket.socket) -> None:
        self._smtp.sock = sock
        self._smtp.file = cast(Any, ReplyReader(sock, left=lambda: self.clock.left(), note=self.transcript.heard))
        self.alive = True

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

    def tell_ahead(self, *commands: str) -> None:
        """Send commands behind the content, whose reply is heard next, whether these have left or not.

        Not together with it: a failure would not tell whether the dot has left, and a reply between two chunks would be
        taken for one that did not wait for the dot. Not by smtplib, which hangs up at a failure.
        """
        with suppress(TransportError), Edge(self, Stage.DATA, to="the content"):
            self._socket.settimeout(self.clock.left())
            self._socket.sendall("".join(f"{command}\r\n" for command in commands).encode())

    @contextmanager
    def in_one_piece(self) -> Iterator[None]:
        """Let what is sent within leave together, where the system can do so.

        What comes to a relay in two pieces is answered in two, and its system may keep the second one back until ours
        has acknowledged the first (RFC 896).
        """
        self._hold_back(True)
        try:
            yield
        finally:
            self._hold_back(False)

    def _hold_back(self, whether: bool) -> None:
        if hasattr(socket, "TCP_CORK") and self._smtp.sock:
            with suppress(OSError):
                self._smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, whether)

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
            reply = self._parsed(*self._smtp.getreply(), stage=stage)
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

    def _parsed(self, code: int, text: bytes, *, stage: Stage) -> Reply:
        if code == -1 or not self._reader.is_one_reply:  # no reply of SMTP: smtplib has cut the codes off
            code, text = -1, b"\n".join(self._reader.lines)
        self._reader.forget()
        reply = Reply.parse(code, text)
        if code == 334 and stage is Stage.AUTH:
            return reply  # a challenge is data: not a letter of it may change
        hide = self.veil.closely_without_secrets if stage is Stage.AUTH else self.veil.without_secrets
        words = hide(reply.text)
        return reply if words == reply.text else replace(reply, text=words)

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


class Edge:
    """Within it, what breaks a session becomes a TransportError; smtplib's own errors and ssl's are OSErrors, too.

    Several stand around every mail, and a generator as a context manager would take four times as long.
    """

    __slots__ = ("_line", "_stage", "_to")

    def __init__(self, line: SmtpLine, stage: Stage, *, to: str) -> None:
        self._line, self._stage, self._to = line, stage, to

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, OSError):
            line, cause = self._line, smtp_failures.root(error)
            line.alive = False
            text = smtp_failures.broken(cause, stage=self._stage, to=self._to, settings=line.settings)
            raise TransportError(text, stage=self._stage, scope=Scope.PROVIDER, tls=line.tls) from cause


class ReplyReader:
    """Reads lines for smtplib, against a clock that a server cannot stretch by dripping bytes; `note` sees each."""

    def __init__(
        self, sock: socket.socket, *, left: Callable[[], float], note: Callable[[bytes], object] = lambda line: None
    ) -> None:
        self._sock = sock
        self._left = left
        self._note = note
        self._taken = 0
        self.pending = b""
        self.lines: list[bytes] = []  # of the present reply

    def readline(self, limit: int) -> bytes:
        """Return one whole line, or b'' at the end: half a line is no answer."""
        while b"\n" not in self.pending and len(self.pending) < limit:
            self._sock.settimeout(self._left())
            chunk = self._sock.recv(8192)
            if not chunk:
                return b""
            self._acknowledge()
            self._take(chunk)
        line, end, self.pending = self.pending.partition(b"\n")
        self.lines.append(line)
        self._note(line)
        return line + end

    def _acknowledge(self) -> None:
        """Acknowledge at once: to put it off (RFC 1122 section 4.2.3.2) may keep back what comes next, for 40 ms."""
        if hasattr(socket, "TCP_QUICKACK"):
            with suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, True)

    def _take(self, chunk: bytes) -> None:
        self._taken += len(chunk)
        if self._taken > REPLY_LIMIT:
            raise ConnectionAbortedError("the reply does not end")
        self.pending += chunk

    @property
    def is_one_reply(self) -> bool:
        """Tell whether the lines belong together: each has a code, of one kind (RFC 5321 sections 4.2 and 4.2.1)."""
        return all(_CODE.match(line) and line[:1] == self.lines[0][:1] for line in self.lines)

    def take_what_is_there(self) -> None:
        """Read without waiting."""
        with suppress(OSError):
            self._sock.settimeout(0)
            self._take(self._sock.recv(8192))

    def forget(self) -> None:
        """Begin the next reply."""
        self._taken, self.lines = 0, []

    def close(self) -> None:
        """Leave the socket to smtplib, which closes it next."""
