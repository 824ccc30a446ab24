"""The limits of an integration, shared by all workers: mails in a time, and simultaneous sessions."""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error as DatabaseTrouble
from django.db.models import Q

from . import clock
from .models import ProviderState, SessionSlot
from .transports.base import Scope, Stage, TransportError

logger = logging.getLogger(__name__)

# A worker waits so long for its turn; other mail waits in the database. As long as beat's sweeper takes to come again:
# a turn that nobody waits for would pass unused.
PATIENCE = timedelta(seconds=5)
SLOT = timedelta(seconds=200)  # outlasts one mail
SECONDS = {"second": 1.0, "minute": 60.0}


@dataclass(frozen=True, slots=True)
class Limits:
    """`interval` between two mails; `sessions` at a time. None: no limit."""

    interval: timedelta | None = None
    sessions: int | None = None

    @classmethod
    def of(cls, row: Any) -> Limits:
        """Return the limits of an integration's row; the default sender has none."""
        rate, sessions = getattr(row, "rate_limit", None), getattr(row, "session_limit", None)
        if not rate:
            return cls(sessions=sessions)
        return cls(interval=timedelta(seconds=SECONDS[row.rate_per] / rate), sessions=sessions)


def demand_turn(name: str, limits: Limits) -> None:
    """Raise TransportError (untried) where the next mail's turn is not near."""
    if limits.interval:
        now = clock.now()
        _refuse_if_far(_turn(_next_turn_at(name), now=now, interval=limits.interval), now=now)


def take_turn(name: str, limits: Limits) -> None:
    """Wait until the next mail may leave; raises TransportError (untried) where that is not soon.

    Turns are spread evenly: a relay that counts in windows of its own sees no burst. Who exchanges the stored moment
    for the next one has the turn.
    """
    while limits.interval:
        now, found = clock.now(), _next_turn_at(name)
        turn = _turn(found, now=now, interval=limits.interval)
        _refuse_if_far(turn, now=now)
        mine = ProviderState.objects.filter(pk=name, next_turn_at=found)
        if mine.update(next_turn_at=turn + limits.interval):
            return time.sleep((turn - now).total_seconds())
        ProviderState.objects.get_or_create(pk=name)
    return None


def _next_turn_at(name: str) -> datetime | None:
    return ProviderState.objects.filter(pk=name).values_list("next_turn_at", flat=True).first()


def _turn(found: datetime | None, *, now: datetime, interval: timedelta) -> datetime:
    """Return when the next mail may leave. No turn is taken far ahead, so one that lies there is a clock's fault."""
    if found is None or found > now + PATIENCE + 2 * interval:
        return now
    return max(found, now)


def _refuse_if_far(turn: datetime, *, now: datetime) -> None:
    if turn - now > PATIENCE:
        raise _untried("The limit of mails is reached for now.", after=turn - now)


class Session:
    """The right of one sender of mails to keep a session, where sessions are limited."""

    def __init__(self) -> None:
        self._holder = uuid.uuid4()
        self.provider = ""  # of which we hold a slot

    def take(self, name: str, limits: Limits) -> None:
        """Hold a slot of this provider, or renew it; raises TransportError (untried) where all are taken."""
        if self.provider and self.provider != name:
            self.free()
        if limits.sessions is None or self._renew(name) or self._take_free(name, limits.sessions):
            return
        raise _untried("The limit of simultaneous sessions is reached for now.", after=timedelta(seconds=1))

    def free(self) -> None:
        """Let others have it. Never raises: the mails before it are sent, and the slot lapses by itself."""
        if self.provider:
            try:
                SessionSlot.objects.filter(holder=self._holder).update(holder=None, until=None)
            except DatabaseTrouble:
                logger.exception("a session slot of %s could not be freed", self.provider)
        self.provider = ""

    def _renew(self, name: str) -> int:
        if self.provider != name:
            return 0
        return SessionSlot.objects.filter(provider=name, holder=self._holder).update(until=clock.now() + SLOT)

    def _take_free(self, name: str, limit: int) -> bool:
        slots = SessionSlot.objects.filter(provider=name, number__lt=limit)
        if slots.count() < limit:
            rows = [SessionSlot(provider=name, number=number) for number in range(limit)]
            SessionSlot.objects.bulk_create(rows, ignore_conflicts=True)
        now = clock.now()
        free = Q(until=None) | Q(until__lte=now) | Q(until__gt=now + SLOT + SLOT)
        for pk in slots.filter(free).values_list("pk", flat=True):
            if SessionSlot.objects.filter(free, pk=pk).update(holder=self._holder, until=now + SLOT):
                self.provider = name
                return True
        return False


def _untried(text: str, *, after: timedelta) -> TransportError:
    seconds = max(round(after.total_seconds()), 1)
    return TransportError(text, stage=Stage.CONNECT, scope=Scope.PROVIDER, retry_after=seconds, untried=True)
