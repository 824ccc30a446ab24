"""Carry the checks out, one after another: none waits for ever, and none keeps another from being looked at."""

from __future__ import annotations

import os
import queue
import time
import traceback
from collections.abc import Iterable, Iterator
from threading import Thread

from django.conf import settings
from django.db import Error as DatabaseTrouble
from django.db import connections

from . import masking
from .findings import Area, Check, Finding, Level, Result, problem


def run(areas: Iterable[Area]) -> Iterator[Result]:
    """Yield what each check found, in order. Secrets are masked, wherever they came from."""
    failed: dict[str, bool] = {}
    for area in areas:
        for check in area.checks:
            began = time.monotonic()
            missing = [name for name in check.needs if failed.get(name)]
            findings = [_skipped(missing[0])] if missing else _within_its_time(check)
            milliseconds = round((time.monotonic() - began) * 1000)
            result = Result(area.name, check.name, tuple(map(masking.masked, findings)), milliseconds)
            failed[check.name] = result.failed
            yield result


def _skipped(name: str) -> Finding:
    return Finding(Level.SKIPPED, f"not looked at: first mend '{name}'")


def _within_its_time(check: Check) -> list[Finding]:
    """A thread of its own for each: what hangs in a system call is left behind, and ends with the process."""
    answers: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
    Thread(target=lambda: answers.put(_look(check)), daemon=True).start()
    try:
        return answers.get(timeout=check.seconds)
    except queue.Empty:
        return [problem(f"no answer within {check.seconds:.0f} seconds", f"Find out what holds up the {check.name}.")]


def _look(check: Check) -> list[Finding]:
    try:
        return list(check.look())
    except Exception as error:  # whatever is broken, the others must be looked at
        if os.environ.get("TRACEBACK"):
            traceback.print_exc()
        return [problem(f"could not be looked at: {_in_words(error)}", "TRACEBACK=1 shows the whole story.")]
    finally:
        if settings.configured:
            connections.close_all()  # those of this thread


def _in_words(error: Exception) -> str:
    """Return the text of an error only where it is known to be harmless: others may quote a setting."""
    name = type(error).__name__
    return f"{name}: {str(error).splitlines()[0]}" if isinstance(error, DatabaseTrouble) and str(error) else name
