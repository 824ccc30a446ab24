"""What the last check of a connected integration found, so that its card says it before a mail fails.

Once a day, at a time of its own, beat has each one checked; see `jobs.recheck_due`.
"""

from __future__ import annotations

import logging
import secrets
from datetime import timedelta
from typing import Any

from django.db import Error as DatabaseTrouble

from . import audit, clock, pauses
from .diagnosis import Diagnosis
from .fields import Undecryptable
from .models import KINDS, SendGridIntegration, SmtpIntegration
from .transports.veil import without_names

logger = logging.getLogger(__name__)

AT_LEAST, SCATTER = timedelta(hours=20), timedelta(hours=8)
# What may mend itself is looked at again soon; never refused credentials, which some servers count.
SOON = timedelta(hours=1)
OF_CREDENTIALS = ("user_name", "password", "api_key")
FINE: dict[str, Any] = {"check_failed_at": None, "check_problem": ""}


def next_day() -> timedelta:
    """Return a wait of about a day. It is scattered, so that not everybody asks at the same time."""
    return AT_LEAST + timedelta(seconds=secrets.randbelow(int(SCATTER.total_seconds())))


def take_due(kind: str) -> SmtpIntegration | SendGridIntegration | None:
    """Return the connected row where its check is due, for one caller alone; None otherwise.

    Nothing is checked while its mail is paused: the probe tells more, and another log-in might be one too many.
    """
    now = clock.now()
    rows = KINDS[kind]._default_manager.filter(connected=True)
    rows.filter(next_check_at=None).update(next_check_at=now + next_day() - AT_LEAST)
    if pauses.paused(kind) or not rows.filter(next_check_at__lte=now).update(next_check_at=now + next_day()):
        return None
    try:
        return rows.first()
    except Undecryptable:  # the card says so already
        return None


def note(row: SmtpIntegration | SendGridIntegration, found: Diagnosis, *, kind: str, version: int) -> None:
    """Write down what a check of what is connected found, unless other settings are in force since `version`."""
    if pauses.version_of(kind) != version:
        return
    if found.ok:
        _clear(row, kind=kind)
        return
    host, user_name = getattr(row, "address", ""), getattr(row, "user_name", "") or ""
    problem = without_names(found.cause, host=host, user_name=user_name)
    values: dict[str, Any] = {"check_failed_at": clock.now(), "check_problem": problem}
    if found.steps[-1].name != "auth" and found.field not in OF_CREDENTIALS:
        values["next_check_at"] = clock.now() + SOON
    type(row)._default_manager.filter(pk=row.pk).update(**values)
    if not row.check_problem:
        audit.record(f"{kind} check failed", actor=pauses.BY_ITSELF, reason=problem)


def note_accepted(row: Any, *, kind: str) -> None:
    """Forget a failed check: a mail was accepted. Never raises: whatever happens here, it stays accepted."""
    if getattr(row, "check_problem", ""):
        try:
            _clear(row, kind=kind)
        except DatabaseTrouble:
            logger.exception("%s works again, but that could not be noted", kind)


def _clear(row: SmtpIntegration | SendGridIntegration, *, kind: str) -> None:
    rows = type(row)._default_manager.filter(pk=row.pk)
    if rows.exclude(check_problem="").update(**FINE):
        audit.record(f"{kind} passes its check again", actor=pauses.BY_ITSELF)
