"""Workflows as every event and every batch of runs needs them: asked for briefly, made anew only where one changed.

What is returned belongs to all who ask: nobody may change it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connection

from .models import Workflow
from .plans import among, keys_of

MOST = 100  # sets of workflows that are remembered with their actions
# What tells one version of some rows from another, and the workflows that were made of them.
_all: tuple[list[Any], list[Workflow]] | None = None
_some: dict[tuple[int, ...], tuple[list[Any], dict[int, Workflow]]] = {}


def workflows() -> list[Workflow]:
    """Return all of them by their slug, without their actions."""
    global _all
    versions, known = _versions("workflows_workflow ORDER BY slug"), _all  # read once: another thread may write it
    if known is None or known[0] != versions:
        # What changes between the two queries has another version the next time.
        known = _all = versions, list(Workflow.objects.order_by("slug"))
    return known[1]


def with_actions(keys: Iterable[int]) -> dict[int, Workflow]:
    """Return those of these workflows that are still there, by their number, with their actions prefetched."""
    wanted = tuple(sorted(keys))
    if not wanted:
        return {}
    versions = [
        *_versions(f"workflows_workflow WHERE id {among('keys')} ORDER BY id", of=wanted),
        *_versions(f"workflows_action WHERE workflow_id {among('keys')} ORDER BY id", of=wanted),
    ]
    known = _some.get(wanted)
    if known is None or known[0] != versions:
        if len(_some) >= MOST:
            _some.clear()
        known = _some[wanted] = versions, Workflow.objects.prefetch_related("actions").in_bulk(wanted)
    return known[1]


def _versions(rows: str, *, of: tuple[int, ...] = ()) -> list[Any]:
    """Return the rows as they are stored; on PostgreSQL, every UPDATE gives a row another number or place."""
    columns = "xmin, ctid" if connection.vendor == "postgresql" else "*"
    query = f"SELECT {columns} FROM {rows}"  # noqa: S608 # nosec B608 (words and numbers of our own)
    return connection.ask(query, {"keys": keys_of(of)} if of else None)  # type: ignore[attr-defined,no-any-return]
