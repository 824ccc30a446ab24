"""How the doctor speaks: a table for somebody who was woken up, or one JSON document."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .findings import Level, Result

LEVEL_WIDTH, NAME_WIDTH = 9, 18
NARROWEST, WIDEST = 60, 140
INDENT = " " * (2 + LEVEL_WIDTH + NAME_WIDTH)


class Table:
    """Writes each result as it comes, since some take seconds; and at the end, what counts."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._area = write, ""
        self._width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)

    def add(self, result: Result) -> None:
        if result.area != self._area:
            self._area = result.area
            self._write(f"\n{result.area}")
        for finding in result.findings:
            self._wrapped(finding.said, first=f"  {finding.level:{LEVEL_WIDTH}}{result.name:{NAME_WIDTH}}")
            if finding.todo:
                self._wrapped(finding.todo, first=f"{INDENT}→ ", next=f"{INDENT}  ")

    def _wrapped(self, text: str, *, first: str, next: str = INDENT) -> None:
        lines = textwrap.wrap(text, self._width - len(INDENT) - 2, break_long_words=False, break_on_hyphens=False)
        self._write("\n".join([first + lines[0], *(next + line for line in lines[1:])]))

    def end(self, results: Sequence[Result]) -> None:
        problems, warnings = names_of(results, Level.PROBLEM), names_of(results, Level.WARNING)
        self._write("")
        if problems:
            self._write(f"Problems: {', '.join(problems)}. Begin with the first.")
        if warnings:
            self._write(f"Warnings: {', '.join(warnings)}.")
        if not problems and not warnings:
            self._write("Nothing to do.")


def names_of(results: Iterable[Result], level: Level) -> list[str]:
    return [result.name for result in results if any(finding.level == level for finding in result.findings)]


def as_json(results: Sequence[Result]) -> str:
    """Return the document that scripts read."""
    problems, warnings = names_of(results, Level.PROBLEM), names_of(results, Level.WARNING)
    document = {"ok": not problems, "problems": problems, "warnings": warnings, "checks": list(_rows(results))}
    return json.dumps(document, indent=2, ensure_ascii=False)


def _rows(results: Iterable[Result]) -> Iterable[dict[str, Any]]:
    for result in results:
        for finding in result.findings:
            yield {
                "area": result.area,
                "name": result.name,
                "level": finding.level.value,
                "said": finding.said,
                "todo": finding.todo or None,
                "milliseconds": result.milliseconds,
            }


def tell(results: Iterable[Result], *, write: Callable[[str], None], as_document: bool) -> bool:
    """Write all of it; return whether there is no problem."""
    table, told = Table(write), []
    for result in results:
        told.append(result)
        if not as_document:
            table.add(result)
    if as_document:
        write(as_json(told))
    else:
        table.end(told)
    return not names_of(told, Level.PROBLEM)
