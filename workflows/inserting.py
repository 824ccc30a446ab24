"""Make and insert rows without Django's compiler, which costs more than the database itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from typing import Any, TypeVar

from django.db import DatabaseError, connection, models, transaction
from django.db.models.base import ModelState

from .reading import preparation

Row = TypeVar("Row", bound=models.Model)
MOST_PARAMETERS = 30_000  # of one statement; PostgreSQL takes 65,535, SQLite what Django says


def insert(*tables: Sequence[models.Model]) -> None:
    """Insert new rows of one model or of several, all of them or none within the caller's transaction.

    Numbers that the database gives are not read back, `auto_now` and the like are not filled in.
    """
    _carry_out(_statements(tables))


def insert_alone(*tables: Sequence[models.Model], then: Callable[[], object] = lambda: None) -> None:
    """Do so in a transaction of its own, or in a part of the caller's that may fail by itself; `then` after its commit.

    PostgreSQL takes a single statement for one: begin and commit would cost as long a way as the rows.
    """
    statements = _statements(tables)
    if connection.vendor == "postgresql" and len(statements) == 1 and connection.get_autocommit():
        _carry_out_alone(statements)
        return transaction.on_commit(then)
    with transaction.atomic():
        _carry_out(statements)
        return transaction.on_commit(then)


def _carry_out_alone(statements: Iterable[tuple[str, list[Any]]]) -> None:
    try:
        _carry_out(statements)
    except DatabaseError:
        connection.close_if_unusable_or_obsolete()  # as the end of a transaction does
        raise


def _carry_out(statements: Iterable[tuple[str, list[Any]]]) -> None:
    with connection.cursor() as cursor:
        for text, values in statements:
            cursor.execute(text, values)


def _statements(tables: Iterable[Sequence[models.Model]]) -> list[tuple[str, list[Any]]]:
    """Return what inserts them, with its parameters. PostgreSQL takes several tables at once, unless they are many."""
    statements = [statement for rows in tables if rows for statement in _of_one_model(rows)]
    parameters = sum(len(values) for _, values in statements)
    if connection.vendor == "postgresql" and len(statements) > 1 and parameters <= MOST_PARAMETERS:
        return [_in_one(statements)]
    return statements


def _in_one(statements: Sequence[tuple[str, list[Any]]]) -> tuple[str, list[Any]]:
    """Join statements of which none reads what another writes; foreign keys are looked at when all is written."""
    (first, values), *others = statements
    others.reverse()  # what stands under WITH and is not asked for is carried out last, and from its end
    parts = ", ".join(f"other{number} AS ({text})" for number, (text, _) in enumerate(others))
    return f"WITH {parts} {first}", [value for _, some in others for value in some] + values


def _of_one_model(rows: Sequence[models.Model]) -> Iterator[tuple[str, list[Any]]]:
    how = _statement(type(rows[0]))
    at_once = min(connection.features.max_query_params or MOST_PARAMETERS, MOST_PARAMETERS) // how.width
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        values = [value for row in some for value in how.values(row)]
        yield how.beginning + ", ".join([how.places] * len(some)), values


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
    quoted = connection.ops.quote_name
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
