"""When to try again, or never. Pure."""

from __future__ import annotations

from datetime import timedelta

from integrations.transports.base import Scope, Stage, TransportError

from . import schedule

DELAYS = (30, 60, 120, 300, 600, 1200, 1800, 3600)
GIVE_UP_AFTER = timedelta(hours=24)
LAST_CHANCE = timedelta(minutes=1)
SCATTER = 0.2


def deadline(text: str) -> timedelta:
    """Return how long a mail is tried: a workflow's own words ('2 hours'), or a day where it says nothing."""
    return schedule.parse_duration(text) if text else GIVE_UP_AFTER


# Before these, the relay has heard nothing of the mail itself.
SESSION = (Stage.RESOLVE, Stage.CONNECT, Stage.TLS, Stage.EHLO, Stage.AUTH)


def spends_try(error: TransportError) -> bool:
    """Say whether this counts as an attempt of the mail. No session with the provider is no fault of the mail's.

    Nor is an answer of an HTTP API about the account (a rate limit, no credits): any other mail would have met it.
    """
    at_the_door = error.stage in SESSION or (error.stage == Stage.HTTP and error.code is not None)
    return error.scope != Scope.PROVIDER or error.outcome_unknown or not at_the_door


def next_delay(
    error: TransportError, *, attempt: int, scatter: float = 0.0, left: timedelta = GIVE_UP_AFTER
) -> int | None:
    """Return seconds until the next attempt, or None to give up.

    `attempt` counts from 1; `scatter` from 0 to 1 lengthens the wait by up to a fifth, so that mails that
    failed together do not come back together. A time that the server named is obeyed, but for what goes beyond what
    is `left` until the mail's deadline: a minute before that is the last chance. A mail that waits for its provider has
    no delay of its own: it is the provider that is tried again.
    """
    if not spends_try(error):
        return 0
    if error.permanent and not error.outcome_unknown:
        return None
    base = DELAYS[min(attempt, len(DELAYS)) - 1]
    usual = base + round(base * SCATTER * scatter)
    if error.retry_after is None:
        return usual
    return min(max(error.retry_after, 1), max(int((left - LAST_CHANCE).total_seconds()), usual))
