"""What goes wrong before a command can speak for itself, in a line for people instead of a traceback."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIGRATE = "The database has no tables yet, or old ones: run 'manage.py migrate' first ('up' does it by itself)."
DAMAGED = "The SQLite database is damaged ({}). Stop everything, and restore the last backup: docs/backup.md."
FULL = "The disk is full: no space is left where ROOTMAIL_VAR lies. Make room there: all goes on by itself."
BUSY = "Others are at work on the same tables, a backup for example: try again when they are done ({})."
FOLDER = "ROOTMAIL_VAR must name a folder that this account may write to."
CODE = "This account may not read the code: let it, by chmod -R a+rX {}, as the account that owns that."
SETTING = "{} in the environment has a wrong value. TRACEBACK=1 shows more, and maybe the value."
# A database or a role that does not exist is another matter.
_LACKS_TABLE = re.compile(r"no such (?:table|column)|(?:relation|column) .* does not exist")
_IS_DAMAGED = re.compile("malformed|not a database")
_IS_FULL = re.compile("database or disk is full")  # SQLite's words
_IS_BUSY = re.compile("could not obtain lock|lock timeout|deadlock detected")
_TAKES_NOTHING = re.compile("read-?only|No space left|disk I/O error")
_OF_THE_FOLDER = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EROFS)
_READS = re.compile(r"""\benv\.\w+\("([A-Z_]+)\"""")


@contextmanager
def for_people() -> Iterator[None]:
    """End with exit code 1 and one line where the set-up is at fault. TRACEBACK=1 shows the whole story."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `... | head` has read enough
    except Exception as error:
        text = explain(error)
        if not text or os.environ.get("TRACEBACK"):
            raise
        sys.exit(text)


def explain(error: Exception) -> str:
    """Return what went wrong in a line that quotes no setting's value, or '' where the set-up is not at fault."""
    from django.core.exceptions import ImproperlyConfigured
    from django.db import DatabaseError, OperationalError, ProgrammingError

    from .environment import UnfitSetting

    if isinstance(error, DatabaseError) and _IS_DAMAGED.search(str(error)):
        return DAMAGED.format(_first_line(error))
    if isinstance(error, OperationalError | ProgrammingError):
        return of_database(error)
    if isinstance(error, UnfitSetting):
        return str(error)
    if isinstance(error, OSError) and error.filename and error.errno in _OF_THE_FOLDER:
        return f"{error.filename}: {error.strerror}. {_what_to_do(error)}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return FULL
    if isinstance(error, ImproperlyConfigured) or "rootmail.settings" in _modules(error):
        return SETTING.format(_setting(error) or "A setting")
    return ""


def of_database(error: Exception) -> str:
    """Return why the database does not do what it shall, in one line that quotes it."""
    said = _first_line(error)
    if _IS_FULL.search(said):
        return FULL
    if _LACKS_TABLE.search(said):
        return MIGRATE
    if _IS_BUSY.search(said):
        return BUSY.format(said)
    return f"The database {'takes nothing' if _TAKES_NOTHING.search(said) else 'does not answer'}: {said}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _what_to_do(error: OSError) -> str:
    """The code belongs to another account, and shall: it was fetched with a strict umask."""
    if error.errno == errno.EACCES and Path(str(error.filename)).suffix == ".py":
        return CODE.format(Path(__file__).resolve().parent.parent)
    return f"{FOLDER}{_owner(error)}"


def _owner(error: OSError) -> str:
    """Say so where the file is there, and another account has made it: by a command that was run as root, mostly."""
    try:
        owner = Path(str(error.filename)).stat().st_uid
    except OSError:
        return ""
    return f" This belongs to user {owner}: give it to this account (chown)." if owner != os.geteuid() else ""


def _setting(error: Exception) -> str:
    """Return the name of the variable that was being read, from the line of the settings that did."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).name == "settings.py" and (found := _READS.search(frame.line or "")):
            return found[1]
    return ""


def _modules(error: Exception) -> set[str]:
    found, step = set(), error.__traceback__
    while step:
        found.add(str(step.tb_frame.f_globals.get("__name__", "")))
        step = step.tb_next
    return found
