"""Rows that are inserted past Django's compiler are those that it would have inserted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, models, transaction

from integrations import clock
from tests.test_documents import SMALL
from workflows import documents, inserting
from workflows.ids import new_id
from workflows.inserting import insert, insert_alone, made
from workflows.models import Delivery, Event, Recipient, Run, Workflow

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def workflow() -> Workflow:
    documents.load(SMALL)
    return Workflow.objects.get()


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


def test_several_tables_at_once(workflow: Workflow, django_assert_num_queries: Any) -> None:
    events = [event(), event()]
    rows = [made(Run, workflow_id=workflow.pk, event_id=one.pk, due_at=NOON) for one in events]
    at_once = connection.vendor == "postgresql"
    with django_assert_num_queries(1 if at_once else 2):
        insert(events, rows)
    assert set(Run.objects.values_list("event", flat=True)) == {one.pk for one in events}


@pytest.mark.django_db(transaction=True)
def test_alone_all_of_it_is_there_or_nothing(workflow: Workflow, django_assert_num_queries: Any) -> None:
    first, same = event(), new_id()
    run = partial(made, Run, workflow_id=workflow.pk, event_id=first.pk, due_at=NOON)
    for rows in ([run(id=same), run(id=same)], [run(workflow_id=workflow.pk + 1)]):
        with pytest.raises(IntegrityError):
            insert_alone([first], rows)
        assert not Event.objects.exists()
    with django_assert_num_queries(1 if connection.vendor == "postgresql" else 4):  # with BEGIN and COMMIT
        insert_alone([first], [run()])
    assert (Event.objects.count(), Run.objects.count()) == (1, 1)


def test_within_a_transaction_it_fails_by_itself(workflow: Workflow) -> None:
    same = new_id()
    insert_alone([event(id=same)])
    with pytest.raises(IntegrityError):
        insert_alone([event(id=same)])
    assert Event.objects.count() == 1


def test_more_than_one_statement_can_take_of_several_tables(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inserting, "MOST_PARAMETERS", 40)
    events = [event() for _ in range(11)]
    insert_alone(events, [made(Run, workflow_id=workflow.pk, event_id=one.pk, due_at=NOON) for one in events])
    assert (Event.objects.count(), Run.objects.count()) == (11, 11)


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
