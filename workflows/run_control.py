"""What people do with runs: start one, run it again, cancel it, stop what repeats. Audited."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import Model, Q

from integrations import audit, clock

from . import events, repeats, samples, services
from .models import Event, Run, Workflow


class NotPossible(Exception):
    """It cannot be done with this run, or workflow; the text says why."""


class Gone(Exception):
    """It was deleted, with its workflow or because of its age, since it was looked for."""


def start(workflow: Workflow, *, event: str, data: dict[str, Any], actor: str) -> Run:
    """Make a run on this data at once, without wait and conditions; raises NotPossible, Gone or EventError.

    Its event is of no resource, so what somebody tries out here is never taken for news of an incident, and no other
    workflow hears it.
    """
    if not workflow.enabled:
        raise NotPossible("It is switched off: switch it on first.")
    now = clock.now()
    made = Event(name=event, data=events.storable(data), received_at=now)
    with transaction.atomic():
        _hold(workflow)
        made.save(force_insert=True)
        return _start(workflow, made, actor=actor, what="workflow run by hand")


def again(run: Run, *, actor: str) -> Run:
    """Make another run on the event of this one; raises NotPossible or Gone."""
    if run.event.name == samples.PREVIEW:  # the workflow's own recipients would get it
        raise NotPossible("It belongs to a test mail, which went to its author alone: send another one in the editor.")
    if not run.workflow.enabled:
        raise NotPossible("The workflow is switched off: switch it on first.")
    with transaction.atomic():
        _hold(run.workflow, run)
        return _start(run.workflow, run.event, actor=actor, what="run again", was=str(run.pk))


def _hold(*rows: Model) -> None:
    """Let nobody delete these rows before the transaction has ended; raises Gone."""
    for row in rows:
        if not type(row)._default_manager.select_for_update(no_key=True).filter(pk=row.pk).values_list("pk"):
            raise Gone


def _start(workflow: Workflow, event: Event, *, actor: str, what: str, **details: str) -> Run:
    run = Run(workflow=workflow, event=event, due_at=clock.now(), triggered_by="user", manual=True)
    run.save(force_insert=True)
    audit.record(what, actor=actor, workflow=workflow.slug, run=str(run.pk), **details)
    transaction.on_commit(services.ring)
    return run


def cancel(run: Run, *, actor: str) -> bool:
    """End a run that waits, and with it what would repeat; raises NotPossible where nothing more would come.

    Returns whether one waited: what a worker has in hand just now goes on, and does not come again. A run that has
    begun has stored its mails: they are cancelled one by one.
    """
    first = run.first_id or run.pk
    with transaction.atomic():
        Run.objects.select_for_update().filter(pk=first).update(stopped=True)
        chain = Run.objects.filter(Q(pk=first) | Q(first=first))
        waiting = chain.filter(status=Run.Status.QUEUED, lease__isnull=True)
        done = waiting.update(
            status=Run.Status.CANCELED,
            status_message=f"Cancelled by {actor}.",
            finished_at=clock.now(),
            once_key=None,
        )
        if not done and not (_comes_again(run) and chain.filter(lease__isnull=False).exists()):
            transaction.set_rollback(True)
            raise NotPossible("Nothing of it waits any more: cancel its mails, as far as they are not sent.")
        audit.record("run cancelled", actor=actor, workflow=run.workflow.slug, run=str(run.pk))
    return bool(done)


def _comes_again(run: Run) -> bool:
    return not run.manual and repeats.rhythm_of(run.workflow) is not None
