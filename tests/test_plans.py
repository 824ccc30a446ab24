"""How a database finds what is due: SQLite by its only plan, PostgreSQL by that for all values."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from psycopg import sql

from integrations import clock
from tests.statements import watched
from tests.test_documents import changed
from tests.test_trigger import SEV1
from workflows import delivery, documents, runs, services
from workflows.claims import is_any_mail_due, is_any_run_due
from workflows.events import Incoming
from workflows.ids import new_id
from workflows.inserting import insert
from workflows.models import Delivery, Run

pytestmark = pytest.mark.django_db
PARAMETER = re.compile(r"%\((\w+)\)s")


def named(statement: str, values: Any) -> tuple[str, dict[str, Any]]:
    """Return a statement of Django's compiler as ours are, whose parameters have names."""
    if isinstance(values, dict):
        return statement, values
    names = [f"p{number}" for number in range(len(values))]
    return statement % tuple(f"%({name})s" for name in names), dict(zip(names, values, strict=True))


def plan_for_all_values(statement: str, values: Any) -> str:
    statement, values = named(statement, values)
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    text = PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
    literals = sql.SQL(", ").join(sql.Literal(values[name]) for name in names)
    with connection.connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE asked AS {text}")
        plan = cursor.execute(sql.SQL("EXPLAIN EXECUTE asked ({})").format(literals)).fetchall()
        cursor.execute("DEALLOCATE asked")
    return "\n".join(line for (line,) in plan)


def only_plan(statement: str, values: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", values)
        return "\n".join(row[3] for row in cursor.fetchall())


PLANS = {"postgresql": plan_for_all_values, "sqlite": only_plan}


def copies(of: Delivery, *, number: int) -> list[Delivery]:
    rows = [copy(of) for _ in range(number)]
    for place, row in enumerate(rows, start=2):
        row.pk, row.position, row.content = new_id(), place, b"short"
    return rows


@pytest.fixture
def much_for_tomorrow() -> None:
    """Nearly all runs and mails wait."""
    documents.load(changed("wait", None))
    services.trigger(Incoming("incident_created", SEV1))
    runs.execute_due()
    insert(copies(Delivery.objects.get(), number=5000))
    services.trigger_all([Incoming("incident_created", SEV1)] * 2000)
    tomorrow = clock.now() + timedelta(days=1)
    Run.objects.filter(status="queued").update(due_at=tomorrow)
    Delivery.objects.update(next_attempt_at=tomorrow)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@pytest.mark.usefixtures("much_for_tomorrow")
@pytest.mark.parametrize(("index", "look"), [("run_due", is_any_run_due), ("delivery_due", is_any_mail_due)])
def test_what_is_due_is_found_by_its_index_however_much_waits(index: str, look: Callable[[datetime], bool]) -> None:
    plans: list[str] = []
    with watched(connection, lambda *asked: plans.append(PLANS[connection.vendor](*asked))):
        assert not look(clock.now())
    assert [index in plan for plan in plans] == [True], plans


@pytest.mark.usefixtures("much_for_tomorrow")
@pytest.mark.parametrize(
    ("index", "sweep"), [("run_leased", runs.free_expired_leases), ("delivery_leased", delivery.free_expired_leases)]
)
def test_what_the_dead_held_is_found_among_what_is_held(index: str, sweep: Callable[[], object]) -> None:
    plans: list[str] = []
    with watched(connection, lambda *asked: plans.append(PLANS[connection.vendor](*asked))):
        sweep()
    assert plans
    assert all(index in plan for plan in plans), plans
