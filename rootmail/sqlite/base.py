"""The database engine of small installations: SQLite, where processes that want to write wait in a line.

SQLite itself lets who finds the database locked sleep for longer and longer, up to a tenth of a second, and look again.
Where several processes write a mail's outcome each millisecond, most of their time would pass so.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from django.db import DatabaseError, OperationalError
from django.db.backends.sqlite3 import base

LOOK_AGAIN_AFTER = 0.0002, 0.0016  # seconds: a note of a mail takes less than the first, a batch a few of the second
LEAST_ROOM = 1024**2  # bytes: an event and its mail take some ten thousand
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has no other


@cache
def _named(statement: str) -> str:
    """Write a statement's parameters as SQLite's own library does: ':name' for '%(name)s'."""
    return re.sub(r"%\((\w+)\)s", r":\1", statement.replace("{quickly}", "1"))


def _lock(file: IO[str]) -> bool:
    """Lock a file until it is unlocked, or its process has ended; say whether nobody else had it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


class DatabaseWrapper(base.DatabaseWrapper):
    """Takes its turn before a transaction begins, and gives it up with its end.

    Who waits too long goes on without a turn: SQLite then waits as well, and says that the database is locked.

    A transaction is on the disk when it is over, as with `synchronous=FULL`. But the disk is waited for when the next
    one in the line has its turn already: SQLite itself would wait before, and let nobody write meanwhile.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line: IO[str] | None = None
        self._log: IO[bytes] | None = None  # the write-ahead log
        self._opened_by = 0
        self._has_turn = self._waits = self._unheard = self._in_passing = False

    def ask(self, statement: str, values: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows that a query leads to, past Django's layers. Its parameters have names."""
        self.ensure_connection()
        with self.wrap_database_errors:
            found: list[tuple[Any, ...]] = self.connection.execute(_named(statement), values or {}).fetchall()
        return found

    def write_alone(self, statement: str, values: Mapping[str, object], *, wait: bool) -> int:
        """Carry out one statement as a transaction of its own, past Django's layers; return how many rows it touched.

        Its parameters have names; `{quickly}`, a condition, is for PostgreSQL. Without `wait`, it is on the disk only
        when the next transaction is, which waits: a power cut may undo it, the end of the process not. Within a
        transaction it is a part of that.
        """
        self.ensure_connection()
        alone = self.get_autocommit()
        if alone:
            self._begin_turn()
        try:
            with self.wrap_database_errors:
                touched = int(self.connection.execute(_named(statement), values).rowcount)
        finally:
            unheard = alone and self._end_turn()
        if wait and unheard:
            self._wait_for_disk()
        return touched

    def write_in_passing(self, statement: str, values: Mapping[str, object]) -> int:
        """Do as `write_alone` without `wait`; raise OperationalError at once where somebody else writes just now."""
        self.ensure_connection()
        with self._waiting_for_nobody():
            return self.write_alone(statement, values, wait=False)

    @contextmanager
    def _waiting_for_nobody(self) -> Iterator[None]:
        [(usual,)] = self.ask("PRAGMA busy_timeout")
        self._set("busy_timeout", "0")
        self._in_passing = True
        try:
            yield
        finally:
            self._in_passing = False
            self._set("busy_timeout", str(usual))

    def why_it_takes_nothing(self) -> str:
        """Say that it can only be read, or that its disk is full; '' where it takes what is written."""
        file = self.settings_dict["NAME"]
        if self.is_in_memory_db():
            return ""
        if not os.access(file, os.W_OK) or not os.access(Path(file).parent, os.W_OK):
            return "it can only be read"
        return "its disk is full" if shutil.disk_usage(Path(file).parent).free < LEAST_ROOM else ""

    def _start_transaction_under_autocommit(self) -> None:
        self._begin_turn()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._unheard = self._end_turn() or self._unheard  # a bell may write as well

    def run_and_clear_commit_hooks(self) -> None:
        """Ring for the workers before the disk has answered: what they write is behind this in the same log."""
        try:
            super().run_and_clear_commit_hooks()
        finally:
            self._hear_disk()

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]
        self._end_turn()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
            self._hear_disk()
        finally:
            self._give_up_turn()
            for file in (self._line, self._log):
                if file:
                    file.close()
            self._line = self._log = None
            self._waits = self._unheard = False

    def _begin_turn(self) -> None:
        self._take_turn()
        if self._log or self._open_log():
            try:
                self._set("synchronous", "NORMAL")
            except BaseException:
                self._give_up_turn()
                raise
            self._waits = True

    def _end_turn(self) -> bool:
        """Let the next one write; say whether what was written is still to be waited for."""
        self._give_up_turn()
        waits, self._waits = self._waits, False
        if waits:
            self._set("synchronous", "FULL")
        return waits

    def _set(self, name: str, value: str) -> None:
        with self.wrap_database_errors:
            self.connection.execute(f"PRAGMA {name}={value}")

    def _open_log(self) -> bool:
        """Open the log beside SQLite. It stays as long as anybody has the database open (https://sqlite.org/wal.html)."""
        with suppress(OSError):  # no log, where the file system allows none: then SQLite itself waits
            name = Path(self.settings_dict["NAME"]).resolve()  # as SQLite follows links
            log = Path(f"{name}-wal").open("rb")  # noqa: SIM115
            if self._log:
                self._log.close()
            self._log = log
        return self._log is not None

    def _hear_disk(self) -> None:
        unheard, self._unheard = self._unheard, False
        if unheard:
            self._wait_for_disk()

    def _wait_for_disk(self) -> None:
        """Wait until the log is on the disk, and with it all that was written before. Raises OperationalError.

        Whoever empties the log meanwhile has put it on the disk before, and into the database.
        """
        assert self._log  # noqa: S101 # nosec B101
        try:
            if not os.fstat(self._log.fileno()).st_nlink:  # SQLite did not have it open yet when others removed it
                self._open_log()
            _sync(self._log.fileno())
        except OSError as error:
            with suppress(DatabaseError):  # the kernel may not try these pages again: they are written elsewhere
                self._set("wal_checkpoint", "TRUNCATE")
            raise OperationalError(f"The disk does not take what was written: {error.strerror}") from error

    def _take_turn(self) -> None:
        if (self._line is None or self._opened_by != os.getpid()) and not self._open_line():
            return
        assert self._line  # noqa: S101 # nosec B101
        until = time.monotonic() + (0 if self._in_passing else self.settings_dict["OPTIONS"].get("timeout", 5))
        pause, longest = LOOK_AGAIN_AFTER
        while not (took := _lock(self._line)) and time.monotonic() < until:
            time.sleep(pause)
            pause = min(2 * pause, longest)
        self._has_turn = took

    def _open_line(self) -> bool:
        if self.is_in_memory_db():
            return False
        try:
            self._line = Path(f"{self.settings_dict['NAME']}-line").open("a")  # noqa: SIM115 (it is the lock)
        except OSError:  # it belongs to somebody else, or there are no more files
            return False
        self._opened_by = os.getpid()  # a lock is shared with those to whom a fork has left the same file
        return True

    def _give_up_turn(self) -> None:
        if self._has_turn and self._line:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._line, fcntl.LOCK_UN)
        self._has_turn = False
