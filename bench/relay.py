"""A small SMTP server of our own, for where smtp-sink is missing or cannot do it: STARTTLS and AUTH.

    python -m bench.relay PORT FOLDER [--secure] [--refuse ADDRESS]

It counts and keeps mails as smtp-sink does with -c and -D.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import sys
from pathlib import Path
from typing import IO, Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from .sink import PASSWORD, USER

HEAD = "X-Client-Addr: {peer}\nX-Mail-Args: <{sender}>\nX-Rcpt-Args: <{recipient}>\nReceived: by relay; (UTC)\n"


class Handler:
    def __init__(self, ledger: IO[bytes], *, refuse: str) -> None:
        self._ledger, self._refuse, self._count = ledger, refuse, 0

    async def handle_EHLO(self, server: Any, session: Session, envelope: Any, name: str, replies: Any) -> Any:
        session.host_name = name
        return [replies[0], "250-PIPELINING", *replies[1:]]  # it reads line by line, so it may

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        if address == self._refuse:
            return "550 5.1.1 nobody here"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        head = HEAD.format(peer="127.0.0.1", sender=envelope.mail_from, recipient=envelope.rcpt_tos[0])
        self._ledger.write(head.encode() + _bytes(envelope).replace(b"\r\n", b"\n") + b"\n")
        self._ledger.flush()
        self._count += 1
        sys.stdout.write(f"mesg={self._count}\r")
        sys.stdout.flush()
        return "250 2.0.0 taken"


def _bytes(envelope: Envelope) -> bytes:
    content = envelope.content or b""
    return content.encode() if isinstance(content, str) else content


def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=right)


def security(folder: Path) -> dict[str, Any]:
    """Return what the server needs for STARTTLS and AUTH; leaves the certificates that vouch for it in the folder."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return {"tls_context": context, "require_starttls": True, "auth_required": True, "authenticator": authenticate}


async def serve(port: int, folder: Path, *, secure: bool, refuse: str) -> None:
    options = security(folder) if secure else {}
    with (folder / "mails").open("ab") as ledger:
        handler = Handler(ledger, refuse=refuse)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(handler, hostname="relay.example", timeout=600, **options), "127.0.0.1", port, backlog=1000
        )
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--secure", action="store_true")
    parser.add_argument("--refuse", default="")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.folder, secure=options.secure, refuse=options.refuse))


if __name__ == "__main__":
    main()
