"""Where settings are read from: the environment, and files that it names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

BROKERS = ("redis", "rediss", "amqp", "amqps")
DATABASES = ("django.db.backends.sqlite3", "django.db.backends.postgresql")


class UnfitSetting(ImproperlyConfigured):
    """A setting cannot be what it is; the text says why, and holds no value."""


class _Files(FileAwareMapping):  # type: ignore[misc]
    """Reads NAME from the file that NAME_FILE names, where it names one: a Docker secret, a systemd credential."""

    def __getitem__(self, key: str) -> str:
        try:
            value: str = super().__getitem__(key)
        except OSError as error:
            raise UnfitSetting(f"{key}_FILE names a file that cannot be read: {error.strerror}.") from error
        return value.rstrip("\r\n")  # an editor ends a file with one, and it would become a part of the last key


class Env(environ.Env):  # type: ignore[misc]
    ENVIRON = _Files()

    def seconds(self, name: str, *, default: float) -> float:
        """Return a time that is longer than none."""
        value: float = self.float(name, default=default)
        if not 0 < value < float("inf"):
            raise UnfitSetting(f"{name} in the environment has to be more than 0.")
        return value

    def whole(self, name: str, *, default: int, least: int = 1) -> int:
        value: int = self.int(name, default=default)
        if value < least:
            raise UnfitSetting(f"{name} in the environment has to be {least} or more.")
        return value

    def one_of(self, name: str, known: Collection[str], *, default: str) -> str:
        """Return the one of these that is named, in small letters or capitals."""
        value: str = self.str(name, default=default)
        for one in known:
            if one.casefold() == value.casefold():
                return one
        raise UnfitSetting(f"{name} in the environment has to be one of {', '.join(known)}.")

    def time_zone(self, name: str, *, default: str) -> str:
        value: str = self.str(name, default=default)
        try:
            return ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise UnfitSetting(f"{name} in the environment is no time zone's name, such as Europe/Berlin.") from error

    def database(self, name: str) -> dict[str, Any]:
        """Return the database that a URL names, of a kind that we know."""
        found: dict[str, Any] = self.db_url(name)
        if found.get("ENGINE") not in DATABASES:
            raise UnfitSetting(f"{name} in the environment has to begin with postgres:// or sqlite:///.")
        return found

    def broker(self, name: str) -> str:
        """Return the URL of a broker that Celery knows, '' where none is named."""
        value: str = self.str(name, default="")
        if value and value.partition("://")[0] not in BROKERS:
            raise UnfitSetting(f"{name} in the environment has to begin with redis://, rediss://, amqp:// or amqps://.")
        return value
