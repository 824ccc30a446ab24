"""A thousand workflows hear an event: few queries, and their number does not grow."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.statements import watched
from workflows import services
from workflows.events import Incoming
from workflows.models import Run, Workflow

pytestmark = pytest.mark.django_db


def workflows(number: int, *, matching: int) -> None:
    Workflow.objects.all().delete()
    Workflow.objects.bulk_create(
        Workflow(
            slug=f"w{one}",
            name=f"Workflow {one}",
            trigger_type="incident",
            triggers=["incident_created"],
            run_once_per_resource=one % 2 == 0,
            conditions=[{"path": "incident.team", "operator": "IS", "values": [f"t{one % (number // matching)}"]}],
        )
        for one in range(number)
    )


def queries() -> int:
    asked: list[str] = []
    with watched(connection, lambda statement, _: asked.append(statement)):
        done = services.trigger(Incoming("incident_created", {"incident": {"id": 0, "team": "t0"}}))
    assert len(done.runs) == 10
    return len(asked)


def test_the_number_of_queries_does_not_grow_with_the_number_of_workflows() -> None:
    workflows(20, matching=10)
    few = queries()
    Run.objects.all().delete()
    workflows(1000, matching=10)
    assert queries() == few
    assert few <= 8
