"""Where settings are read from: the environment, and files that it names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

DATABASES = ("django.db.backends.sqlite3", "django.db.backends.postgresql")


class UnreadableFile(ImproperlyConfigured):
    """What NAME_FILE names cannot be read; the text holds no value."""


class _Files(FileAwareMapping):  # type: ignore[misc]
    """Reads NAME from the file that NAME_FILE names, where it names one: a Docker secret, a systemd credential."""

    def __getitem__(self, key: str) -> str:
        try:
            value: str = super().__getitem__(key)
        except OSError as error:
            raise UnreadableFile(f"{key}_FILE names a file that cannot be read: {error.strerror}.") from error
        return value.rstrip("\r\n")  # an editor ends a file with one, and it would become a part of the last key


class Env(environ.Env):  # type: ignore[misc]
    ENVIRON = _Files()

    def seconds(self, name: str, *, default: float) -> float:
        """Return a time that is longer than none."""
        value: float = self.float(name, default=default)
        if not 0 < value < float("inf"):
            raise ImproperlyConfigured(f"{name} has to be more than 0")
        return value

    def one_of(self, name: str, known: Collection[str], *, default: str) -> str:
        value: str = self.str(name, default=default)
        if value not in known:
            raise ImproperlyConfigured(f"{name} has to be one of {', '.join(sorted(known))}")
        return value

    def database(self, name: str) -> dict[str, Any]:
        """Return the database that a URL names, of a kind that we know."""
        found: dict[str, Any] = self.db_url(name)
        if found.get("ENGINE") not in DATABASES:
            raise ImproperlyConfigured(f"{name} has to begin with postgres:// or sqlite:///")
        return found
