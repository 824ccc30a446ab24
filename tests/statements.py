"""Every statement on its way to the database: by Django's cursor, or by the engines' `ask` and `write_alone`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

Look = Callable[[str, Any], object]


@contextmanager
def watched(connection: Any, look: Look) -> Iterator[None]:
    """Show each statement and its parameters before it is carried out; what `look` asks itself is not shown."""
    looking = []

    def show(statement: str, values: Any) -> None:
        if looking:
            return
        looking.append(True)
        try:
            look(statement.replace("{quickly}", "1 = 1"), values)
        finally:
            looking.clear()

    def through_cursor(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        show(sql, params)
        return execute(sql, params, many, context)

    def past_it(act: Any) -> Any:
        def shown(statement: str, values: Any = None, **options: Any) -> Any:
            show(statement, values)
            return act(statement, values, **options)

        return shown

    ways = {name: past_it(getattr(connection, name)) for name in ("ask", "write_alone")}
    with connection.execute_wrapper(through_cursor), mock.patch.multiple(connection, **ways):
        yield
