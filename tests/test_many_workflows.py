"""A thousand workflows hear an event: few queries, and their number does not grow."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

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
    with CaptureQueriesContext(
        connection,
    ) as caught:
        done = services.trigger(Incoming("incident_created", {"incident": {"id": len(caught), "team": "t0"}}))
    assert len(done.runs) == 10
    return len(caught)


def test_the_number_of_queries_does_not_grow_with_the_number_of_workflows() -> None:
    workflows(20, matching=10)
    few = queries()
    Run.objects.all().delete()
    workflows(1000, matching=10)
    assert queries() == few
    assert few <= 8
