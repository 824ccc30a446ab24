"""Rows that are read past Django's compiler are those that it would have read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from integrations import clock
from tests.statements import watched
from tests.test_documents import changed
from tests.test_trigger import SEV1
from workflows import claims, documents, services
from workflows.events import Incoming
from workflows.ids import new_id
from workflows.models import Event, Run

pytestmark = pytest.mark.django_db


def values(row: Event | Run) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


def test_the_runs_of_a_lease_are_those_that_a_query_set_finds_with_their_events() -> None:
    documents.load(changed("wait", None))
    services.trigger_all([Incoming("incident_created", SEV1 | {"é": [1, None, "x", 0.5]}, key=key) for key in "ab"])
    Run.objects.update(checks=[{"ok": True}], started_at=clock.now())
    lease, now = new_id(), clock.now()
    assert claims.claim_runs(lease, now=now, until=now + timedelta(seconds=9), most=5) == 2
    asked: list[str] = []
    with watched(connection, lambda statement, _: asked.append(statement)):
        read = claims.claimed_runs(lease)
        found = [(values(run), values(run.event), run._state.adding, run._state.db) for run in read]
    assert len(asked) == 1
    usual = Run.objects.filter(lease=lease).select_related("event").order_by("pk")
    assert found == [(values(run), values(run.event), run._state.adding, run._state.db) for run in usual]
    assert found[0][1]["data"]["é"] == [1, None, "x", 0.5]  # type: ignore[index]
    assert {type(value) for value in found[0][0].values()} >= {type(lease), type(now), bool, int, list, str}
