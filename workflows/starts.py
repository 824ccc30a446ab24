"""Which start of the machine a lease was made in: a power cut takes along what SQLite had not put on the disk yet.

Those are acceptances that were only noted (see `acceptance`): all else waits for the disk.
"""

from __future__ import annotations

import uuid
from functools import cache
from pathlib import Path

from django.db import connection

from .ids import mark_of, new_id

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux, random(4): drawn anew each time the kernel starts


@cache
def this_one() -> int:
    """Return 30 bits that are others after each start of the machine; 0 where the system does not tell."""
    try:
        return uuid.UUID(BOOT_ID.read_text().strip()).int & (2**30 - 1)
    except (OSError, ValueError):
        return 0


def new_lease(of: uuid.UUID | None = None) -> uuid.UUID:
    """Return an id for a lease; `of` another one's: it counts as made in the same start as that."""
    return new_id(mark=mark_of(of) if of else this_one())


def ended_since(lease: uuid.UUID) -> bool:
    """Say whether the machine has been started anew since, so that notes of this lease may be lost."""
    return end_is_noticed() and mark_of(lease) != this_one()


def end_is_noticed() -> bool:
    """Say whether a lease tells that the database's machine was started anew since: PostgreSQL may have another."""
    return connection.vendor == "sqlite" and this_one() != 0
