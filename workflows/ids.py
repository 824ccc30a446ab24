"""Ids that a client makes itself and that sort by time (UUID version 7, RFC 9562 section 5.7)."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST = 253_370_764_800_000  # the year 9999, beyond which datetime knows nothing
_lock = threading.Lock()
_last = 0


def new_id(*, mark: int | None = None) -> uuid.UUID:
    """Return a UUIDv7, greater than every one that this process made before.

    Forty-eight bits of milliseconds, then a counter of 1/4096 milliseconds in place of `rand_a`
    (method 3 of section 6.2), then 62 random bits, or a `mark` of 30 bits and 32 random ones.
    """
    global _last
    with _lock:
        _last = ticks = max(_last + 1, time.time_ns() * 4096 // 1_000_000)
    milliseconds, fraction = divmod(ticks, 4096)
    random = int.from_bytes(os.urandom(8)) & (2**62 - 1)
    if mark is not None:
        random = mark << 32 | random & (2**32 - 1)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | random)


def first_id_at(moment: datetime) -> uuid.UUID:
    """Return the least id that can have been made at this moment: a range of time is a range of ids."""
    milliseconds = max((moment - _EPOCH) // _MILLISECOND, 0)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62)


def mark_of(pk: uuid.UUID) -> int:
    return pk.int >> 32 & (2**30 - 1)


def made_at(pk: uuid.UUID) -> datetime:
    """Return when an id was made, to the millisecond; an id that is none of ours says what it says."""
    return _EPOCH + min(pk.int >> 80, _LATEST) * _MILLISECOND
