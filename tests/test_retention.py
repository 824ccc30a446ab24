"""Bodies are erased after a month, rows after a year: in batches, and nothing that is still on its way."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from workflows import ids, retention, tasks
from workflows.models import Attempt, Delivery, Event, Recipient, Run, Workflow

pytestmark = pytest.mark.django_db


def made(days: int, *, state: str = "accepted") -> uuid.UUID:
    """Store a mail that was made so many days ago: ids carry the time."""
    now = timezone.now()
    workflow, _ = Workflow.objects.get_or_create(slug="tell", trigger_type="incident")
    event = Event.objects.create(pk=_id(days), name="incident_created", received_at=now)
    final = state in Delivery.FINAL
    run = Run.objects.create(
        pk=_id(days), workflow=workflow, event=event, due_at=now, finished_at=now if final else None
    )
    delivery = Delivery.objects.create(
        pk=_id(days), run=run, workflow=workflow, position=1, state=state, content=b"Hello",
        triggered_at=now, give_up_at=now,
    )  # fmt: skip
    for address in ("a@example.org", "b@example.org"):
        Recipient.objects.create(delivery=delivery, address=address, kind="to")
    Attempt.objects.create(delivery=delivery, at=now, stage="data", outcome="accepted", transcript="> MAIL")
    return delivery.pk


def _id(days: int) -> uuid.UUID:
    moment = timezone.now() - timedelta(days=days)
    return uuid.UUID(int=ids.first_id_at(moment).int + ids.new_id().int % 2**60)


def test_bodies_and_transcripts_are_erased_after_their_time(settings: Any) -> None:
    old, young = made(31), made(29)
    tasks.forget_old()
    rows = {row.pk: row for row in Delivery.objects.all()}
    assert (bytes(rows[old].content), rows[old].purged_at is None) == (b"", False)
    assert (bytes(rows[young].content) != b"", rows[young].purged_at) == (True, None)
    transcripts = dict(Attempt.objects.values_list("delivery", "transcript"))
    assert transcripts == {old: "", young: "> MAIL"}
    assert Recipient.objects.filter(delivery=old).count() == 2, "what became of it is kept"


def test_rows_go_with_their_run_and_event_much_later() -> None:
    made(401)
    young = made(399)
    tasks.forget_old()
    assert [row.pk for row in Delivery.objects.all()] == [young]
    assert set(Recipient.objects.values_list("delivery", flat=True)) == {young}
    assert set(Attempt.objects.values_list("delivery", flat=True)) == {young}
    assert (Run.objects.count(), Event.objects.count()) == (1, 1)


@pytest.mark.parametrize("state", ["queued", "deferred", "unknown", "held"])
def test_what_is_on_its_way_is_kept_whole(state: str) -> None:
    made(500, state=state)
    tasks.forget_old()
    row = Delivery.objects.get()
    assert (bytes(row.content) != b"", row.purged_at, Recipient.objects.count()) == (True, None, 2)


def test_nothing_is_forgotten_where_the_settings_say_so(settings: Any) -> None:
    settings.KEEP_BODIES_DAYS = settings.KEEP_DELIVERIES_DAYS = 0
    made(5000)
    tasks.forget_old()
    assert bytes(Delivery.objects.get().content) != b""


def test_it_works_in_small_batches_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        made(31)
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(retention, "PAUSE", 0)
    monkeypatch.setattr(retention, "SECONDS", -1)
    retention.forget_old()
    assert Delivery.objects.filter(purged_at=None).count() == 5
    monkeypatch.setattr(retention, "SECONDS", 60)
    retention.forget_old()
    assert Delivery.objects.filter(purged_at=None).count() == 0


def test_ids_and_moments() -> None:
    moment = timezone.now()
    assert ids.first_id_at(moment - timedelta(milliseconds=1)) < ids.new_id()
    assert ids.first_id_at(moment + timedelta(seconds=1)) > ids.new_id()
    assert abs(ids.made_at(ids.new_id()) - moment) < timedelta(seconds=1)


def test_an_old_run_that_has_not_begun_is_kept_with_its_event() -> None:
    pk = made(401, state="queued")
    Delivery.objects.get(pk=pk).delete()
    Run.objects.update(status="queued")
    tasks.forget_old()
    assert (Run.objects.count(), Event.objects.count()) == (1, 1)


def test_news_of_what_a_waiting_run_is_about_are_kept() -> None:
    """A run that waits for longer than events are kept has to hear that its incident was resolved."""
    made(0, state="queued")
    Event.objects.update(resource="incident:1")
    Run.objects.update(status="queued")
    for resource in ("incident:1", "incident:2", ""):
        Event.objects.create(pk=_id(401), name="incident_updated", resource=resource, received_at=timezone.now())
    tasks.forget_old()
    assert sorted(Event.objects.values_list("resource", flat=True)) == ["incident:1", "incident:1"]
    Run.objects.update(status="completed")
    tasks.forget_old()
    assert Event.objects.count() == 1


def test_a_negative_number_of_days_deletes_nothing(settings: Any) -> None:
    settings.KEEP_BODIES_DAYS = settings.KEEP_DELIVERIES_DAYS = -1
    made(1)
    tasks.forget_old()
    assert (Delivery.objects.get().purged_at, Delivery.objects.count(), Event.objects.count()) == (None, 1, 1)
