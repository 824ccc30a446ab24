"""Tell the worker processes that their worker is about to end, so that they stop after the mail in hand."""

from __future__ import annotations

from multiprocessing.sharedctypes import RawValue

# One byte of memory that the pool's processes share, since they are forked after this module was imported.
_stopping = RawValue("b", 0)


def request() -> None:
    _stopping.value = 1


def requested() -> bool:
    return bool(_stopping.value)
