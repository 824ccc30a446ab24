"""Write every encrypted value again, under the first of FERNET_KEYS, so that the older keys can go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import models, transaction

from .fields import EncryptedTextField, Undecryptable


def rotate() -> Iterator[str]:
    """Encrypt row by row anew; yield what cannot be decrypted, in words.

    Each row is a transaction of its own and may be done twice: a rotation that was interrupted is simply begun again.
    """
    for model, fields in encrypted_fields():
        for pk in list(model._default_manager.order_by("pk").values_list("pk", flat=True)):
            try:
                encrypt_anew(model, pk, fields)
            except Undecryptable as error:
                yield str(error)


def encrypted_fields() -> Iterator[tuple[type[models.Model], list[str]]]:
    """Yield every model that has encrypted fields, with their names."""
    for model in apps.get_models():
        fields = [field.name for field in model._meta.concrete_fields if isinstance(field, EncryptedTextField)]
        if fields:
            yield model, fields


def encrypt_anew(model: type[models.Model], pk: Any, fields: list[str]) -> None:
    """Read and write the encrypted fields of one row; raises Undecryptable, and then leaves the row as it is."""
    rows = model._default_manager.filter(pk=pk)
    with transaction.atomic():
        for values in rows.select_for_update().values(*fields):
            rows.update(**values)
