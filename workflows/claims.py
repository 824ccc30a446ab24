"""Statements for a batch of runs that is taken and begins: Django's compiler would take longer than the database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from .models import Run
from .plans import by_index

CLAIM = """
UPDATE workflows_run SET status = 'started', lease = %(lease)s, lease_expires_at = %(until)s, tries = tries + 1
WHERE id AMONG AND {quickly}
"""
BEGIN = """
UPDATE workflows_run SET started_at = %(now)s, lease = NULL, lease_expires_at = NULL
WHERE lease = %(lease)s AND id IN ({runs})
"""
DUE = (
    "SELECT id FROM workflows_run {index} WHERE status = 'queued' AND due_at <= %(now)s ORDER BY due_at LIMIT %(most)s"
)
# As an array they are chosen once; PostgreSQL may choose several times among rows, and take more than a batch.
AMONG = {"postgresql": f"= ANY (ARRAY ({DUE} FOR UPDATE SKIP LOCKED))", "sqlite": f"IN ({DUE})"}
IS_ANY_DUE = "SELECT 1 FROM workflows_run {index} WHERE status = 'queued' AND due_at <= %(now)s LIMIT 1"


def claim_runs(lease: uuid.UUID, *, now: datetime, until: datetime, most: int) -> int:
    """Write the lease into so many runs that are due, the oldest first; return how many there were."""
    values = {"lease": _stored("lease", lease), "now": _stored("due_at", now), "most": most}
    values["until"] = _stored("lease_expires_at", until)
    claim = CLAIM.replace("AMONG", AMONG[connection.vendor].format(index=by_index("run_due")))
    # A claim that a crash of the database undoes was none: all that comes of it is stored later.
    return int(connection.write_alone(claim, values, wait=False))  # type: ignore[attr-defined]


def is_any_run_due(now: datetime) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(IS_ANY_DUE.format(index=by_index("run_due")), {"now": _stored("due_at", now)})
        return cursor.fetchone() is not None


def begin_runs(runs: Sequence[Run], *, now: datetime) -> int:
    """Within a transaction: end the lease of runs that begin; return how many of them still had it."""
    values = {f"run{number}": _stored("id", run.pk) for number, run in enumerate(runs)}
    statement = BEGIN.format(runs=", ".join(f"%({name})s" for name in values))
    values |= {"lease": _stored("lease", runs[0].lease), "now": _stored("started_at", now)}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)


def _stored(name: str, value: Any) -> Any:
    return Run._meta.get_field(name).get_db_prep_value(value, connection)  # type: ignore[union-attr]
