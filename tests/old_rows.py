"""What an installation of the first version and of a later one held, and what the migrations make of it.

Run in a process of its own, on a database without tables. Rows are written through the models as they were.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MAIL = b"From: a@example.com\r\nTo: b@example.com\r\nMessage-ID: <1@example.com>\r\nSubject: S\r\n\r\nHello\r\n"
STATES = ("queued", "accepted", "deferred", "failed", "unknown")
DUE = ("queued", "deferred", "unknown")
NAMED = {"name": "Old", "trigger_type": "incident", "triggers": ["incident_created"]}
ACCOUNTS = [("auth", "0012_alter_user_first_name_max_length"), ("contenttypes", "0002_remove_content_type_name")]


def upgrade() -> None:
    """Fill a database as of the first migrations and as of later ones, and migrate it to the last."""
    _fill_first(_Then(("workflows", "0001_initial"), ("integrations", "0001_initial"), *ACCOUNTS))
    _fill_later(_Then(("workflows", "0015_start_of_postgresql")))
    call_command("migrate", verbosity=0)


class _Then:
    """The database and the models as of some migrations."""

    def __init__(self, *nodes: tuple[str, str]) -> None:
        MigrationExecutor(connection).migrate(list(nodes))
        self._apps = MigrationExecutor(connection).loader.project_state(list(nodes)).apps

    def make(self, model: str, /, **values: Any) -> Any:
        return self._apps.get_model(model).objects.create(**values)

    def first(self, model: str) -> Any:
        return self._apps.get_model(model).objects.order_by("pk")[0]


def _fill_first(then: _Then) -> None:
    event = then.make("workflows.Event", name="incident_created", key="k", data={"incident": {"id": 7}}, received_at=AT)
    for number, state in enumerate(STATES):  # there was one run for each workflow and event
        workflow = then.make("workflows.Workflow", slug=f"old-{number}", **NAMED)
        run = then.make("workflows.Run", workflow=workflow, event=event, status="started", due_at=AT)
        _mail(then, run, state=state)
    workflow = then.make("workflows.Workflow", slug="waits", wait="2 hours", **NAMED)
    then.make("workflows.Action", workflow=workflow, position=1, name="M", to=["b@example.com"], subject="S", body="B")
    then.make("workflows.Run", workflow=workflow, event=event, due_at=timezone.now() + timedelta(hours=2))
    secrets = {"user_name": "rely", "password": "hunter2"}
    then.make("integrations.SmtpIntegration", connected=True, address="mail.example.com", **secrets)
    kind = then.make("contenttypes.ContentType", app_label="integrations", model="smtpintegration")
    right = then.make("auth.Permission", codename="manage_integrations", name="May", content_type=kind)
    then.make("auth.User", username="ada").user_permissions.add(right)


def _mail(then: _Then, run: Any, *, state: str) -> None:
    due = timezone.now() + timedelta(hours=1) if state in DUE else None
    mail = then.make(
        "workflows.Delivery", run=run, action_name="Mail", position=1, state=state, subject=state, content=MAIL,
        triggered_at=AT, give_up_at=timezone.now() + timedelta(days=1), next_attempt_at=due,
    )  # fmt: skip
    then.make("workflows.Recipient", delivery=mail, address="b@example.com", kind="to", code=450, reply="later")
    then.make("workflows.Attempt", delivery=mail, at=AT, stage="data", outcome="deferred", code=450, reply="later")


def _fill_later(then: _Then) -> None:
    """An event of one's own, with a run that is the only one for its resource and repeats."""
    event = then.make("workflows.Event", name="order.created", data={"id": 3}, resource="custom:3", received_at=AT)
    first = {"workflow": then.first("workflows.Workflow"), "event": event}
    run = then.make("workflows.Run", **first, status="completed", due_at=AT, once_key="custom:3")
    then.make("workflows.Run", **first, first=run, number=1, due_at=timezone.now() + timedelta(hours=1))
