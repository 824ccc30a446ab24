"""Make and insert rows without Django's compiler, which costs more than the database itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models.base import ModelState

from .reading import preparation

Row = TypeVar("Row", bound=models.Model)
MOST_PARAMETERS = 30_000  # of one statement; PostgreSQL takes 65,535, SQLite what Django says


def insert(rows: Sequence[models.Model]) -> None:
    """Insert new rows of one model, all of them or none within the caller's transaction.

    Numbers that the database gives are not read back, `auto_now` and the like are not filled in.
    """
    if not rows:
        return
    how = _statement(type(rows[0]))
    connection = connections[DEFAULT_DB_ALIAS]
    at_once = min(connection.features.max_query_params or MOST_PARAMETERS, MOST_PARAMETERS) // how.width
    with connection.cursor() as cursor:
        for start in range(0, len(rows), at_once):
            some = rows[start : start + at_once]
            values = [value for row in some for value in how.values(row)]
            cursor.execute(how.beginning + ", ".join([how.places] * len(some)), values)


@dataclass(frozen=True, slots=True)
class Statement:
    """`read` finds the values of a row in its `__dict__`; `preparations` make the database's values of some of them."""

    beginning: str
    width: int
    read: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    preparations: Sequence[tuple[int, Callable[[Any], Any]]]

    @property
    def places(self) -> str:
        return f"({', '.join(['%s'] * self.width)})"

    def values(self, row: models.Model) -> list[Any]:
        values = list(self.read(row.__dict__))
        for place, prepare in self.preparations:
            if values[place] is not None:
                values[place] = prepare(values[place])
        return values


@cache
def _statement(model: type[models.Model]) -> Statement:
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, models.AutoField)]
    quoted = connections[DEFAULT_DB_ALIAS].ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in fields)
    return Statement(
        f"INSERT INTO {quoted(model._meta.db_table)} ({columns}) VALUES ",  # noqa: S608 # nosec B608 (names of our own)
        len(fields),
        itemgetter(*(field.attname for field in fields)),
        [(place, prepare) for place, field in enumerate(fields) if (prepare := preparation(field))],
    )


def made(model: type[Row], **values: Any) -> Row:
    """Return a new row as `model(**values)` does, which takes as long as to fill in all templates of a mail.

    It is made as pickle makes one. Values bear the names of columns: another row is named by its key (`run_id`).
    """
    constants, makers = _defaults(model)
    row = model.__new__(model)
    row._state = ModelState()
    row.__dict__ |= constants | {name: make() for name, make in makers if name not in values} | values
    return row


@cache
def _defaults(model: type[models.Model]) -> tuple[dict[str, Any], list[tuple[str, Callable[[], Any]]]]:
    """Return the values of columns that are the same in every new row, and what makes the others."""
    fields = model._meta.concrete_fields
    makers = {field.attname: field.default for field in fields if field.has_default() and callable(field.default)}
    constants = {field.attname: field.get_default() for field in fields if field.attname not in makers}
    return constants, list(makers.items())
