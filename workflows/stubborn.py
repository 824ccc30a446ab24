"""What must not be left undone because the database is away for a moment: it is tried again for a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, InternalError, OperationalError, connection

logger = logging.getLogger(__name__)

PAUSES = (0.5, 1, 2, 4, 8, 16, 32)  # seconds; a lease outlasts a mail and all of them (see leases.py)
# Locked, cut off, or gone: the same statement may succeed later. PostgreSQL tells a process that was frozen in the
# middle of a transaction by an InternalError that it has ended it (25P03).
AWAY = (OperationalError, InterfaceError, InternalError)
T = TypeVar("T")


def stubbornly(act: Callable[[], T], *, what: str) -> T:
    """Do `act`, over a lost connection too. It may be done twice, since a commit may succeed without our hearing it."""
    for pause in PAUSES:
        try:
            return act()
        except AWAY as error:
            logger.warning("%s: the database is away, it is tried again (%s)", what, str(error).partition("\n")[0])
            connection.close()
            time.sleep(pause)
    return act()
