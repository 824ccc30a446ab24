"""A stand-in for SendGrid's v3 API on a real loopback socket, which enforces the hard rules of its contract."""

from __future__ import annotations

import base64
import binascii
import json
import socket
import struct
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

RESERVED = {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
RESERVED |= {"to", "from", "subject", "reply-to", "cc", "bcc"}


@dataclass
class FakeSendGrid:
    """`answer` is a status, a body and headers for every request; without it the contract decides.

    `fault`: "hang" reads everything and never answers, "reset" reads everything and cuts the connection,
    "truncate" cuts it in the middle of the answer's body.
    """

    api_key: str = "SG.key"
    scopes: Collection[str] = ("mail.send",)
    answer: tuple[int, str, Mapping[str, str]] | None = None
    fault: str = ""
    ledger: list[dict[str, Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.stopped = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"fake": self}))
        self.server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stopped.set()
        self.server.shutdown()
        self.server.socket.close()

    def respond(self, method: str, path: str, *, key: str, body: bytes) -> tuple[int, str, Mapping[str, str]]:
        if self.answer:
            return self.answer
        if key != f"Bearer {self.api_key}":
            return refuse(401, "The provided authorization grant is invalid, expired, or revoked")
        if (method, path) == ("GET", "/v3/scopes"):
            return 200, json.dumps({"scopes": list(self.scopes)}), {}
        if (method, path) != ("POST", "/v3/mail/send"):
            return refuse(404, "not found")
        return self.take(json.loads(body))

    def take(self, document: dict[str, Any]) -> tuple[int, str, Mapping[str, str]]:
        problems = list(broken_rules(document))
        if problems:
            return 400, json.dumps({"errors": [{"message": text, "field": name} for text, name in problems]}), {}
        self.ledger.append(document)
        return 202, "", {"X-Message-Id": f"id-{len(self.ledger)}"}


def refuse(status: int, message: str, field: str | None = None) -> tuple[int, str, Mapping[str, str]]:
    return status, json.dumps({"errors": [{"message": message, "field": field, "help": None}]}), {}


def broken_rules(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (message, field) for each hard rule that the request breaks."""
    people = document.get("personalizations") or []
    if not 1 <= len(people) <= 1000:
        yield "between 1 and 1000 personalizations", "personalizations"
    for number, one in enumerate(people):
        yield from _broken_by_personalization(one, name=f"personalizations.{number}")
    if not _is_person(document.get("from")):
        yield "The from object must be provided", "from"
    if not document.get("subject"):
        yield "The subject is required", "subject"
    yield from _broken_by_content(document.get("content") or [])
    yield from _broken_by_extras(document)


def _broken_by_personalization(one: dict[str, Any], *, name: str) -> Iterator[tuple[str, str]]:
    if not one.get("to"):
        yield "The to array is required", f"{name}.to"
    everybody = [person for kind in ("to", "cc", "bcc") for person in one.get(kind, [])]
    emails = [str(person.get("email", "")).lower() for person in everybody]
    if len(set(emails)) < len(emails):
        yield "Each email address should be unique", name
    if not all(_is_person(person) for person in everybody):
        yield "Does not contain a valid address", name
    if any(sign in person.get("name", "") for person in everybody for sign in ",;"):
        yield "names must not hold , or ;", name


def _is_person(person: object) -> bool:
    if not isinstance(person, dict) or ("name" in person and not person["name"]):
        return False
    email = str(person.get("email", ""))
    return email.isascii() and email.count("@") == 1


def _broken_by_content(blocks: list[dict[str, str]]) -> Iterator[tuple[str, str]]:
    if not blocks or not all(block.get("value") for block in blocks):
        yield "The content value must be a string at least one character in length", "content"
    order = ["text/plain", "text/html"]
    kinds = [block.get("type", "") for block in blocks]
    if any(";" in kind for kind in kinds) or kinds != [kind for kind in order if kind in kinds]:
        yield "text/plain comes before text/html", "content"


def _broken_by_extras(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.get("headers", {}).items():
        if name.lower() in RESERVED or not name.isascii() or not isinstance(value, str):
            yield "a header may not be set", f"headers.{name}"
    if not all(isinstance(value, str) and value for value in document.get("custom_args", {}).values()):
        yield "custom_args must be strings", "custom_args"
    if "reply_to" in document and "reply_to_list" in document:
        yield "reply_to or reply_to_list, not both", "reply_to"
    for attachment in document.get("attachments", []):
        if not (_is_base64(attachment.get("content")) and attachment.get("filename")):
            yield "the attachment is not complete", "attachments"


def _is_base64(text: object) -> bool:
    try:
        return bool(base64.b64decode(str(text), validate=True))
    except binascii.Error:
        return False


class Handler(BaseHTTPRequestHandler):
    fake: FakeSendGrid
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.handle_one("GET")

    def do_POST(self) -> None:
        self.handle_one("POST")

    def handle_one(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.fake.requests.append(f"{method} {self.path}")
        key = self.headers.get("Authorization", "")
        status, text, headers = self.fake.respond(method, self.path, key=key, body=body)
        if self.fake.fault == "hang":
            self.fake.stopped.wait(20)
        if self.fake.fault in ("hang", "reset"):
            self.cut()
            return
        self.send_response(status)
        for name, value in {"Content-Length": str(len(text.encode())), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode()[: 5 if self.fake.fault == "truncate" else None])
        if self.fake.fault == "truncate":
            self.cut()

    def cut(self) -> None:
        """Close with RST, as a crashed proxy does."""
        self.wfile.flush()
        if self.fake.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Stay silent."""
