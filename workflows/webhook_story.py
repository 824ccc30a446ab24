"""What the pages of webhooks tell: the last deliveries, and what became of their events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery

from .models import Run
from .webhook_models import WebhookEndpoint, WebhookReceipt
from .webhooks import SENDERS
from .webhooks.signatures import SCHEMES

SHOWN = 10  # events of one POST
RETIRED, WAITING = "retired", "waiting"


@dataclass(frozen=True, slots=True)
class Line:
    """One endpoint of the list. `state` is 'retired', 'waiting' for the first POST, or the last outcome."""

    endpoint: WebhookEndpoint
    kind: str
    last: WebhookReceipt | None

    @property
    def state(self) -> str:
        if self.endpoint.retired_at:
            return RETIRED
        return self.last.outcome if self.last else WAITING


@dataclass(frozen=True, slots=True)
class Told:
    """One event of a POST, and the runs that it made; `times`: so many of this name stand together."""

    name: str
    repeat: bool
    runs: Sequence[Run]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One POST as the page shows it; `more` events are counted only."""

    receipt: WebhookReceipt
    told: Sequence[Told]
    more: int


def lines() -> list[Line]:
    """Return every endpoint with the last real POST, those in service first."""
    newest = _real(WebhookReceipt.objects.filter(endpoint=OuterRef("pk"))).values("pk")[:1]
    rows = WebhookEndpoint.objects.defer("secret", "secret_before").annotate(newest=Subquery(newest))
    found = list(rows)
    last = WebhookReceipt.objects.defer("body").in_bulk([row.newest for row in found if row.newest])
    made = [Line(row, label_of(row), last.get(row.newest)) for row in found]
    return sorted(made, key=lambda line: (line.state == RETIRED, line.endpoint.name.casefold()))


def label_of(endpoint: WebhookEndpoint) -> str:
    return SENDERS[endpoint.kind].label


def proof_of(endpoint: WebhookEndpoint) -> str:
    return SCHEMES[endpoint.scheme].label


def is_waiting(endpoint: WebhookEndpoint) -> bool:
    return not _real(endpoint.receipts.all()).exists()


def entries(endpoint: WebhookEndpoint) -> list[Entry]:
    """Return the last POSTs of an endpoint, newest first."""
    receipts = list(endpoint.receipts.order_by("-pk"))
    runs = _runs({UUID(one["event"]) for receipt in receipts for one in receipt.made[:SHOWN] if one["event"]})
    return [
        Entry(receipt, _together([_told(one, runs) for one in receipt.made[:SHOWN]]), len(receipt.made[SHOWN:]))
        for receipt in receipts
    ]


def _told(one: dict[str, Any], runs: dict[str, list[Run]]) -> Told:
    return Told(one["name"], one["repeat"], [] if one["repeat"] else runs[one["event"]])


def _together(told: Sequence[Told]) -> list[Told]:
    """Count what looks alike: ten repeats are one line."""
    return [replace(one, times=len(list(alike))) for one, alike in groupby(told)]


def _runs(events: set[UUID]) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = defaultdict(list)
    for run in Run.objects.filter(event__in=events, number=0, manual=False).select_related("workflow").order_by("pk"):
        found[str(run.event_id)].append(run)
    return found


def _real(receipts: QuerySet[WebhookReceipt]) -> QuerySet[WebhookReceipt]:
    """Leave out the tests that people made here: they do not show that the sender is set up."""
    return receipts.exclude(outcome=WebhookReceipt.Outcome.TEST).order_by("-pk")
