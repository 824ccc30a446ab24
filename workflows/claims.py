"""Statements of every round of a worker: Django's compiler would take longer than the database."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from .models import Delivery, Event, Run
from .plans import among, by_index, keys_of
from .reading import reader, stored

CLAIM = """
UPDATE workflows_run SET status = 'started', lease = %(lease)s, lease_expires_at = %(until)s, tries = tries + 1
WHERE id AMONG AND {quickly}
"""
BEGIN = """
UPDATE workflows_run SET started_at = %(now)s, lease = NULL, lease_expires_at = NULL
WHERE lease = %(lease)s AND id {among}
"""
CLAIMED = """
SELECT {run}, {event} FROM workflows_run JOIN workflows_event ON workflows_event.id = workflows_run.event_id
WHERE workflows_run.lease = %(lease)s ORDER BY workflows_run.id
"""
DUE = (
    "SELECT id FROM workflows_run {index} WHERE status = 'queued' AND due_at <= %(now)s ORDER BY due_at LIMIT %(most)s"
)
# As an array they are chosen once; PostgreSQL may choose several times among rows, and take more than a batch.
AMONG = {"postgresql": f"= ANY (ARRAY ({DUE} FOR UPDATE SKIP LOCKED))", "sqlite": f"IN ({DUE})"}
# In an order: without it, PostgreSQL's plan for all values expects to meet one soon anywhere, and reads all that wait.
IS_ANY_RUN_DUE = (
    "SELECT 1 FROM workflows_run {index} WHERE status = 'queued' AND due_at <= %(now)s ORDER BY due_at LIMIT 1"
)
IS_ANY_MAIL_DUE = """
SELECT 1 FROM workflows_delivery {index} WHERE state IN ({states}) AND next_attempt_at <= %(now)s
ORDER BY next_attempt_at LIMIT 1
"""


def claim_runs(lease: uuid.UUID, *, now: datetime, until: datetime, most: int) -> int:
    """Write the lease into so many runs that are due, the oldest first; return how many there were."""
    values = {"lease": stored(Run, "lease", lease), "now": stored(Run, "due_at", now), "most": most}
    values["until"] = stored(Run, "lease_expires_at", until)
    claim = CLAIM.replace("AMONG", AMONG[connection.vendor].format(index=by_index("run_due")))
    # A claim that a crash of the database undoes was none: all that comes of it is stored later.
    return int(connection.write_alone(claim, values, wait=False))  # type: ignore[attr-defined]


def claimed_runs(lease: uuid.UUID) -> list[Run]:
    """Return the runs of a lease with their events, in the order of their keys."""
    run_of, event_of = reader(Run), reader(Event)
    query = CLAIMED.format(run=run_of.columns, event=event_of.columns)
    runs = []
    for row in connection.ask(query, {"lease": stored(Run, "lease", lease)}):  # type: ignore[attr-defined]
        run = run_of(row[: run_of.width])
        run.event = event_of(row[run_of.width :])
        runs.append(run)
    return runs


def is_any_run_due(now: datetime) -> bool:
    query = IS_ANY_RUN_DUE.format(index=by_index("run_due"))
    return bool(connection.ask(query, {"now": stored(Run, "due_at", now)}))  # type: ignore[attr-defined]


def is_any_mail_due(now: datetime) -> bool:
    states = ", ".join(f"'{state}'" for state in Delivery.DUE)
    query = IS_ANY_MAIL_DUE.format(index=by_index("delivery_due"), states=states)
    return bool(connection.ask(query, {"now": stored(Run, "due_at", now)}))  # type: ignore[attr-defined]


def begin_runs(runs: Sequence[Run], *, now: datetime) -> int:
    """Within a transaction: end the lease of runs that begin; return how many of them still had it."""
    values = {"lease": stored(Run, "lease", runs[0].lease), "now": stored(Run, "started_at", now)}
    values["runs"] = keys_of(stored(Run, "id", run.pk) for run in runs)
    return int(connection.write_alone(BEGIN.format(among=among("runs")), values, wait=True))  # type: ignore[attr-defined]
