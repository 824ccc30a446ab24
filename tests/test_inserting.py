"""Rows that are inserted past Django's compiler are those that it would have inserted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import IntegrityError, models, transaction

from integrations import clock
from workflows import inserting
from workflows.ids import new_id
from workflows.inserting import insert, made
from workflows.models import Delivery, Event, Recipient, Run

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def event(**values: object) -> Event:
    return Event(**{"name": "a.b", "data": {"é": [1, None, "x"]}, "received_at": clock.now(), **values})


def test_they_are_the_rows_that_save_would_have_written() -> None:
    written, saved = event(key=None, resource="incident 7"), event(key=None, resource="incident 7")
    saved.received_at = written.received_at
    insert([written])
    saved.save(force_insert=True)
    first, second = Event.objects.order_by("pk").values()
    assert first | {"id": None} == second | {"id": None}
    assert first["id"] == written.pk


def test_more_than_one_statement_can_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inserting, "MOST_PARAMETERS", 20)
    insert([event() for _ in range(11)])
    assert Event.objects.count() == 11


def test_nothing_to_insert_is_no_query(django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        insert([])


def test_a_row_that_breaks_a_constraint_is_told_and_none_is_left() -> None:
    same = new_id()
    with pytest.raises(IntegrityError), transaction.atomic():
        insert([event(), event(id=same), event(id=same)])
    assert not Event.objects.exists()


ROWS: list[tuple[type[models.Model], dict[str, object]]] = [
    (Event, {"name": "a.b", "received_at": NOON}),
    (Run, {"workflow_id": 1, "event_id": new_id(), "due_at": NOON}),
    (Delivery, {"run_id": new_id(), "workflow_id": 1, "position": 1, "triggered_at": NOON, "give_up_at": NOON}),
    (Recipient, {"delivery_id": new_id(), "address": "a@example.org", "kind": "to"}),
]


@pytest.mark.parametrize(("model", "values"), ROWS)
def test_a_row_is_made_as_the_model_makes_it(model: type[models.Model], values: dict[str, object]) -> None:
    ours, usual = made(model, **values), model(**values)
    assert (ours._state.adding, ours._state.db) == (usual._state.adding, usual._state.db)
    assert vars(ours) == vars(usual) | {"id": ours.pk, "_state": ours._state}
    assert ours.pk != usual.pk or ours.pk is None
    assert all(value is not vars(usual)[name] for name, value in vars(ours).items() if isinstance(value, list | dict))


def test_a_time_of_another_zone_is_stored_as_the_moment_that_it_is() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))
    insert([event(received_at=there)])
    event(received_at=there).save(force_insert=True)
    event(received_at=NOON).save(force_insert=True)
    assert Event.objects.filter(received_at=NOON).count() == 3
    assert Event.objects.values("received_at").distinct().count() == 1
