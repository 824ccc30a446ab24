"""Insert rows without Django's compiler, which costs more than the database itself; its fields still do the work."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models

MOST_PARAMETERS = 30_000  # of one statement; PostgreSQL takes 65,535, SQLite what Django says


def insert(rows: Sequence[models.Model]) -> None:
    """Insert new rows of one model, all of them or none within the caller's transaction.

    Numbers that the database gives are not read back, `auto_now` and the like are not filled in.
    """
    if not rows:
        return
    beginning, fields = _statement(type(rows[0]))
    connection = connections[DEFAULT_DB_ALIAS]
    at_once = min(connection.features.max_query_params or MOST_PARAMETERS, MOST_PARAMETERS) // len(fields)
    with connection.cursor() as cursor:
        for start in range(0, len(rows), at_once):
            values = [_values(row, fields, connection) for row in rows[start : start + at_once]]
            places = f"({', '.join(['%s'] * len(fields))})"
            cursor.execute(beginning + ", ".join([places] * len(values)), [each for row in values for each in row])


@cache
def _statement(model: type[models.Model]) -> tuple[str, list[models.Field[Any, Any]]]:
    """Return the beginning of the statement, and the fields whose values go into it."""
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    quoted = connections[DEFAULT_DB_ALIAS].ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in fields)
    table = quoted(model._meta.db_table)
    return f"INSERT INTO {table} ({columns}) VALUES ", fields  # noqa: S608 # nosec B608 (names of our own)


def _values(row: models.Model, fields: Sequence[models.Field[Any, Any]], connection: Any) -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
