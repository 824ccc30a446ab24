"""Ask without Django's compiler, which takes longer than the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from operator import attrgetter
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.base import ModelState

Row = TypeVar("Row", bound=models.Model)


class Reader(Generic[Row]):
    """Makes rows of one model of what a query has found for its `columns`; their number is `width`."""

    def __init__(self, model: type[Row]) -> None:
        self._model = model
        fields = model._meta.concrete_fields
        self.width = len(fields)
        quote = connection.ops.quote_name
        self.columns = ", ".join(f"{quote(model._meta.db_table)}.{quote(str(field.column))}" for field in fields)
        self._names = [field.attname for field in fields]
        self._conversions = [(place, each, column) for place, column in _columns(model) for each in _of(column)]

    def __call__(self, values: Sequence[Any]) -> Row:
        found = list(values)
        for place, convert, column in self._conversions:
            found[place] = convert(found[place], column, connection)
        row = self._model.__new__(self._model)  # as pickle makes one: `from_db` would take most of the time
        row._state = ModelState()
        row._state.db, row._state.adding = DEFAULT_DB_ALIAS, False
        row.__dict__.update(zip(self._names, found, strict=True))
        return row


@cache
def reader(model: type[Row]) -> Reader[Row]:
    return Reader(model)


def stored(model: type[models.Model], name: str, value: Any) -> Any:
    """Return a value as the database takes it for this field."""
    prepare = _preparation(model, name)
    return value if prepare is None or value is None else prepare(value)


@cache
def _preparation(model: type[models.Model], name: str) -> Callable[[Any], Any] | None:
    return preparation(model._meta.get_field(name))


TAKEN_AS_THEY_ARE = (models.CharField, models.TextField, models.BooleanField, models.IntegerField)


def preparation(field: Any) -> Callable[[Any], Any] | None:
    """Return what makes the database's value of Python's, None where that is taken as it is.

    Every mail has some twenty ids and times: for these, what the field itself would do after many questions is done.
    """
    while field.is_relation:
        field = field.target_field
    on_sqlite = connection.vendor == "sqlite"
    if isinstance(field, models.UUIDField):
        return attrgetter("hex") if on_sqlite else None
    if isinstance(field, models.DateTimeField):
        return _time_in_sqlite if on_sqlite else None
    if isinstance(field, TAKEN_AS_THEY_ARE):
        return None
    return partial(field.get_db_prep_save, connection=connections[DEFAULT_DB_ALIAS])


def _time_in_sqlite(value: datetime) -> str:
    return str(value.astimezone(UTC).replace(tzinfo=None))


def _columns(model: type[models.Model]) -> list[tuple[int, Any]]:
    return [(place, field.get_col(model._meta.db_table)) for place, field in enumerate(model._meta.concrete_fields)]


def _of(column: Any) -> list[Callable[[Any, Any, Any], Any]]:
    """Return what makes Python's value of the database's, as Django's compiler does."""
    return [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
