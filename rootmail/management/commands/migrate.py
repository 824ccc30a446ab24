"""Django's own, and it begins again where it and those at work waited for each other."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.commands import migrate
from django.db import OperationalError, connections

PAUSES = (0.5, 1, 2, 4, 8, 16)  # seconds
# PostgreSQL's deadlock_detected and lock_not_available (https://www.postgresql.org/docs/current/errcodes-appendix.html).
GAVE_WAY = {"40P01", "55P03"}


class Command(migrate.Command):
    """A migration is one transaction: what had to give way to a worker is undone, and may be done again."""

    def handle(self, *args: Any, **options: Any) -> None:
        for pause in (*PAUSES, None):
            try:
                super().handle(*args, **options)
                break
            except OperationalError as error:
                if pause is None or getattr(error.__cause__, "sqlstate", None) not in GAVE_WAY:
                    raise
                self.stderr.write(f"It gave way to others that are at work on the same tables: again in {pause} s.")
                connections[options["database"]].close()
                time.sleep(pause)
