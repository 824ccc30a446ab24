"""Where a secret could have been left: logs, the database, what the broker was ever told."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterable
from pathlib import Path


def left_in(folder: Path, *, database_url: str, secrets: Iterable[str]) -> list[tuple[str, bytes]]:
    """Return the places that hold one of the secrets, in clear or in base64, with what was found."""
    wanted = {secret.encode() for secret in secrets}
    wanted |= {base64.b64encode(secret) for secret in wanted}
    wanted |= {base64.b64encode(b"\0" + one + b"\0" + two) for one in wanted for two in wanted}
    return [(name, secret) for name, content in _places(folder, database_url) for secret in wanted if secret in content]


def _places(folder: Path, database_url: str) -> Iterable[tuple[str, bytes]]:
    if database_url:
        yield "pg_dump", subprocess.run(["pg_dump", database_url], capture_output=True, check=True, timeout=60).stdout
    for pattern in ("*.log", "*.jsonl", "rootmail.sqlite3*"):
        yield from ((path.name, path.read_bytes()) for path in folder.glob(pattern))
    # The append-only file of the lab's embedded broker holds every command that it was ever sent.
    yield from ((str(path), path.read_bytes()) for path in (folder / "broker").rglob("*.aof"))
