"""Rows that are inserted past Django's compiler are those that it would have inserted."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from integrations import clock
from workflows import inserting
from workflows.ids import new_id
from workflows.inserting import insert
from workflows.models import Event

pytestmark = pytest.mark.django_db


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
