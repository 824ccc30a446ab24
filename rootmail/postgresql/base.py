"""The database engine of larger installations: PostgreSQL, which plans what comes with every mail only once."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from django.db.backends.postgresql import base, schema
from psycopg.errors import FeatureNotSupported

# Nothing is prepared but what is told to be. Django writes every value as a parameter, and a plan for all values
# cannot use an index that is for some of them.
NEVER_BY_ITSELF = sys.maxsize
# A condition that is true, and lets the transaction end without the disk.
QUICKLY = "(SELECT set_config('synchronous_commit', 'off', true)) = 'off'"


# In a migration's own transaction. Whatever comes later waits behind it, and a backup may read a table for an hour.
BRIEFLY = "SET LOCAL lock_timeout = '3s'"


@cache
def _said(statement: str, wait: bool) -> str:
    return statement.replace("{quickly}", "TRUE" if wait else QUICKLY)


class SchemaEditor(schema.DatabaseSchemaEditor):
    """Waits for a table for three seconds at the most, then raises OperationalError; `migrate` begins again."""

    def __enter__(self) -> Self:
        super().__enter__()
        if self.connection.in_atomic_block:
            self.execute(BRIEFLY, params=None)
        return self


class DatabaseWrapper(base.DatabaseWrapper):
    """Prepares the statements that it is asked for directly, where nothing stands between us and PostgreSQL.

    A pooler such as PgBouncer may carry out the next transaction on another server, which knows nothing of what was
    prepared; there, nothing is.
    """

    SchemaEditorClass = SchemaEditor
    is_direct = False
    while_connected: dict[str, Any]  # what its users know of the server, for as long as this connection lasts

    def init_connection_state(self) -> None:
        super().init_connection_state()
        self.while_connected = {}
        self.is_direct = self._speaks_to_server()
        self.connection.prepare_threshold = NEVER_BY_ITSELF if self.is_direct else None

    def _speaks_to_server(self) -> bool:
        """A pooler tells us a number of its own, by which we may cancel, and not that of the server's process."""
        (server,) = self.connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
        return bool(server == self.connection.info.backend_pid)

    def make_ready(self) -> None:
        """Have a connection that answers, as Django does before a cursor."""
        self.close_if_health_check_failed()
        self.ensure_connection()

    def ask(self, statement: str, values: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows that a query leads to, past Django's layers; it is prepared where that is possible.

        Its parameters have names.
        """
        self.make_ready()
        with self.wrap_database_errors:
            try:
                found: list[tuple[Any, ...]] = self.connection.execute(statement, values, prepare=True).fetchall()
            except FeatureNotSupported:  # an upgrade has changed the type of a column since it was prepared
                self.connection.execute("DEALLOCATE ALL")
                found = self.connection.execute(statement, values, prepare=True).fetchall()
        return found

    def write_alone(self, statement: str, values: Mapping[str, object], *, wait: bool) -> int:
        """Carry out one statement, past Django's layers, prepared; return how many rows it touched.

        Its parameters have names. Within a transaction it is a part of that. Without `wait` it need not be on the disk
        yet, and holds `{quickly}` where a condition may stand: PostgreSQL is told so in the same round trip.
        """
        self.make_ready()
        with self.wrap_database_errors:
            return int(self.connection.execute(_said(statement, wait), values, prepare=True).rowcount)

    def write_in_passing(self, statement: str, values: Mapping[str, object]) -> int:
        """Do as `write_alone` without `wait`. The statement itself skips what is locked: only rows are, here."""
        return self.write_alone(statement, values, wait=False)

    def why_it_takes_nothing(self) -> str:
        """Say that it can only be read, as a standby is; '' where it takes what is written."""
        return "it can only be read" if self.ask("SELECT current_setting('transaction_read_only')") == [("on",)] else ""
