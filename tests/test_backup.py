"""A backup, restored by the commands of docs/backup.md: nothing leaves twice, mail leaves under the restored keys."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.core.management import CommandError, call_command
from django.utils import timezone

from integrations.models import AuditEvent
from tests.effort import LONG
from tests.fake_relay import FakeRelay
from tests.installation import EXAMPLES, ROOT, fresh_postgres
from tests.test_search import made
from workflows import deadlines, documents, heartbeat, interventions, restored, runs, services
from workflows.events import Incoming
from workflows.ids import new_id
from workflows.models import Delivery, Heartbeat, Run, Workflow
from workflows.search import DeliveryFilter

PAGE = (ROOT / "docs" / "backup.md").read_text()
DJANGO = """
import json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "rootmail.settings"
import django
django.setup()
from django.core.management import call_command
from integrations.models import SmtpIntegration
from workflows import runs, services, tasks
from workflows.events import Incoming
from workflows.models import Delivery, Run
services.ring = lambda: None
tasks.work.delay = lambda: tasks.work()
data = json.load(open(sys.argv[1]))
trigger = lambda: services.trigger(Incoming("incident_created", data))
"""
BEFORE = f"""{DJANGO}
call_command("migrate", verbosity=0)
call_command("workflow", "load", sys.argv[2])
SmtpIntegration(
    connected=True, address="127.0.0.1", port=int(sys.argv[3]), ssl=False, enable_starttls_auto=False,
    default_from="desk@example.com",
).save()
trigger()
runs.execute_due()  # two mails are due
trigger()  # and a run
"""
SINCE = f"{DJANGO}\ntasks.work()\n"
AFTER = f"""{DJANGO}
tasks.work()
states = [Delivery.objects.values_list("state", flat=True), Run.objects.values_list("status", flat=True)]
print(json.dumps([sorted(one) for one in states]))
trigger()
tasks.work()
"""


def commands(heading: str) -> str:
    """Return the commands that the page gives below a heading."""
    section = PAGE.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    found = re.findall(r"^    (.+)$", section, re.MULTILINE)
    assert found, heading
    return "\n".join(found).replace(".venv/bin/python", sys.executable)


class Place:
    """A state folder, and maybe a database elsewhere."""

    def __init__(self, folder: Path, *, backup: Path, url: str) -> None:
        own = {"ROOTMAIL_VAR": str(folder), "BACKUP": str(backup), "BROKER_URL": "redis://127.0.0.1:1/0"}
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(backup), "PYTHONPATH": str(ROOT)} | own
        self.environment |= {"DATABASE_URL": url, "SECRET_KEY": "s" * 40, "FERNET_KEYS": "f" * 40} if url else {}

    def carry_out(self, *arguments: str) -> str:
        done = subprocess.run(
            arguments, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def python(self, script: str, *arguments: str) -> str:
        files = str(EXAMPLES / "incident.json"), str(EXAMPLES / "workflows.json")
        return self.carry_out(sys.executable, "-c", script, *files, *arguments)

    def shell(self, heading: str) -> str:
        return self.carry_out("bash", "-euc", commands(heading))


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Place, Place]]:
    """Where it was, and where it is restored."""
    (backup := tmp_path / "backup").mkdir()
    with ExitStack() as stack:
        urls = ["", ""] if request.param == "SQLite" else [stack.enter_context(fresh_postgres()) for _ in range(2)]
        first, second = (
            Place(tmp_path / name, backup=backup, url=url) for name, url in zip(("a", "b"), urls, strict=True)
        )
        yield request.param, first, second


@LONG
@pytest.mark.processes
def test_what_is_restored_as_the_page_says_sends_nothing_twice_and_goes_on(places: tuple[str, Place, Place]) -> None:
    kind, first, second = places
    with FakeRelay() as relay:
        first.python(BEFORE, str(relay.port))
        first.shell(kind)
        first.python(SINCE)
        assert len(relay.ledger) == 4, "the two mails and those of the run leave after the backup"

        second.shell(f"Restore {kind}")
        assert "2 mails held, 1 runs cancelled." in second.shell("Before the workers start")
        states, statuses = json.loads(second.python(AFTER))
        assert (states, statuses) == (["held", "held"], ["canceled", "started"])
        assert len(relay.ledger) == 6, "only the mails of the new event leave, to the relay that only the key can name"


# Holding back


@pytest.fixture
def _no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_app.control, "ping", lambda **_: [])
    monkeypatch.setattr(services, "ring", lambda: None)


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
def test_every_mail_that_was_on_its_way_is_held_and_what_has_ended_is_left_alone() -> None:
    lease = {"lease": new_id(), "lease_expires_at": timezone.now() + timedelta(minutes=5)}
    for state in Delivery.State.values:
        made(state, state=state, next_attempt_at=timezone.now(), **lease if state == "sending" else {})
    call_command("after_restore")
    assert Delivery.objects.filter(state="held").count() == 1, "without --yes nothing is done"
    call_command("after_restore", "--yes")
    now = dict(Delivery.objects.values_list("subject", "state"))
    held = dict.fromkeys(("queued", "sending", "deferred", "unknown", "held"), "held")
    assert now == held | {state: state for state in Delivery.FINAL}
    assert not Delivery.objects.exclude(lease=None).exists()
    assert restored.count() == restored.Doubtful(0, 0)
    deadlines.end_overdue()  # as the first sweep does: those of an older backup were over
    assert Delivery.objects.filter(state="held").count() == 5, "people have their time to decide"
    [entry] = AuditEvent.objects.all()
    assert (entry.action, entry.details) == ("restored from a backup", {"held": 4, "cancelled": 0})
    assert interventions.intervene("consider-delivered", DeliveryFilter(state=("held",)), actor="ada").done == 5


@pytest.mark.django_db
@pytest.mark.usefixtures("_no_worker")
def test_runs_that_were_due_are_cancelled_and_what_repeats_goes_on_later() -> None:
    documents.load(json.loads((EXAMPLES / "workflows.json").read_text()))
    Workflow.objects.update(repeat_every_duration="1 day", conditions=[])
    data: dict[str, Any] = json.loads((EXAMPLES / "incident.json").read_text())
    [first] = services.trigger(Incoming("incident_created", data)).runs
    [later] = services.trigger(Incoming("incident_created", data)).runs
    long_ago = timezone.now() - timedelta(days=3, hours=1)
    Run.objects.filter(pk=first.pk).update(due_at=long_ago)
    Run.objects.filter(pk=later.pk).update(due_at=timezone.now() + timedelta(hours=1))
    assert restored.hold_back(actor="ada") == restored.Doubtful(0, 1)
    first.refresh_from_db()
    assert (first.status, first.status_message) == ("canceled", restored.MAYBE_CARRIED_OUT)
    [repeat] = Run.objects.filter(first=first)
    assert repeat.due_at == long_ago + timedelta(days=4)
    assert not runs.execute_due()
    assert set(Run.objects.exclude(pk=first.pk).values_list("status", flat=True)) == {"queued"}


@pytest.mark.django_db
def test_nothing_is_held_while_a_worker_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    made("queued", state="queued")
    monkeypatch.setattr(current_app.control, "ping", lambda **_: [{"up1@here": {"ok": "pong"}}])
    with pytest.raises(CommandError, match="up1@here runs: stop the workers first"):
        call_command("after_restore", "--yes")
    assert Delivery.objects.get().state == "queued"


@pytest.mark.django_db
def test_nothing_is_held_while_a_worker_writes_whatever_broker_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: Any) -> None:
        raise OSError("connection refused")

    made("queued", state="queued")
    monkeypatch.setattr(current_app.control, "ping", away)
    heartbeat.beat()
    with pytest.raises(CommandError, match="wrote to this database 0 seconds ago"):
        call_command("after_restore", "--yes")
    assert Delivery.objects.get().state == "queued"
    Heartbeat.objects.update(at=timezone.now() - timedelta(minutes=1))
    call_command("after_restore", "--yes")
    assert Delivery.objects.get().state == "held"
