"""One worker's hold on a batch of deliveries: claim, renew, give back, take over from the dead."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter

from django.db import connection, transaction
from django.db.models import Case, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Length

from integrations import clock

from . import acceptance, heartbeat, starts, stopping
from .claims import is_any_mail_due
from .models import Attempt, Delivery, Recipient
from .plans import Unindexed
from .stubborn import AWAY, stubbornly

logger = logging.getLogger(__name__)

BATCH = 50
LEASE = timedelta(seconds=300)
# Seconds. What is left of a lease then outlasts one mail (160 s at the most) and writing its outcome stubbornly (64 s).
RENEW_AFTER = 60.0
SETTLE_AFTER = 0.5  # seconds: so long an acceptance that was noted waits for those of the next mails
SURE_FOR = 1.0  # seconds since the database last said that the batch is ours
SMALL = 64 * 1024  # bytes of a mail that is read with its batch; a larger one is read in its turn
LOOK_AGAIN_AFTER = 5.0  # seconds, for a database that was away for longer than we wait
BATCH_SECONDS = 300.0  # well within the task's time limit
RELEASED = {"lease": None, "lease_expires_at": None}
_BEFORE = Case(
    When(last=None, then=Value(Delivery.State.QUEUED)),
    When(last=Attempt.Outcome.UNKNOWN, then=Value(Delivery.State.UNKNOWN)),
    default=Value(Delivery.State.DEFERRED),
)


class Lease:
    """One worker's hold on a batch of deliveries. `began`: when its task did, where that was before.

    `after`: the lease of a dead worker that it follows.
    """

    def __init__(self, *, began: float | None = None, after: uuid.UUID | None = None) -> None:
        self.id = starts.new_lease(of=after)
        self.batch: list[Delivery] = []
        self.untried = False  # the batch holds all mails of its runs, and none was tried before
        self.goes_on = False  # a mail of the batch is due again at once
        self._tried: list[Delivery] = []
        self._noted: list[acceptance.Note] = []
        self._not_noted: list[acceptance.Note] = []
        self._is_left = False
        self._settled = time.monotonic()
        self.began = self._settled if began is None else began
        self._renewed = self._sure_at = clock.steady()
        self._may_hold = False

    def mark(self, batch: Sequence[Delivery]) -> None:
        """Make mails ours that are about to be stored; `take` tells that they are."""
        self._may_hold = True
        until = clock.now() + LEASE
        for delivery in batch:
            delivery.state, delivery.lease, delivery.lease_expires_at = Delivery.State.SENDING, self.id, until

    def take(self, made: Sequence[tuple[Delivery, list[Recipient]]]) -> None:
        """Hold mails that have just been stored under this lease; they are sent from memory."""
        for delivery, recipients in made:
            # As prefetching leaves them, but without their numbers in the database (see `outcomes`).
            delivery._prefetched_objects_cache = {"recipients": recipients}  # type: ignore[attr-defined]
            if len(delivery.content) > SMALL:
                del delivery.__dict__["content"]  # read in its turn, like that of a mail that was claimed
            self.batch.append(delivery)
        self.batch.sort(key=attrgetter("pk"))  # as `free_expired_leases` assumes
        self.untried = True

    def claim(self) -> list[Delivery]:
        """Take up to BATCH due deliveries, in the order in which they will be sent."""
        self._may_hold = True
        try:
            taken = self._take_due()
            if not taken:
                self._may_hold = False
                return []
            batch = list(self.held().order_by("pk").defer("content").prefetch_related("recipients"))
            self._bring_contents(batch)
        except AWAY:  # they may be ours all the same, and would wait for the end of the lease, the first as unknown
            self.give_back()
            raise
        if len(batch) < taken:
            logger.warning("%d deliveries: the lease was lost as soon as it was taken", taken - len(batch))
        self.batch = batch
        return batch

    def _take_due(self) -> int:
        now = clock.now()
        if not is_any_mail_due(now):  # as nearly always: on SQLite a transaction would have to wait for its turn
            return 0
        waiting = Delivery.objects.alias(kind=Unindexed("state")).filter(kind__in=Delivery.DUE)
        due = waiting.filter(next_attempt_at__lte=now).order_by("next_attempt_at")
        with transaction.atomic():
            # Asked for first: as a part of the UPDATE, PostgreSQL may ask several times, and take more than a batch.
            keys = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH])
            return Delivery.objects.filter(pk__in=keys, state__in=Delivery.DUE).update(
                state=Delivery.State.SENDING, lease=self.id, lease_expires_at=now + LEASE
            )

    def _bring_contents(self, batch: list[Delivery]) -> None:
        small = self.held().annotate(size=Length("content")).filter(size__lte=SMALL)
        contents = dict(small.values_list("pk", "content"))
        for delivery in batch:
            if delivery.pk in contents:
                delivery.content = contents[delivery.pk]

    def take_over(self, dead: uuid.UUID) -> int:
        """Take what a dead worker held; a worker that renewed its lease meanwhile keeps it."""
        now = clock.now()
        with transaction.atomic():
            # Whole or not at all: it may have been stored in parts, and only its first mail is doubtful.
            held = Delivery.objects.filter(lease=dead).select_for_update().order_by("pk")
            if any(end is None or end >= now for end in held.values_list("lease_expires_at", flat=True)):
                return 0
            taken = Delivery.objects.filter(lease=dead).update(lease=self.id, lease_expires_at=now + LEASE)
            self._may_hold = acceptance.settle(held_under=self.id, noted_under=dead) > 0
        return taken

    def held(self) -> QuerySet[Delivery]:
        return Delivery.objects.filter(lease=self.id)

    def may_send(self, delivery: Delivery) -> bool:
        """Say whether this mail is still ours, and whether there is time for it; renew the lease where it has aged.

        The database is asked, unless it has just said so: a process that was frozen or whose machine slept may have
        lost its lease. Time is told by a clock that goes on meanwhile.
        """
        may = stubbornly(partial(self._may_send, delivery), what=f"delivery {delivery.pk}: whether it is ours")
        if may:
            self._tried.append(delivery)
        return may

    def was_not_tried(self, delivery: Delivery) -> None:
        """Tell that the mail which was let through last was not handed over after all: nothing is doubtful about it."""
        self._tried.remove(delivery)

    def _may_send(self, delivery: Delivery) -> bool:
        if time.monotonic() - self.began > BATCH_SECONDS or stopping.requested():
            return False
        now = clock.steady()
        if now - self._renewed > RENEW_AFTER:
            self.renew()
            heartbeat.beat()  # all workers may be busy with slow relays, and nobody free for a sweep
        elif now - self._sure_at < SURE_FOR:
            return True
        ours = self.held().filter(pk=delivery.pk).exists()
        if not ours:
            logger.warning("delivery %s: the lease was lost before it was sent", delivery.pk)
        self._sure_at = now
        return ours

    def renew(self) -> None:
        if self._may_hold:
            asked = clock.steady()  # the answer may take long
            self.held().update(lease_expires_at=clock.now() + LEASE)
            self._renewed = asked

    def is_to_note(self, noted: acceptance.Note) -> None:
        """Keep an acceptance that the database has not heard of, until it is back."""
        self._not_noted.append(noted)

    def remember(self, noted: acceptance.Note | None) -> None:
        """Remember that an acceptance was noted under this lease, until it is settled: now and then, for people to see.

        None: its outcome was written otherwise, or the lease was lost; then the database is asked again.
        """
        if noted:
            self._noted.append(noted)
        self._sure_at = clock.steady() if noted else self._sure_at - SURE_FOR
        if time.monotonic() - self._settled > SETTLE_AFTER:
            stubbornly(self._settle, what=f"lease {self.id}: what was accepted")
            self._settled = time.monotonic()

    def _settle(self) -> None:
        starts.this_one()  # not drawn within a transaction, for whose end others would wait
        with transaction.atomic():
            self._settle_noted()

    def _settle_noted(self) -> int:
        """Settle within a transaction, which puts the notes on the disk as well; return how many mails are left."""
        acceptance.note_again(self._not_noted)
        if starts.ended_since(self.id):
            acceptance.note_again(self._noted)
        return acceptance.settle(held_under=self.id, noted_under=self.id)

    def give_back(self, *, but: Sequence[Delivery] = (), next_attempt_at: datetime | None = None) -> None:
        """Settle what was accepted, and put what was not tried back into the state that it was claimed in.

        That has spent no attempt, and keeps its place in the row unless it is told another time.
        """
        if not self._may_hold:
            return
        due = {"next_attempt_at": next_attempt_at} if next_attempt_at else {}
        try:
            stubbornly(partial(self._give_back, but=but, due=due), what=f"lease {self.id}: what was not tried")
        except AWAY:
            self.give_back_later(but=but)
            raise
        self._may_hold = bool(but)

    def give_back_later(self, *, but: Sequence[Delivery] = ()) -> None:
        """Give it back when the database is there again: a crash may have taken notes along that only we still know.

        What was tried, and is neither noted nor recorded, is left to the sweeper.
        """
        if not self._is_left:
            self._is_left = True
            _do_when_it_is_back(partial(self._give_back, but=[*but, *self._tried], due={}))

    def _give_back(self, *, but: Sequence[Delivery], due: dict[str, datetime]) -> None:
        starts.this_one()
        with transaction.atomic():
            if self._settle_noted():
                # A standby that lagged behind and took over may not know what was recorded otherwise.
                tried = self._tried if starts.ended_since(self.id) else []
                self._put_back(but=[*but, *tried], due=due)

    def _put_back(self, *, but: Sequence[Delivery], due: dict[str, datetime]) -> None:
        last = Attempt.objects.filter(delivery=OuterRef("pk")).order_by("-pk").values("outcome")[:1]
        untried = self.held().exclude(pk__in=[delivery.pk for delivery in but]) if but else self.held()
        untried.annotate(last=Subquery(last)).update(state=_BEFORE, **due, **RELEASED)


def shorten_leases_from_the_future() -> None:
    """Let a lease end like any other that a clock wrote which was ahead and has been set right since.

    It is not taken over at once: who holds it may live, and have a mail in hand.
    """
    now = clock.now()
    wrong = Delivery.objects.filter(lease__isnull=False, lease_expires_at__gt=now + LEASE + LEASE)
    wrong.update(lease_expires_at=now + LEASE)


def _do_when_it_is_back(act: Callable[[], None]) -> None:
    """Try until the database answers, in a thread that ends with its process."""

    def try_again() -> None:
        try:
            while True:
                time.sleep(LOOK_AGAIN_AFTER)
                with suppress(*AWAY):
                    return act()
                connection.close()
        except Exception:
            logger.exception("what a worker held while the database was away is left to the sweeper")
        finally:
            connection.close()

    threading.Thread(target=try_again, name="give back", daemon=True).start()
