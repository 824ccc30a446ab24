"""Workflows as every event and every batch of runs needs them: asked for briefly, made anew only where one changed.

What is returned belongs to all who ask: nobody may change it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from django.db import connection, models

from .models import Action, Workflow
from .plans import among, keys_of

MOST = 100  # sets of workflows that are remembered with their actions
# What tells one version of some rows from another, and the workflows that were made of them.
_all: tuple[list[Any], list[Workflow]] | None = None
_some: dict[tuple[int, ...], tuple[list[Any], dict[int, Workflow]]] = {}


def workflows() -> list[Workflow]:
    """Return all of them by their slug, without their actions."""
    global _all
    versions, known = _versions(Workflow, "ORDER BY slug"), _all  # read once: another thread may write it
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
        *_versions(Workflow, f"WHERE id {among('keys')} ORDER BY id", of=wanted),
        *_versions(Action, f"WHERE workflow_id {among('keys')} ORDER BY id", of=wanted),
    ]
    known = _some.get(wanted)
    if known is None or known[0] != versions:
        if len(_some) >= MOST:
            _some.clear()
        known = _some[wanted] = versions, Workflow.objects.prefetch_related("actions").in_bulk(wanted)
    return known[1]


def _versions(model: type[models.Model], which: str, *, of: tuple[int, ...] = ()) -> list[Any]:
    """Return rows as they are stored; on PostgreSQL, every UPDATE gives a row another number or place."""
    query = f"SELECT {_columns(model)} FROM {model._meta.db_table} {which}"  # noqa: S608 # nosec B608 (words and numbers of our own)
    return connection.ask(query, {"keys": keys_of(of)} if of else None)  # type: ignore[attr-defined,no-any-return]


@cache
def _columns(model: type[models.Model]) -> str:
    if connection.vendor == "postgresql":
        return "xmin, ctid"
    # Behind a plus sign a column has no type by which Python's library would convert it.
    return ", ".join(f"+{connection.ops.quote_name(str(field.column))}" for field in model._meta.concrete_fields)
