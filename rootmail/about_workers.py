"""A worker's answer to the doctor. Only workers import this: it loads Celery's own, which takes its time."""

from __future__ import annotations

from typing import Any

from celery.worker.control import inspect_command

from . import about


@inspect_command(name="rootmail_about")  # type: ignore[untyped-decorator]
def tell(state: Any, **_: Any) -> dict[str, str]:
    """Answer from a worker's main process."""
    return about.at_start()
