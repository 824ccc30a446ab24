"""How statements are written for the sake of their plans.

SQLite is kept from reading all rows of a state to find those that are due; PostgreSQL counts, and needs no word.
Without statistics SQLite takes the index of states for the best one, reads all rows that share one, and sorts them; and
an index for some rows only is used where the condition stands in the query word for word, not as a parameter.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.db import connection
from django.db.models import Func


class Unindexed(Func):
    """A column that SQLite does not look up by an index: `alias(kind=Unindexed("state")).filter(kind__in=...)`.

    The unary plus is SQLite's own means for it (https://sqlite.org/optoverview.html).
    """

    arity = 1
    template = "%(expressions)s"

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **extra)


def among(name: str) -> str:
    """Return the condition that a column is one of the keys in this parameter, in the form of `keys_of`.

    One text however many there are, so that PostgreSQL prepares one statement.
    """
    if connection.vendor == "postgresql":
        return f"= ANY (%({name})s)"
    return f"IN (SELECT value FROM json_each(%({name})s))"  # noqa: S608 # nosec B608 (a name of our own)


def keys_of(values: Iterable[Any]) -> Any:
    """Return keys, as they are stored, in the form in which they are a parameter of `among`."""
    keys = list(values)
    return keys if connection.vendor == "postgresql" else json.dumps(keys)


def by_index(name: str) -> str:
    """Return what stands behind a table's name, for SQLite to use this index."""
    return f"INDEXED BY {name}" if connection.vendor == "sqlite" else ""
