"""A stand-in for SendGrid's v3 API on a real loopback socket: HTTPS, every hard rule, and a ledger that is believed.

    with FakeSendGrid(verified=["example.com"]) as fake:
        ...
        assert fake.ledger == [...]

While it runs, SSL_CERT_FILE names its CA, as an operator names one of their own: httpx goes by that.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import trustme

from .sendgrid_rules import broken_rules

Answer = tuple[int, str, Mapping[str, str]]

BAD_KEY = (401, "The provided authorization grant is invalid, expired, or revoked")
NO_KEY = (401, "Permission denied, wrong credentials")
NO_SCOPE = (403, "access forbidden")
# What an account may have come to.
STATES = {
    "credits": (401, "Maximum credits exceeded"),
    "suspended": (401, "Authenticated user is not authorized to send mail"),
    "blocked": (403, "You are temporarily blocked from sending emails due to repeated bad requests."),
}
NOT_VERIFIED = (
    "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved. "
    "Visit https://sendgrid.com/docs/for-developers/sending-email/sender-identity/ to see the Sender Identity "
    "requirements"
)
HELP = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
PAGE = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center>nginx</center></body>\r\n</html>\r\n"


@lru_cache(maxsize=1)
def _authority() -> trustme.CA:
    return trustme.CA()  # not the one of the mail servers: who trusts this one must not trust them


@lru_cache(maxsize=1)
def authority_file() -> str:
    """Return a file that holds the CA of the stand-in."""
    with tempfile.NamedTemporaryFile(prefix="fake-sendgrid-", suffix=".pem", delete=False) as file:
        file.write(_authority().cert_pem.bytes())
    return file.name


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def message_id(number: int) -> str:
    """Return the X-Message-Id of the mail that was accepted as this one: 22 characters, as theirs."""
    return f"stand-in_{number:013}"


def refuse(status: int, message: str, field: str | None = None) -> Answer:
    return status, json.dumps({"errors": [{"message": message, "field": field, "help": None}]}), {}


@dataclass
class FakeSendGrid:
    """`answer` is a status, a body and headers for every request; without it the contract decides.

    `verified`: addresses and domains that may be From; None: everybody. `state`: one of STATES. `calls`: so many
    requests in so many seconds; beyond it, all of them get 429 until the time is over. `slow`: seconds before each
    answer. `taken_at` has the wall clock's time of each mail in the ledger.

    `fault` strikes every time, each of `faults` once, in their order:

    hang, reset, error, truncate   the mail is taken; then no answer, a cut connection, a 503, half of an answer's body
    drip                           the mail is taken; then a byte of an answer in each fifth of a second
    early, page, okay              nothing is taken: cut before the body was read, 502 with a page of HTML, 200
    """

    api_key: str = "SG.key"
    scopes: Collection[str] = ("mail.send",)
    verified: Collection[str] | None = None
    state: str = ""
    calls: tuple[int, float] | None = None
    says_retry_after: bool = False
    size_limit: int = 30_000_000
    tls: bool = True
    trusted: bool = True  # whether SSL_CERT_FILE names its CA
    slow: float = 0.0
    answer: Answer | None = None
    fault: str = ""
    faults: list[str] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    taken_at: list[float] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)  # the statuses other than 2xx, in their order

    def __enter__(self) -> Self:
        self.stopped, self._lock, self._times = threading.Event(), threading.Lock(), list[float]()
        self.server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"fake": self}))
        self.server.tls = _tls() if self.tls else None
        scheme, host = ("https", "localhost") if self.tls else ("http", "127.0.0.1")
        self.base_url = f"{scheme}://{host}:{self.server.server_port}"
        self._trusted_before = os.environ.pop("SSL_CERT_FILE", None)
        if self.trusted:
            os.environ["SSL_CERT_FILE"] = authority_file()
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.socket.close()
        os.environ.pop("SSL_CERT_FILE", None)
        if self._trusted_before is not None:
            os.environ["SSL_CERT_FILE"] = self._trusted_before

    def next_fault(self) -> str:
        with self._lock:
            return self.faults.pop(0) if self.faults else self.fault

    def respond(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes, fault: str) -> Answer:
        with self._lock:
            self.requests.append(f"{method} {path}")
            answer = self.answer or self._decide(method, path, headers=headers, body=body, fault=fault)
            if answer[0] >= 300:
                self.refused.append(answer[0])
            return answer

    def _decide(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes, fault: str) -> Answer:
        early = self._too_often() or self._not_authorized(headers.get("Authorization", ""))
        if early:
            return early
        if fault in ("page", "okay"):
            return (502, PAGE, {"Content-Type": "text/html"}) if fault == "page" else (200, "", {})
        if path == "/v3/scopes" and method == "GET":
            return 200, json.dumps({"scopes": list(self.scopes)}), {}
        if path != "/v3/mail/send":
            return refuse(404, "not found")
        if method != "POST":
            return refuse(405, "method not allowed")
        answer = self._refusal(headers.get("Content-Type", ""), body) or self._take(json.loads(body))
        return (503, "", {}) if fault == "error" and answer[0] == 202 else answer

    def _too_often(self) -> Answer | None:
        """Refuse everything until the window is over, once there were too many calls in it."""
        if not self.calls:
            return None
        number, seconds = self.calls
        now = time.time()
        if not self._times or now >= self._times[0] + seconds:
            self._times = []
        self._times.append(now)
        if len(self._times) <= number:
            return None
        reset = self._times[0] + seconds
        said = {
            "X-RateLimit-Limit": str(number),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": str(int(reset) + 1),
        }
        said |= {"Retry-After": str(int(reset - now) + 1)} if self.says_retry_after else {}
        return *refuse(429, "too many requests")[:2], said

    def _not_authorized(self, given: str) -> Answer | None:
        if not given.startswith("Bearer "):
            return refuse(*NO_KEY)
        return None if given == f"Bearer {self.api_key}" else refuse(*BAD_KEY)

    def _refusal(self, kind: str, body: bytes) -> Answer | None:
        """Say what is wrong with the account, the request or the mail; None where it is fine."""
        if self.state:
            return refuse(*STATES[self.state])
        if "mail.send" not in self.scopes:
            return refuse(*NO_SCOPE)
        if kind != "application/json":
            return refuse(415, "Content-Type should be application/json.")
        if len(body) > self.size_limit:
            return refuse(413, "The total size of the request exceeds the limit of 30MB.")
        try:
            document = json.loads(body)
        except ValueError:
            return refuse(400, "Bad Request")
        problems = [*broken_rules(document, now=time.time())]
        if problems:
            rows = [{"message": text, "field": name, "help": HELP if name else None} for text, name in problems]
            return 400, json.dumps({"errors": rows}), {}
        return None if self._is_verified(document["from"]["email"]) else refuse(403, NOT_VERIFIED, "from")

    def _is_verified(self, sender: str) -> bool:
        lower = sender.lower()
        return self.verified is None or lower in self.verified or lower.rpartition("@")[2] in self.verified

    def _take(self, document: dict[str, Any]) -> Answer:
        if document.get("mail_settings", {}).get("sandbox_mode", {}).get("enable") is True:
            return 200, "", {}
        self.ledger.append(document)
        self.taken_at.append(time.time())
        return 202, "", {"X-Message-Id": message_id(len(self.ledger))}

    def copies(self) -> Iterator[tuple[str, str, float]]:
        """Yield (Message-ID, address, when) for each copy of a mail that was taken."""
        for document, at in zip(self.ledger, self.taken_at, strict=True):
            for one in document["personalizations"]:
                for person in (*one["to"], *one.get("cc", []), *one.get("bcc", [])):
                    yield document["headers"]["Message-ID"], person["email"], at


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    tls: ssl.SSLContext | None = None

    def handle_error(self, *_: object) -> None:
        """Stay silent: who breaks off is wanted to."""


class Handler(BaseHTTPRequestHandler):
    fake: FakeSendGrid
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 30

    def setup(self) -> None:
        if self.server.tls:  # here, and not where it was accepted: nobody waits for another one's handshake
            self.request.settimeout(self.timeout)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self) -> None:
        self.handle_one("GET")

    def do_POST(self) -> None:
        self.handle_one("POST")

    def handle_one(self, method: str) -> None:
        fault = self.fake.next_fault()
        if fault == "early":
            return self.cut(reset=True)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        given = {name.title(): value for name, value in self.headers.items()}
        status, text, headers = self.fake.respond(method, self.path, headers=given, body=body, fault=fault)
        self.fake.stopped.wait(20 if fault == "hang" else self.fake.slow)
        if fault == "drip":
            return self.drip()
        if fault in ("hang", "reset"):
            return self.cut(reset=fault == "reset")
        self.answer(status, text.encode(), headers, truncated=fault == "truncate")
        return None

    def answer(self, status: int, content: bytes, headers: Mapping[str, str], *, truncated: bool) -> None:
        content = content or (b"{}" if truncated else b"")
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2 if truncated else None])
        if truncated:
            self.cut()

    def drip(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            for letter in b"HTTP/1.1 202 Accepted\r\nX-Slow: " + b"x" * 20:
                self.connection.sendall(bytes([letter]))
                self.fake.stopped.wait(0.2)

    def cut(self, *, reset: bool = False) -> None:
        """Close; with `reset` by RST, as a crashed proxy does."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # at once, and without the end that TLS would say

    def log_message(self, *_: object) -> None:
        """Stay silent."""
