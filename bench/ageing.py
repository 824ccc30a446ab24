"""Fills the database with old deliveries: copies of the newest accepted one, with what belongs to them.

    python -m bench.ageing FIRST LAST

SQL over the columns that the models have: it works on SQLite and on PostgreSQL, whatever the models become.
Their ids lie in the last 29 days; their contents have been erased, as those of most old mails have.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from bench.trigger import set_up

DAYS = 29
NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) "
STEP = 10_000  # rows in a transaction


def new_id(vendor: str, *, table: int, rows: int) -> str:
    """Return the expression for an id of number `n`, with the time in it as ours have (UUIDv7)."""
    begin, step = int((time.time() - DAYS * 86_400) * 1000), DAYS * 86_400_000 // max(rows, 1)
    if vendor == "sqlite":
        return f"printf('%012x7{table:03x}8%015x', {begin} + n * {step}, n)"
    return f"(lpad(to_hex({begin} + n::bigint * {step}), 12, '0') || '7{table:03x}8' || lpad(to_hex(n), 15, '0'))::uuid"


def copies(model: Any, key: Any, values: dict[str, str]) -> tuple[str, list[Any]]:
    """Return the statement that copies one row for each number; `values` are expressions for columns that differ."""
    columns = [field.column for field in model._meta.concrete_fields if field.column in values or not _counted(field)]
    chosen = [values.get(column, f'old."{column}"') for column in columns]
    names = ", ".join(f'"{column}"' for column in columns)
    table, primary = model._meta.db_table, model._meta.pk
    select = f"SELECT {', '.join(chosen)} FROM {table} AS old CROSS JOIN numbers WHERE old.{primary.column} = %s"
    return f"INSERT INTO {table} ({names}) {{numbers}} {select}", [primary.get_db_prep_value(key, _connection())]


def _counted(field: Any) -> bool:
    return bool(field.primary_key and field.get_internal_type() == "BigAutoField")


def _connection() -> Any:
    from django.db import connection

    return connection


def statements(vendor: str, *, rows: int) -> list[tuple[str, list[Any]]]:
    from workflows.models import Attempt, Delivery, Event, Recipient, Run

    delivery = Delivery.objects.filter(state=Delivery.State.ACCEPTED).order_by("-pk").select_related("run")[0]
    event, run, mail = (new_id(vendor, table=table, rows=rows) for table in (1, 2, 3))
    nothing = "x''" if vendor == "sqlite" else "''::bytea"
    address = "'old-' || n || '@example.org'"
    emptied = {"content": nothing, "purged_at": "old.accepted_at"}
    return [
        copies(Event, delivery.run.event_id, {"id": event}),
        copies(Run, delivery.run_id, {"id": run, "event_id": event}),
        copies(Delivery, delivery.pk, {"id": mail, "run_id": run, **emptied}),
        copies(Recipient, delivery.recipients.get().pk, {"delivery_id": mail, "address": address}),
        copies(Attempt, delivery.attempts.order_by("-pk")[0].pk, {"delivery_id": mail, "transcript": "''"}),
    ]


def fill(first: int, last: int) -> None:
    from django.db import transaction

    from workflows import counting

    connection = _connection()
    todo = statements(connection.vendor, rows=last)
    for begin in range(first, last + 1, STEP):
        numbers = NUMBERS.format(first=begin, last=min(begin + STEP - 1, last))
        with transaction.atomic(), connection.cursor() as cursor:
            for statement, key in todo:
                cursor.execute(statement.replace("{numbers}", numbers).replace("%0", "%%0"), key)
    with connection.cursor() as cursor:
        # Autovacuum would do it within a minute; and the log has been worked off long ago.
        cursor.execute("ANALYZE" if connection.vendor == "postgresql" else "PRAGMA wal_checkpoint(TRUNCATE)")
    while counting.count_new():  # so has monitoring counted what is old
        pass


if __name__ == "__main__":
    set_up()
    fill(int(sys.argv[1]), int(sys.argv[2]))
