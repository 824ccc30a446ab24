"""A million deliveries on PostgreSQL: nothing that runs often, and no page, goes through a whole table.

The plans are asked for, not the time: a plan is the same on a slow machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import environ
import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.db.utils import load_backend
from django.utils import timezone

from rootmail import metrics
from tests.installation import fresh_postgres
from tests.statements import watched
from workflows import counting, history, ids, interventions, leases, search, story
from workflows.counting_models import CountMark
from workflows.models import Attempt, Delivery
from workflows.search import DeliveryFilter

# One worker of the test runner for all of them: the table is filled once.
pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("a million")]

ROWS = 1_000_000
DAYS = 90  # over which they are spread
TABLES = {"workflows_delivery", "workflows_recipient", "workflows_attempt"}
SCENERY = """
INSERT INTO workflows_workflow (id, slug, name, enabled, trigger_type, triggers, condition, conditions, wait,
    give_up_after, on_unknown, created_at, updated_at, repeat_every_duration, repeat_on, time_zone, locked,
    repeat_condition_duration_since_first_run, continuously_repeat, run_once_per_resource)
SELECT g, 'workflow-' || g, 'Workflow ' || g, true, 'incident', '[]', 'ALL', '[]', '', '', 'retry', now(), now(),
    '', '[]', '', false, '', false, false
FROM generate_series(1, 20) g;
INSERT INTO workflows_event (id, name, resource, data, received_at)
VALUES (%(event)s, 'incident_created', '', '{}', now());
INSERT INTO workflows_run (id, workflow_id, event_id, status, triggered_by, tries, status_message, due_at, manual,
    number, stopped, checks)
SELECT lpad(to_hex(g), 32, '0')::uuid, g, %(event)s, 'started', 'system', 0, '', now(), false, 0, false, '[]'
FROM generate_series(1, 20) g;
"""
# 99 of 100 accepted; of the others most have failed, and a few are in each of the other states.
DELIVERIES = """
INSERT INTO workflows_delivery (id, run_id, workflow_id, action_name, position, optional, state, reason, message_id,
    requested_from, sent_from, provider, subject, content, warnings, triggered_at, accepted_at, next_attempt_at,
    give_up_at, hold_unknown, tries, purged_at, lease, lease_expires_at, provider_id)
SELECT (lpad(to_hex(%(first)s + g::bigint * %(step)s), 12, '0') || '7000' || '8' || lpad(to_hex(g), 15, '0'))::uuid,
    lpad(to_hex(workflow), 32, '0')::uuid, workflow, 'Mail', g, false, state, '', '<x@rootmail.example>', '', '',
    (ARRAY['smtp', 'smtp', 'smtp', 'smtp', 'sendgrid', 'default'])[1 + g %% 6], 'SEV1: part ' || g, 'x', '[]', now(),
    CASE state WHEN 'accepted' THEN now() END,
    CASE WHEN state IN ('queued', 'deferred', 'unknown') THEN now() + make_interval(secs => g %% 7200 - 600) END,
    now() + make_interval(hours => g %% 24 - 1), false, 1,
    CASE WHEN g < %(purged)s THEN now() END,
    CASE state WHEN 'sending' THEN lpad(to_hex(g / 50), 32, '0')::uuid END,
    CASE state WHEN 'sending' THEN now() + make_interval(secs => g %% 600 - 60) END,
    'id-' || g
FROM (SELECT g, CASE WHEN g %% 997 = 0 THEN 20 ELSE 1 + g %% 19 END AS workflow,
    CASE WHEN g %% 100 > 0 THEN 'accepted' ELSE (ARRAY['failed', 'failed', 'failed', 'failed', 'failed', 'deferred',
        'queued', 'unknown', 'held', 'cancelled', 'sending'])[1 + (g / 100) %% 11] END AS state
    FROM generate_series(1, %(rows)s) g) AS made;
"""
RECIPIENTS = """
INSERT INTO workflows_recipient (delivery_id, address, kind, state, enhanced_code, reply)
SELECT id, CASE WHEN position %% 3 = 0 THEN 'OnCall@example.org' ELSE 'r' || position %% 200000 || '@example.org' END,
    'to', CASE state WHEN 'accepted' THEN 'accepted' ELSE 'queued' END, '', '' FROM workflows_delivery;
"""
ATTEMPTS = """
INSERT INTO workflows_attempt (delivery_id, at, provider, stage, outcome, code, enhanced_code, reply, tls, milliseconds,
    transcript)
SELECT id, now(), provider, 'data', CASE state WHEN 'accepted' THEN 'accepted' ELSE 'deferred' END,
    CASE state WHEN 'accepted' THEN 250 ELSE 451 END, '', '', '', 40, '' FROM workflows_delivery
    WHERE position %% 10 = 0;
"""
# Everything but the primary keys, with the statement that makes it again.
CONSTRAINTS = """
SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', conrelid::regclass, conname),
    format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid::regclass::text = ANY(%(tables)s) AND contype IN ('f', 'u', 'c')
"""
INDEXES = """
SELECT format('DROP INDEX %%I', indexname), indexdef FROM pg_indexes WHERE tablename = ANY(%(tables)s)
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = indexname)
"""


@pytest.fixture(scope="session")
def filled(django_db_blocker: Any) -> Iterator[str]:
    """Fill a database with a million deliveries, once: the tests of this file need not follow one another."""
    with fresh_postgres() as url:
        with django_db_blocker.unblock(), in_place_of_default(url):
            call_command("migrate", verbosity=0)
        with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            fill(connection.cursor())
        yield url


@pytest.fixture
def million(filled: str, django_db_blocker: Any) -> Iterator[Any]:
    """Put that database in the place of the usual one."""
    with django_db_blocker.unblock(), in_place_of_default(filled) as connection:
        yield connection


@contextmanager
def in_place_of_default(url: str) -> Iterator[Any]:
    usual = connections["default"]
    settings = usual.settings_dict | {"CONN_MAX_AGE": None} | environ.Env.db_url_config(url)
    settings |= {"ENGINE": "rootmail.postgresql", "OPTIONS": {"server_side_binding": True}}
    connection = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, "default")
    connections["default"] = connection
    try:
        yield connection
    finally:
        connection.close()
        connections["default"] = usual


def fill(cursor: Any) -> None:
    """Fill the tables while they have no index but the primary key: building one at the end is quicker."""
    values = {
        "event": ids.new_id(), "rows": ROWS, "purged": ROWS // 2, "tables": sorted(TABLES),
        "first": ids.first_id_at(timezone.now() - timedelta(days=DAYS)).int >> 80,
        "step": DAYS * 24 * 3600 * 1000 // ROWS,
    }  # fmt: skip
    cursor.execute("SET synchronous_commit = off; SET maintenance_work_mem = '256MB'")
    cursor.execute(CONSTRAINTS, values)
    parts = cursor.fetchall()
    cursor.execute(INDEXES, values)
    parts += cursor.fetchall()
    for drop, _ in sorted(parts, key=lambda part: "FOREIGN" not in part[1]):
        cursor.execute(drop)
    for statement in (SCENERY, DELIVERIES, RECIPIENTS, ATTEMPTS):
        cursor.execute(statement, values)
    for _, make in sorted(parts, key=lambda part: "FOREIGN" in part[1]):
        cursor.execute(make)
    cursor.execute("ANALYZE")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def whole_tables(connection: Any, act: Callable[[], Any]) -> list[str]:
    """Return the tables that the statements of `act` go through from end to end, each with its statement."""
    found = []

    def look(sql: str, values: Any) -> None:
        if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            with connection.connection.cursor() as cursor:
                plan = cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", values).fetchone()[0]
            read = {node.get("Relation Name") for node in nodes(plan[0]["Plan"]) if node["Node Type"] == "Seq Scan"}
            found.extend(f"{table}: {sql}" for table in read & TABLES)

    with watched(connection, look):
        act()
    return found


def long_ago() -> datetime:
    return timezone.now() - timedelta(days=DAYS // 2)


def overdue() -> Any:
    rows = Delivery.objects.filter(state__in=Delivery.WAITING, give_up_at__lte=timezone.now())
    return list(rows.order_by("give_up_at").values_list("pk")[:100])


def expired() -> Any:
    rows = Delivery.objects.filter(lease__isnull=False, lease_expires_at__lt=timezone.now())
    return list(rows.values_list("lease", flat=True).distinct())


def to_purge() -> Any:
    rows = Delivery.objects.filter(purged_at__isnull=True, pk__lt=ids.first_id_at(timezone.now() - timedelta(days=30)))
    return list(rows.order_by("pk").values_list("pk")[:500])


@pytest.mark.parametrize("act", [lambda: leases.Lease().claim(), expired, overdue, to_purge, history.waiting])
def test_what_workers_ask_for_all_the_time_reads_no_table_from_end_to_end(million: Any, act: Callable[[], Any]) -> None:
    answers = []
    assert whole_tables(million, lambda: answers.append(act())) == []
    assert answers[0], "it must find something, or its plan proves nothing"


# Not among them: codes, parts of an address and of a subject, which have no index (see search.py).
FILTERS = {
    "everything": DeliveryFilter(),
    "common state": DeliveryFilter(state=("accepted",)),
    "rare state": DeliveryFilter(state=("held",)),
    "two states": DeliveryFilter(state=("failed", "cancelled")),
    "provider": DeliveryFilter(provider="sendgrid"),
    "workflow": DeliveryFilter(workflow="workflow-3"),
    "rare workflow": DeliveryFilter(workflow="workflow-20"),
    "rare recipient": DeliveryFilter(recipient="R4711@example.org"),
    "common recipient": DeliveryFilter(recipient="oncall@example.org"),
    "unknown recipient": DeliveryFilter(recipient="nobody@example.net"),
    "time": DeliveryFilter(since=long_ago(), until=long_ago() + timedelta(hours=3)),
    "failed since, in a workflow": DeliveryFilter(state=("failed",), workflow="workflow-3", since=long_ago()),
    "failed through a provider": DeliveryFilter(state=("failed",), provider="smtp"),
    "failed to a recipient": DeliveryFilter(state=("failed",), recipient="oncall@example.org"),
    "message id": DeliveryFilter(search=f"<{ids.first_id_at(long_ago()).hex}@rootmail.example>"),
}


@pytest.mark.parametrize("name", FILTERS)
def test_no_page_of_the_list_reads_a_table_from_end_to_end(million: Any, name: str) -> None:
    wanted, middle = FILTERS[name], ids.first_id_at(long_ago() + timedelta(hours=1))
    assert whole_tables(million, lambda: search.page(wanted)) == []
    assert whole_tables(million, lambda: search.page(wanted, before=middle)) == []
    assert whole_tables(million, lambda: search.page(wanted, after=middle)) == []


def test_the_page_of_one_delivery_reads_no_table_from_end_to_end(million: Any) -> None:
    rows = interventions.with_refusals(Delivery.objects.filter(pk=search.page(DeliveryFilter()).rows[7].pk))
    assert whole_tables(million, lambda: story.of(story.with_counts(rows).get())) == []


@pytest.mark.parametrize("verb", interventions.VERBS)
def test_neither_counting_nor_acting_on_the_failed_reads_a_table_from_end_to_end(million: Any, verb: str) -> None:
    failed = DeliveryFilter(state=("failed",), since=timezone.now() - timedelta(days=3))
    assert whole_tables(million, lambda: interventions.tally(verb, failed)) == []
    assert whole_tables(million, lambda: interventions.intervene(verb, failed, actor="ada", seconds=0)) == []


def counted() -> float:
    """Return how many attempts through SMTP have been counted, without those that are only added for a reader."""
    return sum(value for key, value in counting._counted().items() if key[:2] == ("attempts", "smtp"))


def mark() -> CountMark:
    return CountMark.objects.get()


@pytest.fixture
def begun(million: Any) -> Iterator[Any]:
    """Nothing is counted yet, and nothing is left over to count."""
    counting.count_new()
    yield million
    with million.cursor() as cursor:
        cursor.execute("DELETE FROM workflows_count; DELETE FROM workflows_countmark")


def write_attempt(cursor: Any, delivery: Any) -> int:
    """Write as workers do: first the delivery, then its attempt. Return the attempt's number."""
    cursor.execute("UPDATE workflows_delivery SET tries = 2 WHERE id = %s", [delivery])
    cursor.execute(
        "INSERT INTO workflows_attempt (delivery_id, at, provider, stage, outcome, enhanced_code, reply, tls, "
        "milliseconds, transcript) VALUES (%s, now(), 'smtp', 'data', 'accepted', '2.0.0', '', '', 40, '') "
        "RETURNING id",
        [delivery],
    )
    return int(cursor.fetchone()[0])


def test_an_attempt_that_is_committed_late_is_counted_too(begun: Any, filled: str) -> None:
    early, late = Delivery.objects.order_by("pk").values_list("pk", flat=True)[:2]
    with psycopg.connect(filled) as slow, begun.cursor() as quick:
        lower = write_attempt(slow.cursor(), late)
        assert lower < write_attempt(quick, early)
        for _ in range(5):
            counting.count_new()
            assert mark().attempts < lower, "the lower number is still to come"
        slow.commit()
    for _ in range(3):
        counting.count_new()
    assert counted() == 2


def test_a_transaction_without_end_does_not_hold_up_the_count_for_ever(
    begun: Any, filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = Delivery.objects.order_by("pk").values_list("pk", flat=True)[:2]
    with psycopg.connect(filled) as frozen, begun.cursor() as cursor:
        write_attempt(frozen.cursor(), late)
        write_attempt(cursor, early)
        for _ in range(3):
            counting.count_new()
        assert counted() == 0
        monkeypatch.setattr(counting, "LONGEST", timedelta(seconds=-1))
        for _ in range(2):
            counting.count_new()
        assert counted() == 1


def test_a_transaction_about_something_else_holds_up_nothing(begun: Any, filled: str) -> None:
    with psycopg.connect(filled) as other, begun.cursor() as cursor:
        other.execute("UPDATE workflows_workflow SET name = name WHERE id = 1")
        write_attempt(cursor, Delivery.objects.order_by("pk").values_list("pk", flat=True)[0])
        for _ in range(3):
            counting.count_new()
        assert counted() == 1


def test_a_scrape_reads_no_table_from_end_to_end_and_takes_no_time(begun: Any) -> None:
    last = Attempt.objects.latest("pk").pk
    CountMark.objects.update(attempts=last - counting.STEP)  # as many as are added for a reader
    assert whole_tables(begun, lambda: metrics.exposition("")) == []
    assert whole_tables(begun, counting.count_new) == []
    began = time.monotonic()
    text, _ = metrics.exposition("")
    took = time.monotonic() - began
    assert b'rootmail_attempts_total{outcome="accepted",provider="smtp"} 1' in text, "it must find something"
    assert took < 3, "it takes a tenth of that, but machines are slow sometimes"
