"""Where settings are read from: the environment, and files that it names."""

from __future__ import annotations

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping


class _Files(FileAwareMapping):  # type: ignore[misc]
    """Reads NAME from the file that NAME_FILE names, where it names one: a Docker secret, a systemd credential."""

    def __getitem__(self, key: str) -> str:
        try:
            value: str = super().__getitem__(key)
        except OSError as error:
            raise ImproperlyConfigured(f"{key}_FILE names a file that cannot be read: {error.strerror}") from error
        return value.rstrip("\r\n")  # an editor ends a file with one, and it would become a part of the last key


class Env(environ.Env):  # type: ignore[misc]
    ENVIRON = _Files()
