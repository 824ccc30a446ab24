"""How the default sender delivers, told by a URL: into a folder, or over SMTP."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from . import envelope, machine
from .base import Receipt, Reply, Scope, Stage, Submission, Transport, TransportError, storable
from .sendgrid import SendGridSettings, SendGridTransport
from .smtp import SmtpSettings, SmtpTransport
from .smtp_auth import MECHANISMS

EXAMPLES = "file:///var/mail/outbox, smtp://user:password@host:587 or smtps://host:465"
_UNSAFE = re.compile(r"[^A-Za-z0-9@.+=-]+")


@dataclass(frozen=True, slots=True)
class FileSettings:
    folder: Path


class FileTransport:
    """Writes each mail as one .eml file: for trying out, and for installations without a relay."""

    def __init__(self, settings: FileSettings) -> None:
        self.settings = settings

    def send(self, submission: Submission) -> Receipt:
        started = monotonic()
        message_id = envelope.message_id_of(submission.content)
        path = self.settings.folder / file_name(message_id, content=submission.content)
        recipients, refused = envelope.wire_recipients(submission.recipients)
        headers = _delivery_headers(envelope.wire_sender(submission.sender), recipients=recipients.values())
        try:
            _write_whole(path, content=headers + envelope.normalised(submission.content))
        except OSError as error:
            text = f"The mail cannot be written to {self.settings.folder}: {error.strerror or error}"
            transcript = f"* Not written to a file: {storable(error.strerror or '')}".rstrip(": ")
            failure = TransportError(text, stage=Stage.DATA, scope=Scope.PROVIDER, transcript=transcript)
            raise machine.lack(error, stage=Stage.DATA) or failure from error
        return Receipt(
            reply=Reply(None, f"written to {path}"),
            message_id=message_id,
            milliseconds=round((monotonic() - started) * 1000),
            refused=refused,
            transcript="* Written to a file",
        )

    def close(self) -> None:
        """Do nothing: no file stays open."""


def file_name(message_id: str, *, content: bytes) -> str:
    """Return the same name for the same mail, so that a repeat overwrites itself."""
    digest = hashlib.sha256(message_id.encode() or content).hexdigest()[:12]
    words = _UNSAFE.sub("_", message_id.strip("<>"))[:80].lstrip(".")
    return f"{words}-{digest}.eml" if words else f"{digest}.eml"


def _delivery_headers(sender: str, *, recipients: Iterable[str]) -> bytes:
    """Put the envelope in front, as a mailbox does at final delivery."""
    return f"Return-Path: <{sender}>\r\nX-Envelope-To: {', '.join(recipients)}\r\n".encode()


def _write_whole(path: Path, *, content: bytes) -> None:
    """Write the file so that nobody ever sees half of it, not even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def default_settings(url: str) -> FileSettings | SmtpSettings:
    """Read the URL of the default sender, or raise ValueError with a text that quotes no password."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:  # its text may quote a password that holds a '/', '#' or '@'
        raise ValueError(_unreadable("host or port cannot be read; write signs in a password as %XX")) from None
    if parts.scheme == "file":
        return _file_settings(parts)
    if parts.scheme in ("smtp", "smtps"):
        return _smtp_settings(parts, port=port)
    raise ValueError(_unreadable("it does not begin with file:, smtp:// or smtps://"))


def _file_settings(parts: SplitResult) -> FileSettings:
    if parts.netloc not in ("", "localhost"):
        raise ValueError(_unreadable("a folder needs three slashes, as in file:///srv/outbox"))
    if not parts.path.strip("/"):
        raise ValueError(_unreadable("it names no folder"))
    return FileSettings(folder=Path(unquote(parts.path)))


def _smtp_settings(parts: SplitResult, *, port: int | None) -> SmtpSettings:
    if not parts.hostname:
        raise ValueError(_unreadable("it names no host"))
    if parts.path.strip("/") or parts.fragment:
        raise ValueError(_unreadable("something follows the port; write '/' and '#' in a password as %2F and %23"))
    implicit = parts.scheme == "smtps"
    return SmtpSettings(
        host=parts.hostname,
        port=port or (465 if implicit else 587),
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        ssl=implicit,
        **_options(parts.query),
    )


# option of the URL -> its values, each with the fields it sets
_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "starttls": {"auto": {}, "required": {"starttls": True}, "off": {"starttls_auto": False}},
    "verify": {word: {"verify": word} for word in ("peer", "none")},
    "auth": {word: {"authentication": word} for word in MECHANISMS},
    "allow_clear_text_auth": {"1": {"allow_clear_text_auth": True}, "0": {}},
}


def _options(query: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"verify": "peer"}
    for name, values in parse_qs(query, keep_blank_values=True).items():
        if name == "domain":
            fields["domain"] = values[-1]
        elif name not in _OPTIONS:
            # Not quoted: behind a '?' in a password this "option" would be the rest of it.
            raise ValueError(_unreadable(f"there are no options but {', '.join((*_OPTIONS, 'domain'))}"))
        elif values[-1] not in _OPTIONS[name]:
            raise ValueError(_unreadable(f"'{name}' can be {', '.join(_OPTIONS[name])}"))
        else:
            fields |= _OPTIONS[name][values[-1]]
    return fields


def _unreadable(problem: str) -> str:
    return f"The URL of the default sender cannot be used: {problem}. Examples: {EXAMPLES}"


TransportSettings = FileSettings | SmtpSettings | SendGridSettings


def transport_for(settings: TransportSettings) -> Transport:
    """Return the transport that speaks to what the settings describe."""
    if isinstance(settings, FileSettings):
        return FileTransport(settings)
    if isinstance(settings, SmtpSettings):
        return SmtpTransport(settings)
    return SendGridTransport(settings)
