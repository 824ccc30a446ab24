"""Carrying out a run: render, store, settle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.db import DataError, InterfaceError, OperationalError

from integrations import clock
from tests.test_documents import EXAMPLE, SMALL, changed
from workflows import documents, mails, run_ends, runs, services
from workflows.events import Incoming
from workflows.ids import new_id
from workflows.models import Delivery, Recipient, Run, Workflow

pytestmark = pytest.mark.django_db

INCIDENT = json.loads((settings.BASE_DIR / "workflows/examples/incident.json").read_text())
SEV1 = {"incident": {"severity": "SEV1", "title": "Checkout slow", "people": ["b@example.org", "A@EXAMPLE.org"]}}


def queued(document: dict[str, Any], data: dict[str, Any] | None = None) -> Run:
    """Load a workflow and trigger it once."""
    documents.load(document)
    services.trigger(Incoming("incident_created", SEV1 if data is None else data))
    return Run.objects.get()


def with_tasks(*tasks: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Return a workflow without a wait whose tasks differ from the small one's by what is named."""
    base = SMALL["workflows"][0]["tasks"][0]
    made = [
        base | {"position": number, "task_params": base["task_params"] | task} for number, task in enumerate(tasks, 1)
    ]
    return {"workflows": [SMALL["workflows"][0] | {"wait": None, "tasks": made} | values]}


def states(run: Run) -> Sequence[tuple[str, str]]:
    return list(Delivery.objects.filter(run=run).order_by("position").values_list("state", "reason"))


def test_stores_a_delivery_for_each_action_with_its_recipients() -> None:
    run = queued(EXAMPLE, INCIDENT)
    assert runs.execute_due() is False
    run.refresh_from_db()
    assert (run.status, run.lease, run.finished_at) == ("started", None, None)
    first, second = Delivery.objects.order_by("position")
    assert (first.state, first.action_name, first.requested_from, first.subject) == (
        "queued",
        "Mail the teams",
        "Incident Desk <incidents@example.com>",
        "SEV1 - Checkout fails for card payments incident has been started",
    )
    assert list(first.recipients.values_list("address", "kind", "state")) == [
        ("checkout-team@example.com", "to", "queued"),
        ("shop-owners@example.org", "to", "queued"),
        ("payments-team@example.com", "to", "queued"),
        ("severe@example.com", "cc", "queued"),
        ("duty-manager@example.com", "cc", "queued"),
        ("zoe.mueller@example.com", "cc", "queued"),
        ("incident-archive@example.org", "bcc", "queued"),
    ]
    assert (second.requested_from, second.recipients.count()) == ("", 4)
    message = message_from_bytes(bytes(first.content), policy=policy.default)
    assert (message["Message-ID"], message["X-Rootmail-Delivery"]) == (first.message_id, str(first.pk))
    assert (message["Auto-Submitted"], message["From"], message["Bcc"]) == ("auto-generated", None, None)
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]


def test_a_workflow_without_enabled_actions_is_completed_at_once() -> None:
    run = queued(with_tasks())
    runs.execute_due()
    run.refresh_from_db()
    assert (run.status, Delivery.objects.count()) == ("completed", 0)


def test_a_failed_action_ends_the_run_and_says_why() -> None:
    run = queued(with_tasks({"to": ["{{ incident.nobody }}"]}, {}))
    runs.execute_due()
    run.refresh_from_db()
    reason = "to: no address came out of '{{ incident.nobody }}'"
    assert states(run) == [("failed", reason)]
    assert (run.status, run.status_message) == ("failed", f"Mail: {reason}")
    assert run.finished_at is not None


def test_an_action_that_may_be_skipped_lets_the_others_go() -> None:
    document = with_tasks({"subject": "{{ 1 | divided_by: 0 }}"}, {})
    document["workflows"][0]["tasks"][0]["skip_on_failure"] = True
    run = queued(document)
    runs.execute_due()
    run.refresh_from_db()
    assert [state for state, _ in states(run)] == ["failed", "queued"]
    assert "divi" in states(run)[0][1]
    assert run.status == "started"
    Delivery.objects.filter(state="queued").update(state="accepted", next_attempt_at=None)
    run_ends.settle(run.pk)
    run.refresh_from_db()
    assert run.status == "completed_with_errors"


def test_a_reserved_from_that_only_the_event_reveals_is_refused() -> None:
    run = queued(
        with_tasks({"from": "{{ incident.owner }}"}),
        {"incident": {"severity": "sev1", "owner": "x@a.rootmail.EXAMPLE"}},
    )
    runs.execute_due()
    assert states(run)[0][0] == "failed"
    assert "belongs to this installation" in states(run)[0][1]


def test_missing_variables_are_kept_as_warnings() -> None:
    queued(with_tasks({"subject": "{{ incident.colour }} alarm"}))
    runs.execute_due()
    assert Delivery.objects.get().warnings == ["subject: incident.colour is not in this event"]


def test_addresses_are_compared_without_regard_to_the_case_of_their_domain() -> None:
    queued(with_tasks({"to": ["{{ incident.people }}"], "cc": ["A@example.ORG, c@example.org"]}))
    runs.execute_due()
    assert list(Recipient.objects.values_list("address", "kind")) == [
        ("b@example.org", "to"),
        ("A@EXAMPLE.org", "to"),
        ("c@example.org", "cc"),
    ]


def test_a_run_that_waits_is_left_alone_until_its_time() -> None:
    run = queued(changed("wait", "1h"))
    runs.execute_due()
    run.refresh_from_db()
    assert run.status == "queued"
    Run.objects.update(due_at=clock.now())
    runs.execute_due()
    run.refresh_from_db()
    assert run.status == "started"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"enabled": False}, "The workflow was switched off before the run began."),
        (
            {"conditions": [{"path": "incident.severity", "operator": "UNSET"}]},
            "Its conditions do not hold: incident.severity is not set (it is 'SEV1').",
        ),
    ],
)
def test_the_workflow_is_looked_at_again_after_the_wait(change: dict[str, Any], reason: str) -> None:
    run = queued(changed("wait", None))
    Workflow.objects.update(**change)
    runs.execute_due()
    run.refresh_from_db()
    assert (run.status, run.status_message) == ("canceled", reason)
    assert not Delivery.objects.exists()


def test_a_worker_that_lost_its_lease_stores_nothing() -> None:
    run = queued(changed("wait", None))
    run.lease = new_id()
    Run.objects.update(status="started", lease=new_id(), lease_expires_at=clock.now() + timedelta(minutes=1))
    runs.execute(run)
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("ends_in", [timedelta(seconds=-1), timedelta(hours=2)])  # by a clock that was ahead
def test_the_run_of_a_dead_worker_is_queued_again_and_made_once(ends_in: timedelta) -> None:
    queued(changed("wait", None))
    Run.objects.update(status="started", lease=new_id(), lease_expires_at=clock.now() + ends_in)
    assert (runs.free_expired_leases(), runs.free_expired_leases()) == (1, 0)
    runs.execute_due()
    runs.execute_due()
    assert Delivery.objects.count() == 1


def test_a_defect_fails_that_run_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    first = queued(changed("wait", None))
    services.trigger(Incoming("incident_created", SEV1))
    made = runs._made

    def stumble(run: Run) -> runs.Made:
        if run.pk == first.pk:
            raise ZeroDivisionError
        return made(run)

    monkeypatch.setattr(runs, "_made", stumble)
    runs.execute_due()
    assert list(Run.objects.order_by("pk").values_list("status", "lease")) == [("failed", None), ("started", None)]


@pytest.mark.parametrize("failure", [OperationalError("database is locked"), InterfaceError("connection closed")])
def test_a_database_that_is_away_loses_no_run_however_often(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queued(changed("wait", None))

    def stumble(_: Run) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_made", stumble)
        for _ in range(2 * runs.MAX_TRIES):
            Run.objects.update(due_at=clock.now())
            runs.execute_due()
            run.refresh_from_db()
            assert (run.status, run.lease) == ("queued", None)
            assert run.due_at > clock.now()
    Run.objects.update(due_at=clock.now())
    runs.execute_due()
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize("failure", [OperationalError("gone"), InterfaceError("closed")])
def test_a_database_that_goes_away_between_two_runs_leaves_none_leased(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    queued(changed("wait", None))

    def stumble(_: list[runs.Made], **__: Any) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(runs, "_store_together", stumble)
        with pytest.raises(type(failure)):
            runs.execute_due()
    assert Run.objects.values_list("status", "lease", "tries").get() == ("queued", None, 0)


def test_a_workflow_that_is_deleted_in_this_moment_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    queued(changed("wait", None))
    other = changed("slug", "other")
    other["workflows"][0]["wait"] = None
    documents.load(other)
    services.trigger(Incoming("incident_created", SEV1))
    with_workflows = runs._with_workflows

    def delete_first(batch: list[Run]) -> list[Run]:
        Workflow.objects.get(slug="other").delete()
        return with_workflows(batch)

    monkeypatch.setattr(runs, "_with_workflows", delete_first)
    runs.execute_due()
    assert list(Run.objects.values_list("status", "lease")) == [("started", None), ("started", None)]


@pytest.mark.parametrize("failure", [DataError("value out of range"), MemoryError(), OSError(5, "a bad disk")])
def test_a_run_that_cannot_be_carried_out_is_tried_a_few_times(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = queued(changed("wait", None))

    def refuse(_: Run) -> None:
        raise failure

    monkeypatch.setattr(runs, "_made", refuse)
    for _ in range(runs.MAX_TRIES + 1):
        Run.objects.update(due_at=clock.now())
        runs.execute_due()
    run.refresh_from_db()
    assert (run.status, run.status_message) == ("failed", runs.TRIED_TOO_OFTEN)


def test_a_run_that_ends_its_worker_again_and_again_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    run = queued(changed("wait", None))
    Run.objects.update(tries=runs.MAX_TRIES)
    runs.execute_due()
    run.refresh_from_db()
    assert (run.status, run.status_message) == ("failed", runs.TRIED_TOO_OFTEN)


@pytest.mark.django_db(transaction=True)
def test_a_task_that_is_removed_while_it_is_rendered_still_sends_its_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    queued(changed("wait", None))
    render = mails.rendering.render

    def slowly(*args: Any, **kwargs: Any) -> Any:
        documents.load(changed("tasks", []))
        return render(*args, **kwargs)

    monkeypatch.setattr(mails.rendering, "render", slowly)
    runs.execute_due()
    assert list(Delivery.objects.values_list("state", "action")) == [("queued", None)]


def test_every_icon_that_a_template_may_use_is_there() -> None:
    images = mails.images()
    assert set(images) == {f"{app}_url_16" for app in mails.ICONS}
    for address in images.values():
        path = address.removeprefix(f"{settings.SITE_URL}/static/")
        assert finders.find(path), path


def test_a_from_of_any_length_is_stored() -> None:
    title = {"incident": {"severity": "sev1", "title": "x" * 900}}
    queued(with_tasks({"from": "{{ incident.title }} <desk@example.com>"}), title)
    runs.execute_due()
    assert Delivery.objects.get().state == "queued"


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ([("accepted", ""), ("accepted", "")], "completed"),
        ([("accepted", ""), ("accepted", "bob refused")], "completed_with_errors"),
        ([("accepted", ""), ("failed", "552 too big")], "failed"),
        ([("accepted", ""), ("deferred", "450")], "started"),
        ([("accepted", ""), ("unknown", "")], "started"),
        ([("cancelled", ""), ("accepted", "")], "failed"),
    ],
)
def test_a_run_ends_as_its_mails_did(ends: list[tuple[str, str]], status: str) -> None:
    run = queued(with_tasks({}, {}))
    runs.execute_due()
    for delivery, (state, reason) in zip(Delivery.objects.order_by("position"), ends, strict=True):
        Delivery.objects.filter(pk=delivery.pk).update(state=state, reason=reason)
    run_ends.settle(run.pk)
    run.refresh_from_db()
    assert run.status == status
