"""Encrypted columns that cannot lose or leak what they hold."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.exceptions import FieldError
from django.db.backends.base.base import BaseDatabaseWrapper
from fernet_fields import EncryptedTextField as FernetTextField


class Undecryptable(Exception):
    """A stored value was encrypted with a key that is no longer in FERNET_KEYS."""


class EncryptedTextField(FernetTextField):  # type: ignore[misc]
    """A text, encrypted with the first key of FERNET_KEYS.

    Raises FieldError where the library would encrypt an SQL expression's repr: `bulk_update()` and
    `update(x=F(...))` write one such text, holding the plain values of all rows, into every row.
    """

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if hasattr(value, "resolve_expression") or hasattr(value, "as_sql"):
            raise FieldError(f"{self.model.__name__}.{self.name} is encrypted: save() the objects one by one.")
        return super().get_db_prep_save(value, connection)

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper, *args: Any) -> str | None:
        try:
            text: str | None = super().from_db_value(value, expression, connection, *args)
        except InvalidToken as error:
            raise Undecryptable(
                f"The stored {self.verbose_name} of {self.model._meta.verbose_name} cannot be decrypted. "
                "Put the key that it was saved with back into FERNET_KEYS, or disconnect and enter it again."
            ) from error
        return text
