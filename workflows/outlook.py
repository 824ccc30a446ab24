"""What is asked once for a batch of mails before they are handed over one by one."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Count

from integrations import clock

from . import suppression
from .models import Attempt, Delivery, Recipient
from .told_models import Suppression, Told

GOOD_FOR = 1.0  # seconds: who is suppressed meanwhile is noticed by the mails after that


@dataclass
class Outlook:
    """Who is suppressed, which mails events have told of or may have, and which are the only one of their run."""

    batch: Sequence[Delivery]
    suppressed: dict[str, Suppression] = field(default_factory=dict)
    told: set[uuid.UUID] = field(default_factory=set)
    alone: set[uuid.UUID] = field(default_factory=set)
    _asked_at: float | None = None

    def refresh(self) -> None:
        """Ask again where the answers have aged."""
        now = clock.steady()
        if self._asked_at is not None and now - self._asked_at < GOOD_FOR:
            return
        keys = [delivery.pk for delivery in self.batch]
        self.suppressed = suppression.of(row.address for mail in self.batch for row in mail.recipients.all())
        news = Told.objects.filter(recipient__delivery__in=keys, recipient__state__in=Recipient.OPEN)
        self.told = set(news.values_list("recipient__delivery", flat=True))
        self.told |= set(Attempt.objects.filter(delivery__in=keys).values_list("delivery", flat=True))
        if self._asked_at is None:  # the mails of a run are stored together, so their number stays
            runs = {delivery.run_id for delivery in self.batch}
            counted = Delivery.objects.filter(run__in=runs).values("run").annotate(mails=Count("pk"))
            single = set(counted.filter(mails=1).values_list("run", flat=True))
            self.alone = {delivery.pk for delivery in self.batch if delivery.run_id in single}
        self._asked_at = now

    def forget(self) -> None:
        """Ask again before the next mail: this one was told something that may concern it."""
        if self._asked_at is not None:
            self._asked_at = -GOOD_FOR
