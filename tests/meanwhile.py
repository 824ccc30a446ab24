"""Two workers at once, without threads: what another one does just before a certain statement of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def before_update(table: str, do: Callable[[], object]) -> Iterator[None]:
    """Do something once, right before the first UPDATE of this table."""
    waiting = [do]

    def look(execute: Any, sql: str, *rest: Any) -> Any:
        if waiting and sql.startswith(f'UPDATE "{table}"'):
            waiting.pop()()
        return execute(sql, *rest)

    with connection.execute_wrapper(look):
        yield
    assert not waiting, "there was no such statement"
