"""The machine: Python, packages, account, state folder, disk. Needs no settings."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from .findings import Area, Check, Finding, ok, problem, warning
from .places import PROJECT, state_folder

NEEDED = (3, 11)
SECRET_FILES = ("secret_key", "fernet_key", "broker_url", "first_admin_token", "broker/valkey.conf")
PRIVATE_FILES = ("rootmail.sqlite3",)
SCARCE, HARDLY_ANY = 1024**3, 200 * 1024**2
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[^]]*\])?==([^\s#]+)", re.MULTILINE)
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def look_at_python() -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < NEEDED:
        yield problem(f"Python {found}", "Install Python 3.11 or newer and make the virtual environment anew.")
    else:
        yield ok(f"Python {found}")


def look_at_packages() -> Iterator[Finding]:
    """Compare what is installed with requirements.txt."""
    pinned = dict(_PINNED.findall((PROJECT / "requirements.txt").read_text()))
    installed = {name: _installed(name) for name in pinned}
    missing = [name for name, version in installed.items() if not version]
    other = [
        f"{name} {installed[name]} instead of {pinned[name]}" for name in pinned if installed[name] != pinned[name]
    ]
    todo = f"{sys.executable} -m pip install -r {PROJECT / 'requirements.txt'}, then restart everything."
    if missing:
        yield problem(f"missing: {', '.join(missing)}", todo)
    elif other:
        yield warning("; ".join(other), todo)
    else:
        yield ok(f"{len(pinned)} packages as pinned")


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def look_at_user() -> Iterator[Finding]:
    """What root leaves in the state folder, the account of rootmail may not be able to write."""
    folder, ours = state_folder(), _name_of(os.geteuid())
    owner = _name_of(folder.stat().st_uid) if folder.exists() else ours
    if owner == ours:
        yield ok(ours)
    else:
        yield warning(
            f"{ours}, but {folder} belongs to {owner}",
            f"Run commands as the account that rootmail runs as: sudo -u {owner} ...",
        )


def _name_of(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"number {number}"


def look_at_folder() -> Iterator[Finding]:
    folder = state_folder()
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield problem(f"{folder} cannot be written to", "Let ROOTMAIL_VAR name a folder of this account's own.")
        return
    open_ones = [name for name in (*SECRET_FILES, *PRIVATE_FILES) if _is_open(folder / name)]
    secret = [name for name in open_ones if name in SECRET_FILES]
    todo = f"chmod -R go-rwx {folder}" + (", and exchange these keys: others may have read them." if secret else "")
    if not folder.stat().st_mode & _FOR_OTHERS:
        yield ok(f"{folder}, for its owner alone")
    elif open_ones:
        yield (problem if secret else warning)(f"other accounts may read {', '.join(open_ones)} in {folder}", todo)
    else:
        yield ok(f"{folder}, its secrets for their owner alone")


def _is_open(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & _FOR_OTHERS)


def look_at_disk() -> Iterator[Finding]:
    folder = next(one for one in (state_folder(), *state_folder().parents) if one.exists())
    space, rooms = shutil.disk_usage(folder), os.statvfs(folder)
    free = f"{space.free / 1024**3:.1f} GB free of {space.total / 1024**3:.1f}"
    todo = f"Make room on the disk of {folder}: a full one stops every mail. KEEP_BODIES_DAYS erases content sooner."
    if space.free < HARDLY_ANY or (rooms.f_files > 0 and rooms.f_favail < 1000):
        yield problem(free if space.free < HARDLY_ANY else f"{free}, but only {rooms.f_favail} more files", todo)
    elif space.free < SCARCE:
        yield warning(free, todo)
    else:
        yield ok(free)


MACHINE = Area(
    "Machine",
    (
        Check("python", look_at_python),
        Check("packages", look_at_packages),
        Check("user", look_at_user),
        Check("state folder", look_at_folder),
        Check("disk", look_at_disk),
    ),
)
