"""What a check is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """A problem keeps mail from leaving, or will; a warning may. `SKIPPED`: what it needs does not work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen, and what to do about it."""

    level: Level
    said: str
    todo: str = ""


def ok(said: str) -> Finding:
    return Finding(Level.OK, said)


def warning(said: str, todo: str) -> Finding:
    return Finding(Level.WARNING, said, todo)


def problem(said: str, todo: str) -> Finding:
    return Finding(Level.PROBLEM, said, todo)


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at. `needs` names the checks without which this one can see nothing."""

    name: str
    look: Callable[[], Iterable[Finding]] = field(repr=False)
    needs: tuple[str, ...] = ()
    seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Area:
    """Checks that belong together."""

    name: str
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found."""

    area: str
    name: str
    findings: tuple[Finding, ...]
    milliseconds: int

    @property
    def failed(self) -> bool:
        """Nothing that needs this one can be looked at."""
        return any(finding.level in (Level.PROBLEM, Level.SKIPPED) for finding in self.findings)
