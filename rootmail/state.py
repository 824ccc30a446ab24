"""Small secrets that an installation makes for itself, kept in its `var` folder."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def stored(path: Path, make: Callable[[], str]) -> str:
    """Return what `path` holds; the first time, fill it from `make` with mode 0600.

    Safe when several processes start at once: one of them wins, all read the winner's value.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        replace(draft, make())
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


def replace(path: Path, text: str) -> None:
    """Write `path` with mode 0600, whole or not at all."""
    draft = path.with_name(f".{path.name}.new.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        os.fsync(file.fileno())
    draft.replace(path)


def new_key() -> str:
    return secrets.token_urlsafe(48)


def new_broker_url() -> str:
    """Return an address for the embedded broker: loopback, a free port, a password of its own."""
    return f"redis://:{secrets.token_urlsafe(24)}@127.0.0.1:{free_port()}/0"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
