"""What people and scripts may do with deliveries: send again, cancel, consider delivered; one, or all that match.

Nothing is doubled and nobody's work is touched: a row that is being sent is left alone, and within each batch one
conditional UPDATE decides. Two people who do the same at once find each row done once.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Case, CharField, Count, Exists, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Lower

from integrations import audit, clock

from . import ids, retry, run_ends, services, suppression
from .models import Attempt, Delivery, Recipient, Workflow
from .search import DeliveryFilter, matching

BATCH = 300  # rows of one transaction: SQLite lets nobody else write meanwhile
COUNTED = 100_000  # more are not counted: 'more than'
LISTED = 100  # ids in an audit entry

CHANGED = "changed by somebody else meanwhile"
_State, _Kept = Delivery.State, Recipient.State
_LAST_OUTCOME = Attempt.objects.filter(delivery=OuterRef("pk")).order_by("-pk").values("outcome")[:1]
_SOMEBODY_WITHOUT = Exists(Recipient.objects.filter(delivery=OuterRef("pk")).exclude(state=_Kept.ACCEPTED))
_IN_HAND = (Q(state=_State.SENDING) | Q(lease__isnull=False), "being sent")


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that may be done, and how pages and the audit log speak of it.

    `states`: of which it can be done with some. `refusals`: which rows are left alone, and why; the first that fits
    counts.
    """

    name: str
    label: str
    done: str
    past: str
    can: str
    promise: str
    states: tuple[str, ...]
    refusals: tuple[tuple[Q, str], ...]
    change: Callable[[list[uuid.UUID], str], int] = field(repr=False)

    @property
    def why(self) -> Case:
        """The reason to leave a row alone, or an empty text: an expression for `_judged` rows."""
        cases = [When(condition, then=Value(reason)) for condition, reason in self.refusals]
        return Case(*cases, default=Value(""), output_field=CharField())


def _judged(rows: QuerySet[Delivery], **whys: Case) -> Any:  # not typed: mypy does not follow annotations
    rows = rows.annotate(last_outcome=Subquery(_LAST_OUTCOME), somebody_without=_SOMEBODY_WITHOUT)
    rows = rows.annotate(somebody_reachable=_somebody_reachable())
    return rows.annotate(**whys)


def _somebody_reachable() -> Exists:
    """Tell whether one of those without the mail is not suppressed.

    Addresses are compared in small letters alone: of a domain beyond ASCII, the hand-over itself knows more.
    """
    suppressed = suppression.in_force().filter(address=Lower(OuterRef("address")))
    without = Recipient.objects.filter(delivery=OuterRef("pk")).exclude(state=_Kept.ACCEPTED)
    return Exists(without.exclude(Exists(suppressed)))


@dataclass(frozen=True, slots=True)
class Tally:
    """How many match, how many of them it can be done with, and why not with the others."""

    able: int = 0
    left: dict[str, int] = field(default_factory=dict)
    complete: bool = True  # False: there are more, which were not counted

    @property
    def matching(self) -> int:
        return self.able + sum(self.left.values())


@dataclass(slots=True)
class Outcome:
    """What was done. `go_on_after`: time ran out behind this row; None: everything was gone through."""

    done: int = 0
    left: Counter[str] = field(default_factory=Counter)
    go_on_after: uuid.UUID | None = None


Chosen = DeliveryFilter | Sequence[uuid.UUID]


def intervene(
    name: str,
    chosen: Chosen,
    *,
    actor: str,
    seconds: float | None = None,
    after: uuid.UUID | None = None,
    before: uuid.UUID | None = None,
) -> Outcome:
    """Do it with all that is chosen, oldest first, and write one audit entry, where anything was done.

    It stops after so many seconds and says behind which row; `after` goes on from there. `before` leaves what was
    made later alone: by default, what is made from now on.
    """
    verb, outcome, began = VERBS[name], Outcome(), time.monotonic()
    try:
        for keys in _batches(_rows(chosen, before=before), after=after):
            _do_batch(verb, keys, actor=actor, outcome=outcome)
            if seconds is not None and time.monotonic() - began > seconds:
                outcome.go_on_after = keys[-1]
                break
    finally:  # what was committed before an error has happened, too
        if outcome.done:
            audit.record(verb.done, actor=actor, **_details(chosen, outcome))
    return outcome


def tally(name: str, chosen: Chosen, *, after: uuid.UUID | None = None, before: uuid.UUID | None = None) -> Tally:
    """Count what an intervention would do, without doing it: exactly up to COUNTED."""
    rows = _rows(chosen, before=before)
    rows = rows.filter(pk__gt=after) if after else rows
    some = Delivery.objects.filter(pk__in=rows.values("pk")[:COUNTED])
    counts = dict(_judged(some, why=VERBS[name].why).order_by().values_list("why").annotate(Count("pk")))
    complete = sum(counts.values()) < COUNTED or not rows[COUNTED : COUNTED + 1].exists()
    return Tally(counts.pop("", 0), counts, complete)


def with_refusals(rows: QuerySet[Delivery]) -> Any:
    """Let each row say, by `possible`, what can be done with it."""
    return _judged(rows, **{_attribute(verb): verb.why for verb in VERBS.values()})


def possible(row: Delivery) -> list[Verb]:
    """Return what could be done with a row `with_refusals` when it was read."""
    return [verb for verb in VERBS.values() if not getattr(row, _attribute(verb))]


def possible_with_some(rows: Sequence[Delivery], *, of: DeliveryFilter, complete: bool) -> list[Verb]:
    """Return what could be done with some of those that match: `rows` are they, or only a page of them.

    Of what a page does not show, the states that are wanted tell enough; to look at each could take seconds.
    """
    if not complete:
        return [verb for verb in VERBS.values() if not of.state or set(of.state) & set(verb.states)]
    judged = with_refusals(Delivery.objects.filter(pk__in=[row.pk for row in rows]).only("pk"))
    found = [verb for row in judged for verb in possible(row)]
    return [verb for verb in VERBS.values() if verb in found]


def _attribute(verb: Verb) -> str:
    return f"why_not_{verb.name.replace('-', '_')}"


def _rows(chosen: Chosen, *, before: uuid.UUID | None) -> QuerySet[Delivery]:
    if not isinstance(chosen, DeliveryFilter):
        return Delivery.objects.filter(pk__in=chosen).order_by("pk")
    return matching(chosen).filter(pk__lt=before or ids.new_id()).order_by("pk")


def _batches(rows: QuerySet[Delivery], *, after: uuid.UUID | None) -> Iterator[list[uuid.UUID]]:
    """Go on from a key: what was done may not match any more, so a number of rows would skip some."""
    while keys := list((rows.filter(pk__gt=after) if after else rows).values_list("pk", flat=True)[:BATCH]):
        yield keys
        after = keys[-1]


def _do_batch(verb: Verb, keys: list[uuid.UUID], *, actor: str, outcome: Outcome) -> None:
    """Judge and change these rows in one transaction; nothing waits for anybody, so nothing can wait in a circle."""
    with transaction.atomic():
        free = Delivery.objects.select_for_update(skip_locked=True).filter(pk__in=keys, lease__isnull=True)
        locked = set(free.order_by("pk").values_list("pk", flat=True))
        judged = _judged(Delivery.objects.filter(pk__in=keys), why=verb.why).values_list("pk", "why")
        reasons = {pk: why or ("" if pk in locked else CHANGED) for pk, why in judged}
        able = [pk for pk, why in reasons.items() if not why]
        done = verb.change(able, actor) if able else 0
        if done != len(able):
            transaction.set_rollback(True)
            reasons, done = reasons | dict.fromkeys(able, CHANGED), 0
    outcome.done += done
    outcome.left.update(why for why in reasons.values() if why)


def _details(chosen: Chosen, outcome: Outcome) -> dict[str, Any]:
    counts = {"done": outcome.done, **({"left": sum(outcome.left.values())} if outcome.left else {})}
    if isinstance(chosen, DeliveryFilter):
        return {"deliveries": chosen.in_words(), **counts}
    names = [str(pk) for pk in chosen]
    return {"delivery": names[0], **counts} if len(names) == 1 else {"deliveries": names[:LISTED], **counts}


def _queue_again(keys: list[uuid.UUID], actor: str) -> int:
    now, done = clock.now(), 0
    free = Delivery.objects.filter(pk__in=keys, state__in=AGAIN, lease__isnull=True)
    for workflow in Workflow.objects.filter(pk__in=free.values("workflow")):
        end = now + retry.deadline(workflow.give_up_after)
        done += free.filter(workflow=workflow).update(
            state=_State.QUEUED, reason="", next_attempt_at=now, give_up_at=end, tries=0
        )
    missing = Recipient.objects.filter(delivery__in=keys).exclude(state=_Kept.ACCEPTED)
    missing.update(state=_Kept.QUEUED, code=None, enhanced_code="", reply="")
    run_ends.reopen(_runs_of(keys))
    transaction.on_commit(services.ring)
    return done


def _cancel(keys: list[uuid.UUID], actor: str) -> int:
    free = Delivery.objects.filter(pk__in=keys, state__in=Delivery.WAITING, lease__isnull=True)
    done = free.update(state=_State.CANCELLED, next_attempt_at=None, reason=f"Cancelled by {actor}.")
    Recipient.objects.filter(delivery__in=keys, state__in=Recipient.OPEN).update(state=_Kept.CANCELLED)
    _settle(_runs_of(keys))
    return done


def _consider_delivered(keys: list[uuid.UUID], actor: str) -> int:
    free = Delivery.objects.filter(pk__in=keys, state__in=UNHEARD, lease__isnull=True)
    reason = f"The relay's answer was not heard; {actor} considers it delivered."
    done = free.update(state=_State.ACCEPTED, accepted_at=None, next_attempt_at=None, reason=reason)
    # FAILED: those were open until time ran out. What the relay refused stays refused.
    open_ones = Recipient.objects.filter(delivery__in=keys, state__in=[*Recipient.OPEN, _Kept.FAILED])
    open_ones.filter(Recipient.NOT_NAMED).update(state=_Kept.FAILED)  # they have certainly not got it
    named = open_ones.exclude(Recipient.NOT_NAMED)
    named.update(state=_Kept.ACCEPTED, code=None, enhanced_code="", reply=f"considered delivered by {actor}")
    run_ends.settle_anew(_runs_of(keys))
    return done


def _runs_of(keys: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    return sorted(set(Delivery.objects.filter(pk__in=keys).values_list("run", flat=True)))


def _settle(affected: list[uuid.UUID]) -> None:
    for run in affected:
        run_ends.settle(run)


AGAIN = (_State.DEFERRED, _State.FAILED, _State.CANCELLED, _State.HELD, _State.UNKNOWN, _State.ACCEPTED)
UNHEARD = (_State.HELD, _State.UNKNOWN, _State.FAILED)
_WAITS = Q(state__in=[_State.QUEUED, _State.DEFERRED])
_HEARD = Q(last_outcome__isnull=True) | ~Q(last_outcome=Attempt.Outcome.UNKNOWN)
VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "send-again",
            label="Send again",
            done="deliveries sent again",
            past="is queued again",
            can="can be sent again",
            promise="The same mails, with the same Message-ID, go to the recipients that have not been accepted, "
            "and to nobody else. Where a relay's answer was not heard, a recipient may get a mail twice.",
            states=AGAIN,
            refusals=(
                _IN_HAND,
                (Q(state=_State.QUEUED), "waiting already"),
                (Q(state=_State.ACCEPTED, somebody_without=False), "accepted already"),
                (Q(purged_at__isnull=False), "content erased"),
                (Q(content=b""), "never rendered"),
                (Q(somebody_reachable=False), "everybody left is suppressed"),
            ),
            change=_queue_again,
        ),
        Verb(
            "cancel",
            label="Cancel",
            done="deliveries cancelled",
            past="is cancelled",
            can="can be cancelled",
            promise="They are not sent any more; recipients that a relay has accepted have got them. They can be sent "
            "again later.",
            states=Delivery.WAITING,
            refusals=(_IN_HAND, (Q(state__in=Delivery.FINAL), "ended already")),
            change=_cancel,
        ),
        Verb(
            "consider-delivered",
            label="Consider delivered",
            done="deliveries considered delivered",
            past="counts as accepted",
            can="can be considered delivered",
            promise="They count as accepted on your word, since the relay's answer was not heard. Nothing is sent.",
            states=UNHEARD,
            refusals=(
                _IN_HAND,
                (_WAITS, "waiting for an attempt"),
                (Q(state__in=[_State.ACCEPTED, _State.CANCELLED]), "ended already"),
                (Q(state=_State.FAILED) & _HEARD, "not accepted, for certain"),
            ),
            change=_consider_delivered,
        ),
    )
}
