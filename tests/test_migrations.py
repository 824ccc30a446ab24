"""Old code works on the new schema, as docs/upgrading.md promises; and what an old installation holds arrives whole."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import chain
from pathlib import Path
from threading import Timer
from unittest.mock import Mock

import psycopg
import pytest
from django.db import OperationalError
from django.db.migrations import operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Field

from rootmail import celery, health
from rootmail.management.commands import migrate
from tests import old_rows
from tests.installation import ROOT, Installation, fresh_postgres, wait_until
from workflows.migrating import TakeTables

# What came before the rule, or was judged by a person: old code never writes the columns of `one_note_per_lease`, and
# the constraints of 0017 are those of before, over fewer rows.
BEFORE = {"integrations": 8, "workflows": 17}
HARMLESS = (
    operations.CreateModel,
    operations.AddIndex,
    operations.RemoveIndex,
    operations.RenameIndex,
    operations.RemoveConstraint,
    operations.AlterModelOptions,
    operations.AlterModelManagers,
    operations.RunPython,
    operations.RunSQL,
    TakeTables,
)
LOADER = MigrationLoader(None)


def breaks(migration: Migration) -> list[str]:
    """Return what of a migration old code stumbles over: it knows neither the new columns nor what they demand."""
    state = LOADER.project_state((migration.app_label, migration.name), at_end=False)
    made = {one.name_lower for one in migration.operations if isinstance(one, operations.CreateModel)}
    found = []
    for operation in migration.operations:
        for one in _on_the_database(operation):
            if getattr(one, "model_name_lower", "") not in made and not _is_harmless(one, migration.app_label, state):
                found.append(one.describe())
        operation.state_forwards(migration.app_label, state)
    return found


def _on_the_database(operation: Operation) -> Iterator[Operation]:
    if isinstance(operation, operations.SeparateDatabaseAndState):
        yield from chain.from_iterable(map(_on_the_database, operation.database_operations))
    else:
        yield operation


def _is_harmless(operation: Operation, app: str, before: ProjectState) -> bool:
    if isinstance(operation, operations.AddField):
        field = operation.field
        return field.many_to_many or field.null or field.has_db_default()
    if isinstance(operation, operations.AlterField):
        old = before.models[app, operation.model_name_lower].fields[operation.name]
        return _takes_all_that(old, operation.field)
    return isinstance(operation, HARMLESS)


def _takes_all_that(old: Field, new: Field) -> bool:  # type: ignore[type-arg]
    longer = new.max_length is None or (old.max_length is not None and old.max_length <= new.max_length)
    kept = (
        type(old) is type(new) and old.db_column == new.db_column and (new.has_db_default() or not old.has_db_default())
    )
    return kept and longer and (new.null or not old.null) and (old.unique or not new.unique)


@pytest.mark.parametrize("app", BEFORE)
def test_old_code_works_on_what_migrations_make_or_the_manual_says_so(app: str) -> None:
    """Whoever breaks the rule names the migration in docs/upgrading.md: there everything has to be stopped before."""
    told = (ROOT / "docs" / "upgrading.md").read_text()
    new = [one for one in LOADER.disk_migrations.values() if one.app_label == app and int(one.name[:4]) > BEFORE[app]]
    assert {one.name: breaks(one) for one in new if one.name not in told and breaks(one)} == {}


def altered(migration: Migration) -> set[str]:
    """Return the models whose tables are altered."""
    made = {one.name_lower for one in migration.operations if isinstance(one, operations.CreateModel)}
    all_of_it = chain.from_iterable(map(_on_the_database, migration.operations))
    return {getattr(one, "model_name_lower", "") for one in all_of_it} - made - {""}


@pytest.mark.parametrize("app", BEFORE)
def test_what_alters_several_tables_takes_them_at_once(app: str) -> None:
    new = [one for one in LOADER.disk_migrations.values() if one.app_label == app and int(one.name[:4]) >= BEFORE[app]]
    for migration in new:
        if len(altered(migration)) > 1:
            first = migration.operations[0]
            assert isinstance(first, TakeTables), migration.name
            assert {*first.models} == altered(migration)


def test_breaks_of_the_rule_are_found() -> None:
    """There were some, before there was a release."""
    found = {name: breaks(one) for (app, name), one in LOADER.disk_migrations.items() if app == "workflows"}
    assert "Add field reply_to to action" in found["0008_reply_to"]
    assert "Add field resource to event" in found["0009_repeats"]
    assert "Add field first to run" not in found["0009_repeats"]
    assert "Alter field state on recipient" not in found["0012_told"]
    assert found["0014_noted_acceptances"] == ["Create constraint one_note_per_lease on model attempt"]
    assert found["0010_webhooks"] == found["0013_counts"] == found["0015_start_of_postgresql"] == []


UPGRADE = """
import json
from rootmail import celery, health
from tests import old_rows
old_rows.upgrade()
from django.contrib.auth.models import User
from integrations.models import AuditEvent, SmtpIntegration
from workflows.models import Delivery, Event, Run
smtp = SmtpIntegration.objects.get()
print(json.dumps({
    "relay": [smtp.connected, smtp.address, smtp.user_name, smtp.password],
    "rights": [AuditEvent.objects.get().details, User.objects.get().has_perm("integrations.manage_integrations")],
    "workflows": list(Delivery.objects.order_by("pk").values_list("workflow__slug", flat=True)),
    "runs": list(Run.objects.order_by("pk").values_list("workflow__slug", "status", "number", "once_key")),
    "resources": list(Event.objects.order_by("pk").values_list("resource", flat=True)),
}))
"""
UPGRADED = {
    "relay": [True, "mail.example.com", "rely", "hunter2"],
    "rights": [{"name": "ada"}, False],
    "workflows": [f"old-{number}" for number in range(len(old_rows.STATES))],
    "runs": [
        *[[f"old-{number}", "started", 0, None] for number in range(len(old_rows.STATES))],
        ["waits", "queued", 0, None],
        ["old-0", "completed", 0, "custom.order:3"],
        ["old-0", "queued", 1, None],
    ],
    "resources": ["", "custom.order:3"],
}


def check_upgrade(installation: Installation) -> None:
    said = installation.manage("shell", "--verbosity", "0", "-c", UPGRADE)
    assert json.loads(said) == UPGRADED
    mails = installation.deliveries()
    assert [mail["state"] for mail in mails] == list(old_rows.STATES)
    later = {"code": 450, "enhanced_code": None, "reply": "later"}
    assert {json.dumps(mail["recipients"]) for mail in mails} == {
        json.dumps([{"address": "b@example.com", "kind": "to", "state": "queued", **later, "told": []}])
    }
    assert {(len(mail["attempts"]), mail["attempts"][0]["reply"]) for mail in mails} == {(1, "later")}
    assert [bool(mail["next_attempt_at"]) for mail in mails] == [state in old_rows.DUE for state in old_rows.STATES]


@pytest.mark.processes
def test_rows_of_the_first_version_arrive_whole_on_sqlite(tmp_path: Path) -> None:
    check_upgrade(Installation(tmp_path))


@pytest.mark.processes
def test_rows_of_the_first_version_arrive_whole_on_postgresql(tmp_path: Path) -> None:
    with fresh_postgres() as url:
        check_upgrade(Installation(tmp_path, database_url=url))


SENT = {  # by processes of before, with these arguments
    "workflows.tasks.work": (0.0,),
    **dict.fromkeys([f"workflows.tasks.{name}" for name in ("sweep", "show_life", "forget_old", "count_new")], ()),
    "integrations.tasks.run_errand": ("b7c5",),
    **dict.fromkeys([f"integrations.tasks.{name}_password_link" for name in ("send", "mail")], (1,)),
    **dict.fromkeys([f"integrations.tasks.forget_{name}" for name in ("errands", "sessions")], ()),
    **dict.fromkeys([f"integrations.tasks.{name}" for name in ("tell_admins", "recheck_integrations")], ()),
}


@pytest.mark.django_db
def test_workers_take_what_processes_of_before_send() -> None:
    """A task that a worker does not know is thrown away: of a link to set a password, nobody would send it again."""
    celery.app.loader.import_default_modules()
    for name, arguments in SENT.items():
        inspect.signature(celery.app.tasks[name].run).bind(*arguments)


@pytest.mark.processes
def test_no_worker_starts_on_tables_of_before(tmp_path: Path) -> None:
    """It would hand a mail over without being able to note that the relay has taken it."""
    here = Installation(tmp_path, broker_url="redis://127.0.0.1:1/0")  # nobody is there
    worker = [sys.executable, "-m", "celery", "-A", "rootmail", "worker", "--concurrency=1"]
    done = subprocess.run(worker, cwd=ROOT, env=here.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "migrations are missing. Run 'manage.py migrate'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_waits_for_a_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.MIGRATIONS, "missing", Mock(side_effect=OperationalError))
    celery.refuse_tables_of_before()


@pytest.mark.processes
def test_a_migration_holds_no_table_while_it_waits_for_another_one(tmp_path: Path) -> None:
    with fresh_postgres() as database:
        here = Installation(tmp_path, database_url=database)
        here.manage("migrate", "workflows", "0016", "-v0")
        with psycopg.connect(database) as worker:
            worker.execute("SET lock_timeout = '1s'")
            worker.execute("SELECT 1 FROM workflows_run")
            with migrating(here) as process:
                wait_until(lambda: is_taking_tables(database), what="the migration that waits")
                for _ in range(20):
                    worker.execute("SELECT 1 FROM workflows_attempt")  # else it would hold this one by now
                assert process.poll() is None
                worker.commit()
                assert process.wait() == 0
        assert "[ ]" not in here.manage("showmigrations")


@pytest.mark.processes
def test_events_do_not_wait_for_a_backup_behind_a_migration_that_does(tmp_path: Path) -> None:
    with fresh_postgres() as database:
        here = Installation(tmp_path, database_url=database)
        here.manage("migrate", "workflows", "0017", "-v0")
        with psycopg.connect(database) as backup, psycopg.connect(database) as event:
            backup.execute("SELECT 1 FROM workflows_event")
            with migrating(here) as process:
                assert process.stderr
                assert process.stderr.readline() == GAVE_WAY
                event.execute("SET lock_timeout = '10s'")
                event.execute("DELETE FROM workflows_event")  # whatever writes
                event.commit()
                backup.commit()
                assert process.wait() == 0


GAVE_WAY = "It gave way to others that are at work on the same tables: again in 0.5 s.\n"


@contextmanager
def migrating(installation: Installation) -> Iterator[subprocess.Popen[str]]:
    """Migrate beside what the test does, for a minute and a half at the most."""
    command, environment = [sys.executable, "manage.py", "migrate", "-v0"], installation.environment
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    (limit := Timer(90, process.kill)).start()
    try:
        yield process
    finally:
        limit.cancel()
        process.kill()
        process.communicate()


def is_taking_tables(database: str) -> bool:
    with psycopg.connect(database) as onlooker:
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LOCK TABLE%'"
        return onlooker.execute(query).fetchone() is not None


def test_another_error_of_the_database_ends_migrate_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = Mock(side_effect=OperationalError("the disk is full"))
    monkeypatch.setattr(migrate.migrate.Command, "handle", tried)
    with pytest.raises(OperationalError, match="the disk is full"):
        migrate.Command().handle(database="default")
    assert tried.call_count == 1


def test_a_deadlock_is_no_end_of_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlock = OperationalError("deadlock detected")
    deadlock.__cause__ = psycopg.errors.DeadlockDetected()
    tried = Mock(side_effect=[deadlock, deadlock, None])
    monkeypatch.setattr(migrate.migrate.Command, "handle", tried)
    monkeypatch.setattr(migrate, "PAUSES", (0.0, 0.0))
    migrate.Command(stderr=StringIO()).handle(database="default")
    tried.side_effect = [deadlock] * 3
    with pytest.raises(OperationalError, match="deadlock detected"):
        migrate.Command(stderr=StringIO()).handle(database="default")
    assert tried.call_count == 6
