"""When a run of a workflow that repeats comes again: a row of its own that waits in the database."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings

from integrations import clock

from . import schedule
from .models import Run, Workflow


def plan_next(run: Run) -> Run | None:
    """Store the run that follows one which has just begun, unless it was the last; within the same transaction.

    The lock on the first run lets somebody who stops the repeats meanwhile win, or see the new row.
    """
    rhythm = rhythm_of(run.workflow)
    if rhythm is None or run.manual:
        return None
    first = Run.objects.select_for_update().get(pk=run.first_id or run.pk)
    if first.stopped or first.started_at is None:
        return None
    now = max(clock.now(), run.due_at)  # a clock that was set back must not make the same moment twice
    due = schedule.next_time(rhythm, first=first.started_at, now=now)
    if _is_over(run.workflow, number=run.number + 1, length=due - first.started_at):
        return None
    row = Run(workflow=run.workflow, event=run.event, first=first, number=run.number + 1, due_at=due)
    row.save(force_insert=True)
    return row


def why_no_more(run: Run) -> str:
    """Return why a repeat must not begin though it was planned: meanwhile the workflow was changed. '' where it may."""
    if run.first is None:
        return ""
    if run.first.stopped:
        return "Somebody stopped the repeats."
    if rhythm_of(run.workflow) is None:
        return "The workflow does not repeat any more."
    at_most = run.workflow.repeat_condition_number_of_repeats
    return f"The workflow repeats {at_most} times at the most." if at_most and run.number > at_most else ""


def rhythm_of(workflow: Workflow) -> schedule.Rhythm | None:
    zone = workflow.time_zone or settings.TIME_ZONE
    return schedule.rhythm(workflow.repeat_every_duration, workflow.repeat_on, zone)


def _is_over(workflow: Workflow, *, number: int, length: timedelta) -> bool:
    """Say whether a repeat of this number, so long after the first run, is one too many."""
    at_most, for_so_long = (
        workflow.repeat_condition_number_of_repeats,
        workflow.repeat_condition_duration_since_first_run,
    )
    if at_most and number > at_most:
        return True
    return bool(for_so_long) and length > schedule.parse_duration(for_so_long)
