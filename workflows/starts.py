"""Which start of the database a lease was made in: its crash takes along what was not on the disk yet.

Those are acceptances that were only noted (see `acceptance`): all else waits for the disk. SQLite crashes with its
machine, PostgreSQL also alone.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from django.db import connection

from integrations import clock

from .ids import mark_of, new_id

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux, random(4): drawn anew each time the kernel starts
# An unlogged table, which PostgreSQL empties after a crash and on a standby that takes over
# (https://www.postgresql.org/docs/current/sql-createtable.html).
BEGIN = "INSERT INTO workflows_databasestart (mark) VALUES (%(mark)s) ON CONFLICT DO NOTHING"
MARK = "SELECT mark FROM workflows_databasestart"
BEGUN = "SELECT begun FROM workflows_databasestart"
LATELY = timedelta(minutes=2)


def this_one() -> int:
    """Return 30 bits that are others after each start; 0 where nobody tells."""
    return _of_machine() if connection.vendor == "sqlite" else _of_server()


@cache
def _of_machine() -> int:
    try:
        return uuid.UUID(BOOT_ID.read_text().strip()).int & (2**30 - 1)
    except (OSError, ValueError):
        return 0


def _of_server() -> int:
    """Ask once for each connection, which a crash ends; behind a pooler each time, since that keeps ours open."""
    server: Any = connection
    server.make_ready()
    known = server.while_connected.get("mark")
    if known is None:
        known = _mark_of(server)
        if server.is_direct and not server.in_atomic_block:  # or it could be rolled back
            server.while_connected["mark"] = known
    return int(known)


def _mark_of(server: Any) -> int:
    """Return the mark of a PostgreSQL; the first one who asks after a crash draws it."""
    while not (found := server.ask(MARK)):
        server.write_alone(BEGIN, {"mark": 1 + secrets.randbelow(2**30 - 1)}, wait=True)
    return int(found[0][0])


def new_lease(of: uuid.UUID | None = None) -> uuid.UUID:
    """Return an id for a lease; `of` another one's: it counts as made in the same start as that."""
    return new_id(mark=mark_of(of) if of else this_one())


def ended_since(lease: uuid.UUID) -> bool:
    """Say whether the database has crashed since, so that notes of this lease may be lost."""
    return is_noticed(lease) and mark_of(lease) != this_one()


def is_lately() -> bool:
    """Say whether PostgreSQL began so lately that workers may be about to note again what its crash took along."""
    if connection.vendor == "sqlite":  # its crash ends the workers as well
        return False
    found = connection.ask(BEGUN)  # type: ignore[attr-defined]
    return not found or bool(clock.now() - found[0][0] < LATELY)


def is_noticed(lease: uuid.UUID | None) -> bool:
    """Say whether this lease tells such a crash: only then may a note be lost by one."""
    return lease is not None and mark_of(lease) != 0
