"""How long things are kept: first the bodies of mails are erased, much later the rows. In small batches."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from integrations import clock

from .ids import first_id_at, made_at
from .models import Attempt, Delivery, Event, Recipient, Run
from .plans import Unindexed, by_index
from .told_models import Suppression, Told
from .webhook_models import WebhookKey, WebhookReceipt, WebhookSubject

BATCH = 500
SECONDS = 60.0  # for one call; the next one goes on
PAUSE = 0.05  # seconds between two batches: mail goes first
KEEP_KEYS_DAYS = 7  # of what other systems told: the most patient one repeats for 75 hours
KEEP_POSTED_DAYS = 7  # the bodies that they posted


def forget_old() -> None:
    """Erase what is older than the settings say. Nothing that is still on its way."""
    end = time.monotonic() + SECONDS
    for erase, days in (
        (_erase_bodies, settings.KEEP_BODIES_DAYS),
        (_delete_deliveries, settings.KEEP_DELIVERIES_DAYS),
        (_delete_runs, settings.KEEP_DELIVERIES_DAYS),
        (_delete_events, settings.KEEP_DELIVERIES_DAYS),
        (_delete_suppressions, settings.KEEP_DELIVERIES_DAYS),
        (_delete_keys, KEEP_KEYS_DAYS),
        (_erase_posted, KEEP_POSTED_DAYS),
        (_delete_subjects, settings.KEEP_DELIVERIES_DAYS),
    ):
        if days > 0:  # whoever writes -1 means never
            _repeat(erase, before=first_id_at(clock.now() - timedelta(days=days)), end=end)


def _repeat(erase: Callable[[uuid.UUID], int], *, before: uuid.UUID, end: float) -> None:
    """Work in batches, each a transaction of its own, as long as there is something and time."""
    while time.monotonic() < end and erase(before) == BATCH:
        time.sleep(PAUSE)


def _erase_bodies(before: uuid.UUID) -> int:
    """Erase contents and transcripts. Ids sort by time, so a moment is an id."""
    kept = _final().filter(purged_at__isnull=True)
    with transaction.atomic():
        old = _with_body(before)
        Attempt.objects.filter(delivery__in=old).exclude(transcript="").update(transcript="")
        return kept.filter(pk__in=old).update(content=b"", purged_at=clock.now())


WITH_BODY = """
SELECT id FROM workflows_delivery {index} WHERE purged_at IS NULL AND id < %s AND state IN ({states})
ORDER BY id LIMIT %s
"""


def _with_body(before: uuid.UUID) -> list[Any]:
    """Return the ids of the oldest that still have one, as the database keeps them."""
    states = ", ".join(f"'{state.value}'" for state in Delivery.FINAL)
    moment = Delivery._meta.pk.get_db_prep_value(before, connection)
    with connection.cursor() as cursor:
        cursor.execute(WITH_BODY.format(index=by_index("delivery_not_purged"), states=states), [moment, BATCH])
        return [key for (key,) in cursor.fetchall()]


def _final() -> QuerySet[Delivery]:
    return Delivery.objects.alias(kind=Unindexed("state")).filter(kind__in=Delivery.FINAL)


def _delete_deliveries(before: uuid.UUID) -> int:
    final = _final().filter(pk__lt=before)
    with transaction.atomic():
        old = list(final.order_by("pk").values_list("pk", flat=True)[:BATCH])
        Told.objects.filter(recipient__delivery__in=old).delete()
        for model in (Attempt, Recipient):
            model._default_manager.filter(delivery__in=old).delete()
        Delivery.objects.filter(pk__in=old).delete()
    return len(old)


def _delete_runs(before: uuid.UUID) -> int:
    # A first run stays for as long as its repeats: they end by its time.
    ended = Run.objects.filter(pk__lt=before, finished_at__isnull=False, deliveries__isnull=True, repeats__isnull=True)
    old = list(ended.order_by("pk").values_list("pk", flat=True)[:BATCH])
    Run.objects.filter(pk__in=old, deliveries__isnull=True, repeats__isnull=True).delete()
    return len(old)


def _delete_events(before: uuid.UUID) -> int:
    # What waits works with the newest data of its resource, whichever event told them.
    of_it = Run.objects.filter(~Q(event__resource=""), event__resource=OuterRef("resource"))
    waiting = of_it.alias(kind=Unindexed("status")).filter(kind=Run.Status.QUEUED)
    heard = Event.objects.filter(Q(resource="") | ~Exists(waiting), pk__lt=before, runs__isnull=True)
    old = list(heard.order_by("pk").values_list("pk", flat=True)[:BATCH])
    Event.objects.filter(pk__in=old, runs__isnull=True).delete()
    return len(old)


def _delete_suppressions(before: uuid.UUID) -> int:
    """Forget addresses that have been free again for so long."""
    day = made_at(before)
    free = Suppression.objects.filter(Q(released_at__lt=day) | Q(expires_at__lt=day))
    return free.filter(pk__in=list(free.values_list("pk", flat=True)[:BATCH])).delete()[0]


def _delete_keys(before: uuid.UUID) -> int:
    old = list(WebhookKey.objects.filter(pk__lt=before).order_by("pk").values_list("pk", flat=True)[:BATCH])
    WebhookKey.objects.filter(pk__in=old).delete()
    return len(old)


def _erase_posted(before: uuid.UUID) -> int:
    kept = WebhookReceipt.objects.filter(pk__lt=before).exclude(body="")
    return kept.filter(pk__in=list(kept.values_list("pk", flat=True)[:BATCH])).update(body="")


def _delete_subjects(before: uuid.UUID) -> int:
    """Forget what was not told of for long; a sender that tells of it again begins anew."""
    silent = WebhookSubject.objects.filter(seen_at__lt=made_at(before))
    old = list(silent.order_by("seen_at").values_list("pk", flat=True)[:BATCH])
    return silent.filter(pk__in=old).delete()[0]
