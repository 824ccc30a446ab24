"""Write every encrypted value again, under the first of FERNET_KEYS, so that the older keys can go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.apps import apps
from django.db import models, transaction
from django.db.models import BinaryField, ExpressionWrapper, F

from .fields import EncryptedTextField, Undecryptable


@dataclass(slots=True)
class Survey:
    """How many rows hold encrypted values, and which of them the first key alone does not open.

    `unreadable`: what no key opens, in words.
    """

    total: int = 0
    older: list[tuple[type[models.Model], Any]] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Rotation:
    """What became of the rows. `left`: written under an older key meanwhile, by a process with other settings."""

    renewed: int = 0
    fresh: int = 0
    left: int = 0
    unreadable: list[str] = field(default_factory=list)


def rotate(*, watch: Callable[[int, int], None] = lambda done, total: None) -> Rotation:
    """Encrypt anew what the first key alone does not open; `watch` hears how many rows of how many are done.

    Each row is a transaction of its own, so a rotation that was interrupted goes on where it was: what is done
    already is only read.
    """
    before = survey()
    found = Rotation(fresh=before.total - len(before.older) - len(before.unreadable))
    for done, (model, pk) in enumerate(before.older, start=1):
        with suppress(Undecryptable):  # written meanwhile with a foreign key: the second look names it
            encrypt_anew(model, pk)
            found.renewed += 1
        watch(done, len(before.older))
    after = survey()
    found.left, found.unreadable = len(after.older), after.unreadable
    return found


def survey() -> Survey:
    """Read every encrypted value; nothing is changed."""
    found = Survey()
    for model, names in encrypted_fields():
        for pk, values in _sealed(model, names):
            found.total += 1
            if not _opened_by_first_key(model, values):
                _note_stale(found, model, pk)
    return found


def encrypted_fields() -> Iterator[tuple[type[models.Model], list[str]]]:
    """Yield every model that has encrypted fields, with their names."""
    for model in apps.get_models():
        if names := _names_of(model):
            yield model, names


def encrypt_anew(model: type[models.Model], pk: Any) -> None:
    """Read and write the encrypted fields of one row; raises Undecryptable, and then leaves the row as it is."""
    rows = model._default_manager.filter(pk=pk)
    with transaction.atomic():
        for values in rows.select_for_update().values(*_names_of(model)):
            rows.update(**values)


def _names_of(model: type[models.Model]) -> list[str]:
    return [one.name for one in model._meta.concrete_fields if isinstance(one, EncryptedTextField)]


def _sealed(model: type[models.Model], names: list[str]) -> Iterator[tuple[Any, dict[str, bytes]]]:
    """Yield the rows that hold anything, with their values as they are stored."""
    stored = {f"stored_{name}": ExpressionWrapper(F(name), output_field=BinaryField()) for name in names}
    rows: Any = model._default_manager.annotate(**stored).order_by("pk")
    for pk, *values in rows.values_list("pk", *stored):
        found = {name: bytes(value) for name, value in zip(names, values, strict=True) if value is not None}
        if found:
            yield pk, found


def _opened_by_first_key(model: type[models.Model], values: dict[str, bytes]) -> bool:
    try:
        for name, value in values.items():
            Fernet(_field(model, name).fernet_keys[0]).decrypt(value)
    except InvalidToken:
        return False
    return True


def _note_stale(found: Survey, model: type[models.Model], pk: Any) -> None:
    """Tell an older key from none. A row that is gone meanwhile is neither."""
    try:
        if list(model._default_manager.filter(pk=pk).values_list(*_names_of(model))):
            found.older.append((model, pk))
    except Undecryptable as error:
        found.unreadable.append(str(error))


def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)
