"""What migrations begin with that alter several tables while everything runs."""

from __future__ import annotations

import time
from typing import Any

from django.db import OperationalError, transaction
from django.db.migrations.operations.base import Operation

PATIENCE = 10.0  # seconds
PAUSE = 0.02
NOT_AVAILABLE = "55P03"  # lock_not_available (https://www.postgresql.org/docs/current/errcodes-appendix.html)


class TakeTables(Operation):
    """Lock the tables of these models all at once on PostgreSQL; on SQLite a migration has the whole file.

    A migration that holds one and waits for the next would meet workers that hold the next and wait for the first:
    they take them in other orders. So it holds none while it waits. Raises OperationalError when its patience ends.
    """

    reduces_to_sql = False

    def __init__(self, *models: str) -> None:
        self.models = models

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            return
        tables = [from_state.apps.get_model(app_label, model)._meta.db_table for model in self.models]
        names = ", ".join(map(schema_editor.quote_name, tables))
        _stubbornly(schema_editor.connection, f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE NOWAIT")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self.database_forwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return f"Lock {', '.join(self.models)} at once"


def _stubbornly(connection: Any, statement: str) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:  # a savepoint
                cursor.execute(statement)
            break
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != NOT_AVAILABLE or time.monotonic() > end:
                raise
        time.sleep(PAUSE)
