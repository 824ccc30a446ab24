"""What the page of a run tells: why it is as it is, what its conditions saw, what its actions did, what comes next."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q

from . import words
from .models import Action, Delivery, Run

CHAIN = 30  # runs of one rhythm that are listed
PAYLOAD = 100_000  # characters of an event that are shown

_SENTENCES = {
    Run.Status.STARTED: "Its mails are on their way.",
    Run.Status.COMPLETED: "All its mails were accepted.",
    Run.Status.COMPLETED_WITH_ERRORS: "It went through, but not everything was accepted.",
    Run.Status.FAILED: "It failed.",
    Run.Status.CANCELED: "Nothing was run: it was cancelled.",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One look at the conditions: when, and each condition in words with what it saw."""

    when: str
    at: datetime
    join: str
    held: bool
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Story:
    sentence: str
    checks: list[Check]
    deliveries: list[Delivery]
    not_reached: list[Action] = field(default_factory=list)
    chain: list[Run] = field(default_factory=list)
    waiting: Run | None = None  # the run of its chain that waits for its time

    @property
    def can_be_cancelled(self) -> bool:
        return self.waiting is not None


def of(run: Run) -> Story:
    """Gather what is known of a run, by few queries; it knows its workflow and event."""
    deliveries = list(run.deliveries.order_by("position").defer("content").prefetch_related("recipients"))
    chain = list(_chain_of(run).order_by("-number")[:CHAIN])
    waiting = next((one for one in chain if one.status == Run.Status.QUEUED), None)
    checks = [_check(note) for note in run.checks]
    return Story(_sentence(run, deliveries), checks, deliveries, _not_reached(run, deliveries), chain, waiting)


def _chain_of(run: Run) -> Any:
    first = run.first_id or run.pk
    return Run.objects.filter(Q(pk=first) | Q(first=first))


def _sentence(run: Run, deliveries: list[Delivery]) -> str:
    if run.status == Run.Status.QUEUED:
        return "It waits for its time." if run.started_at is None else "It is tried again."
    if run.status == Run.Status.COMPLETED and not deliveries:
        return "Nothing was run: no action of the workflow was enabled."
    if deliveries and not any(one.recipients.all() for one in deliveries):
        return "Nothing was sent: no mail could be made."
    if run.status == Run.Status.STARTED and run.lease:
        return "It is being carried out."
    return _SENTENCES[Run.Status(run.status)]


def _check(note: dict[str, Any]) -> Check:
    rows = [look | {"words": words.of_condition(look)} for look in note["looks"]]
    join = words.of_join(note["join"], number=len(rows))
    return Check(note["when"], datetime.fromisoformat(note["at"]), join, note["held"], rows)


def _not_reached(run: Run, deliveries: list[Delivery]) -> list[Action]:
    """Return the actions behind the one that ended the run: nothing was made of them."""
    last = deliveries[-1] if deliveries else None
    if last is None or last.state != Delivery.State.FAILED or last.optional:
        return []
    return list(run.workflow.actions.filter(enabled=True, position__gt=last.position).only("name", "position"))
