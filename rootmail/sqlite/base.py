"""The database engine of small installations: SQLite, where processes that want to write wait in a line.

SQLite itself lets who finds the database locked sleep for longer and longer, up to a tenth of a second, and look again.
Where several processes write a mail's outcome each millisecond, most of their time would pass so.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from django.db.backends.sqlite3 import base

LOOK_AGAIN_AFTER = 0.0002  # seconds


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
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line: IO[str] | None = None
        self._opened_by = 0
        self._has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        self._take_turn()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._give_up_turn()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._give_up_turn()

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]
        self._give_up_turn()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._give_up_turn()
            if self._line:
                self._line.close()
                self._line = None

    def _take_turn(self) -> None:
        if (self._line is None or self._opened_by != os.getpid()) and not self._open_line():
            return
        assert self._line  # noqa: S101 # nosec B101
        until = time.monotonic() + self.settings_dict["OPTIONS"].get("timeout", 5)
        while not (took := _lock(self._line)) and time.monotonic() < until:
            time.sleep(LOOK_AGAIN_AFTER)
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
