"""One statement that takes a batch of queued runs: Django's compiler would take longer than the database."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from .models import Run

CLAIM = """
UPDATE workflows_run SET status = 'started', lease = %(lease)s, lease_expires_at = %(until)s, tries = tries + 1
WHERE id {among}
"""
DUE = "SELECT id FROM workflows_run WHERE status = 'queued' AND due_at <= %(now)s ORDER BY due_at LIMIT %(most)s"
# As an array they are chosen once; PostgreSQL may choose several times among rows, and take more than a batch.
AMONG = {"postgresql": f"= ANY (ARRAY ({DUE} FOR UPDATE SKIP LOCKED))", "sqlite": f"IN ({DUE})"}


def claim_runs(lease: uuid.UUID, *, now: datetime, until: datetime, most: int) -> int:
    """Write the lease into so many runs that are due, the oldest first; return how many there were."""
    values = {"lease": _stored("lease", lease), "now": _stored("due_at", now), "most": most}
    values["until"] = _stored("lease_expires_at", until)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CLAIM.format(among=AMONG[connection.vendor]), values)
        return int(cursor.rowcount)


def _stored(name: str, value: Any) -> Any:
    return Run._meta.get_field(name).get_db_prep_value(value, connection)  # type: ignore[union-attr]
