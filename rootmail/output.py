"""How commands speak: one JSON document on standard output, or lines for people; errors to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper


def write_json(command: BaseCommand, document: Any) -> None:
    command.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))


def write_table(command: BaseCommand, rows: Iterable[Sequence[object]]) -> None:
    """Write rows with aligned columns; the last column is never padded."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[index]) for row in texts) for index in range(len(texts[0]) - 1)] if texts else []
    for row in texts:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        command.stdout.write("  ".join([*padded, row[-1]]).rstrip())


def read_source(name: str) -> str:
    """Return the text of a file, or of standard input for '-'; CommandError where it cannot be read."""
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{name} cannot be read: {error}") from error


class Progress:
    """A bar that tells how much of something is done, on a terminal; elsewhere nothing is written."""

    WIDTH = 40

    def __init__(self, stream: OutputWrapper) -> None:
        self._stream = stream
        self._shown = ""

    def __call__(self, done: int, total: int) -> None:
        filled = self.WIDTH * done // total
        bar = f"[{'#' * filled}{'.' * (self.WIDTH - filled)}] {100 * done // total:3} %"
        if self._stream.isatty() and (bar != self._shown or done == total):
            self._shown = bar
            self._stream.write(f"\r{bar} {done} of {total}", ending="\n" if done == total else "")
            self._stream.flush()
