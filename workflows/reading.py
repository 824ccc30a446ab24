"""Ask without Django's compiler, which takes longer than the database; its fields still do the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections, models

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
        return self._model.from_db(DEFAULT_DB_ALIAS, self._names, found)


@cache
def reader(model: type[Row]) -> Reader[Row]:
    return Reader(model)


def stored(model: type[models.Model], name: str, value: Any) -> Any:
    """Return a value as the database takes it for this field."""
    return _field(model, name).get_db_prep_save(value, connections[DEFAULT_DB_ALIAS])


@cache
def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.get_field(name)


def _columns(model: type[models.Model]) -> list[tuple[int, Any]]:
    return [(place, field.get_col(model._meta.db_table)) for place, field in enumerate(model._meta.concrete_fields)]


def _of(column: Any) -> list[Callable[[Any, Any, Any], Any]]:
    """Return what makes Python's value of the database's, as Django's compiler does."""
    return [*connection.ops.get_db_converters(column), *column.get_db_converters(connection)]
