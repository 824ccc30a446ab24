"""What a log line is about: the ids that every line carries which is written while something is in hand.

`rootmail/logs.py` puts them into the lines, whoever writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:  # lines are written before there are models
    from .models import Delivery, Run

RUN = {"run": "pk", "event": "event_id", "workflow": "workflow_id"}
DELIVERY = {"delivery": "pk", "run": "run_id", "workflow": "workflow_id"}
Rest = ParamSpec("Rest")
Result = TypeVar("Result")
Thing = TypeVar("Thing", bound="Run | Delivery")
_known: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default=MappingProxyType({}))


def known() -> Mapping[str, object]:
    """Return what the lines of now are about."""
    return _known.get()


def begin(**ids: object) -> None:
    """Let all further lines be about these, and about nothing else: something new begins, or with no ids, has ended."""
    _known.set(ids)


def add(**ids: object) -> None:
    """Let further lines be about these, too, as long as what surrounds us is in hand."""
    _known.set({**_known.get(), **ids})


@contextmanager
def about(**ids: object) -> Iterator[None]:
    """Let the lines of this block be about these."""
    before = _known.set({**_known.get(), **ids})
    try:
        yield
    finally:
        _known.reset(before)


def about_first(act: Callable[Concatenate[Thing, Rest], Result]) -> Callable[Concatenate[Thing, Rest], Result]:
    """Let the lines of a function be about its first argument."""

    @wraps(act)
    def acting(thing: Thing, /, *args: Rest.args, **kwargs: Rest.kwargs) -> Result:
        before = _known.set({**_known.get(), **ids_of(thing)})
        try:
            return act(thing, *args, **kwargs)
        finally:
            _known.reset(before)

    return acting


def ids_of(thing: Run | Delivery) -> dict[str, object]:
    """Return the ids that the row itself holds: asking the database for more would cost a query for each mail."""
    columns = RUN if hasattr(thing, RUN["event"]) else DELIVERY
    return {name: getattr(thing, column) for name, column in columns.items()}
