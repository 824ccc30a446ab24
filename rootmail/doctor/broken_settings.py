"""The doctor where the settings themselves cannot be read, so that Django cannot even begin."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial

from rootmail import errors

from .findings import Area, Check, Finding, problem
from .machine import MACHINE
from .report import tell
from .running import run


def speak_if_broken(arguments: Sequence[str]) -> None:
    """End the process with a report where Django cannot start; return where it can. TRACEBACK=1 shows the error."""
    import django

    try:
        django.setup()
    except Exception as error:  # whatever a setting, a file or a package can raise
        if os.environ.get("TRACEBACK"):
            raise
        broken = Area("Settings", (Check("settings", partial(_say, error)),))
        tell(run([MACHINE, broken]), write=_write, as_document="--json" in arguments)
        sys.exit(1)


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _say(error: Exception) -> Iterator[Finding]:
    text = errors.explain(error) or f"{type(error).__name__} while Django starts"
    if isinstance(error, ImportError):
        text = f"the package {error.name} cannot be imported"
    yield problem(text, "Nothing else can be looked at before this is mended. TRACEBACK=1 shows the whole story.")
