"""Insert rows without Django's compiler, which costs more than the database itself; its fields still do the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models

# The name of an attribute, and what prepares its value; None where the database takes it as it is.
Column = tuple[str, Callable[[Any, Any], Any] | None]
PLAIN_FIELDS = (models.CharField, models.TextField, models.BooleanField)
MOST_PARAMETERS = 30_000  # of one statement; PostgreSQL takes 65,535, SQLite what Django says


def insert(rows: Sequence[models.Model]) -> None:
    """Insert new rows of one model, all of them or none within the caller's transaction.

    Numbers that the database gives are not read back, `auto_now` and the like are not filled in.
    """
    if not rows:
        return
    beginning, columns = _statement(type(rows[0]))
    connection = connections[DEFAULT_DB_ALIAS]
    at_once = min(connection.features.max_query_params or MOST_PARAMETERS, MOST_PARAMETERS) // len(columns)
    with connection.cursor() as cursor:
        for start in range(0, len(rows), at_once):
            values = [_values(row, columns, connection) for row in rows[start : start + at_once]]
            places = f"({', '.join(['%s'] * len(columns))})"
            cursor.execute(beginning + ", ".join([places] * len(values)), [each for row in values for each in row])


@cache
def _statement(model: type[models.Model]) -> tuple[str, list[Column]]:
    """Return the beginning of the statement, and the columns whose values go into it."""
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    quoted = connections[DEFAULT_DB_ALIAS].ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in fields)
    table = quoted(model._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES ", [_column(field) for field in fields]  # noqa: S608 # nosec B608 (names of our own)


def _column(field: models.Field[Any, Any]) -> Column:
    return field.attname, None if type(field) in PLAIN_FIELDS else field.get_db_prep_save


def _values(row: models.Model, columns: Sequence[Column], connection: Any) -> list[Any]:
    values: list[Any] = []
    for name, prepare in columns:
        value = getattr(row, name)
        values.append(value if prepare is None or value is None else prepare(value, connection))
    return values
