"""What the machine is, and what its processes use. Linux: read from /proc."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.installation import ROOT

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROC = Path("/proc")


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the name, or nothing where the process has ended."""
    with suppress(OSError):
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))):
            found.setdefault(int(stat[1]), []).append(int(entry.name))
    return found


def tree(*roots: int) -> list[int]:
    """Return these processes and all that come from them."""
    children, found, ahead = _children(), [], list(roots)
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += children.get(pid, [])
    return found


def processor_seconds(*roots: int) -> float:
    """Return what these trees of processes have used so far, with those that ended and were waited for."""
    stats = [_stat(pid) for pid in tree(*roots)]
    return sum(int(ticks) for stat in stats if stat for ticks in stat[11:15]) / TICKS


def resident_bytes(pids: Iterable[int]) -> int:
    return sum(int(stat[21]) * PAGE for pid in pids if (stat := _stat(pid)))


def command_line(pid: int) -> str:
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def postmasters() -> list[int]:
    """Return the PostgreSQL servers of this machine: what they use is used for whoever asks them."""
    names = {int(entry.parent.name): entry.read_text().strip() for entry in PROC.glob("[0-9]*/comm") if entry.exists()}
    servers = {pid for pid, name in names.items() if name == "postgres"}
    return [pid for pid in servers if (stat := _stat(pid)) and int(stat[1]) not in servers]


def describe() -> str:
    """Return a line about the machine and what ran on it."""
    models = [line for line in (PROC / "cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    packages = ", ".join(f"{name} {version(name.lower())}" for name in ("Django", "Celery", "psycopg"))
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30
    return (
        f"{datetime.now(UTC):%d %B %Y}, commit {_commit()}: {os.cpu_count()} cores ({model}), {memory:.0f} GB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, {packages}."
    ).replace("  ", " ")


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":!docs/benchmarks.md")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")
