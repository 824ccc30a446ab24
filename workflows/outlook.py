"""What is asked once for a batch of mails before they are handed over one by one."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import Count

from integrations import clock

from . import suppression
from .models import Attempt, Delivery, Recipient
from .recipients import canonical
from .told_models import Suppression, Told

GOOD_FOR = 1.0  # seconds: who is suppressed meanwhile is noticed by the mails after that


@dataclass
class Outlook:
    """Who is suppressed, which mails events have told of or may have, and which are the only one of their run.

    `untried`: the batch holds all mails of its runs, and none of them was tried before.
    """

    batch: Sequence[Delivery]
    untried: bool = False
    suppressed: dict[str, Suppression] = field(default_factory=dict)
    told: set[uuid.UUID] = field(default_factory=set)
    alone: set[uuid.UUID] = field(default_factory=set)
    _asked_at: float | None = None

    def refresh(self) -> None:
        """Ask again where the answers have aged."""
        now = clock.steady()
        if self._asked_at is not None and now - self._asked_at < GOOD_FOR:
            return
        self.suppressed = suppression.of(row.address for mail in self.batch for row in mail.people)
        if not self.untried:  # before its first attempt nobody can have told of a mail
            self.told = _told([delivery.pk for delivery in self.batch])
        if self._asked_at is None:  # the mails of a run are stored together, so their number stays
            runs = [delivery.run_id for delivery in self.batch]
            mails = Counter(runs) if self.untried else _mails_of(runs)
            self.alone = {delivery.pk for delivery in self.batch if mails[delivery.run_id] == 1}
        self._asked_at = now

    def spares_any_of(self, delivery: Delivery) -> bool:
        """Tell whether somebody whom a mail is due to was suppressed when we last asked."""
        due = [row for row in delivery.people if row.state in Recipient.OPEN] if self.suppressed else ()
        return any(canonical(row.address) in self.suppressed for row in due)

    def forget(self) -> None:
        """Ask again before the next mail: this one was told something that may concern it."""
        if self._asked_at is not None:
            self._asked_at = -GOOD_FOR


def _told(keys: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    news = Told.objects.filter(recipient__delivery__in=keys, recipient__state__in=Recipient.OPEN)
    tried = Attempt.objects.filter(delivery__in=keys)
    return {*news.values_list("recipient__delivery", flat=True), *tried.values_list("delivery", flat=True)}


def _mails_of(runs: Iterable[uuid.UUID]) -> dict[uuid.UUID, int]:
    counted = Delivery.objects.filter(run__in=set(runs)).values("run").annotate(mails=Count("pk"))
    return dict(counted.values_list("run", "mails"))
