"""Keep secrets out of what the doctor says, also where an error of somebody else's code quotes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from .findings import Finding
from .places import set_to, state_folder, text_of

MASK = "•••"
ADDRESSES = ("DATABASE_URL", "BROKER_URL", "DEFAULT_SENDER_URL")
FILES = ("secret_key", "fernet_key", "first_admin_token")
SHORTEST = 4  # a shorter one would tear words apart


def masked(finding: Finding) -> Finding:
    said, todo = finding.said, finding.todo
    for secret in sorted(set(_secrets()), key=len, reverse=True):
        said, todo = said.replace(secret, MASK), todo.replace(secret, MASK)
    return replace(finding, said=said, todo=todo)


def _secrets() -> Iterator[str]:
    """Yield what the environment and the state folder hold; without the settings, which may be broken."""
    found = [set_to("SECRET_KEY"), set_to("METRICS_TOKEN"), *set_to("FERNET_KEYS").split(",")]
    found += [text_of(state_folder() / name) for name in FILES]
    for address in [*map(set_to, ADDRESSES), text_of(state_folder() / "broker_url")]:
        found += _password(address)
    yield from (secret for secret in map(str.strip, found) if len(secret) >= SHORTEST)


def _password(address: str) -> list[str]:
    """Return the password as it stands there and as it is meant; a sign that breaks the address does not hide it."""
    with suppress(ValueError):
        password = urlsplit(address).password or ""
        if password:
            return [password, unquote(password)]
    before, at, _ = address.rpartition("@")
    return [before.rpartition("//")[2].partition(":")[2]] if at else []
