"""Change workflows and their actions: saved whole or not at all, and audited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from django.db import models, transaction
from django.db.models import F, Max

from integrations import audit

from .models import Action, Run, Workflow
from .samples import PREVIEW

APART = 1_000_000  # positions that nobody has: two rows change places by way of one
T = TypeVar("T", bound=models.Model)


class Gone(Exception):
    """Somebody has deleted it meanwhile."""


class Changed(Exception):
    """Somebody has changed it since its page was opened."""


class Locked(Exception):
    """Its workflow is for Admins alone to change."""


def version(row: models.Model) -> str:
    """Return what tells whether a stored row has been changed; '' for one that is not stored."""
    if row.pk is None:
        return ""
    values = {field.name: field.value_from_object(row) for field in row._meta.concrete_fields}
    return hashlib.sha256(json.dumps(values, default=str, sort_keys=True).encode()).hexdigest()[:16]


def save_workflow(workflow: Workflow, *, fields: Iterable[str], seen: str, actor: str, admin: bool = False) -> None:
    """Create a workflow that has been validated, or change these fields of it; raises Gone, Changed or Locked."""
    with transaction.atomic():
        if workflow.pk is None:
            workflow.save()
            return audit.record("workflow created", actor=actor, workflow=workflow.slug)
        stored = _open(workflow, admin=admin, seen=seen)
        if workflow.locked != stored.locked and not admin:
            raise Locked
        workflow.save(update_fields=[*fields, "updated_at"])
        renamed = {"was": stored.slug} if stored.slug != workflow.slug else {}
        return audit.record("workflow changed", actor=actor, workflow=workflow.slug, **renamed)


def switch_workflow(workflow: Workflow, *, on: bool, actor: str, admin: bool = False) -> None:
    """Switch a workflow on or off; raises Gone or Locked."""
    with transaction.atomic():
        stored = _open(workflow, admin=admin)
        if stored.enabled != on:
            stored.enabled = on
            stored.save(update_fields=["enabled", "updated_at"])
            audit.record(f"workflow switched {_on_or_off(on)}", actor=actor, workflow=stored.slug)


def delete_workflow(workflow: Workflow, *, actor: str, admin: bool = False) -> bool:
    """Delete a workflow no run of which has begun, and cancel those that wait. Returns whether it was.

    One whose runs have begun holds the story of its mails. Raises Gone or Locked.
    """
    with transaction.atomic():
        _open(workflow, admin=admin)
        runs = runs_of(workflow)
        queued = runs.filter(status=Run.Status.QUEUED).only("pk")
        waiting = len(queued.select_for_update(of=("self",)))  # no worker begins one meanwhile
        if runs.exclude(status=Run.Status.QUEUED).exists():
            return False
        slug, cancelled = workflow.slug, {"cancelled_runs": waiting} if waiting else {}
        workflow.delete()
        audit.record("workflow deleted", actor=actor, workflow=slug, **cancelled)
    return True


def runs_of(workflow: Workflow) -> models.QuerySet[Run]:
    """Return its runs, but for those of test mails."""
    return Run.objects.filter(workflow=workflow).exclude(event__name=PREVIEW)


def save_action(action: Action, *, fields: Iterable[str], seen: str, actor: str, admin: bool = False) -> None:
    """Create an action behind the others, or change these fields of one; raises Gone, Changed or Locked."""
    with transaction.atomic():
        workflow = _open(action.workflow, admin=admin)
        if action.pk is None:
            action.position = (workflow.actions.aggregate(last=Max("position"))["last"] or 0) + 1
            action.save()
            return _record("action created", action, actor=actor)
        _stored(action, seen=seen)
        action.save(update_fields=list(fields))  # not its place: somebody may have moved it
        return _record("action changed", action, actor=actor)


def switch_action(action: Action, *, on: bool, actor: str, admin: bool = False) -> None:
    """Switch an action on or off; raises Gone or Locked."""
    with transaction.atomic():
        _open(action.workflow, admin=admin)
        if _stored(action).enabled != on:
            Action.objects.filter(pk=action.pk).update(enabled=on)
            _record(f"action switched {_on_or_off(on)}", action, actor=actor)


def delete_action(action: Action, *, actor: str, admin: bool = False) -> None:
    """Delete an action; mails that it made are kept, also those that wait. Raises Gone or Locked."""
    with transaction.atomic():
        _open(action.workflow, admin=admin)
        _stored(action)
        _record("action deleted", action, actor=actor)
        action.delete()


def move(action: Action, *, up: bool, actor: str, admin: bool = False) -> bool:
    """Exchange an action with its neighbour. Returns whether there was one; raises Gone or Locked."""
    with transaction.atomic():
        workflow = _open(action.workflow, admin=admin)
        mine = _stored(action).position
        others = workflow.actions.all()
        near = others.filter(position__lt=mine) if up else others.filter(position__gt=mine)
        other = near.order_by("-position" if up else "position").first()
        if other is None:
            return False
        _place({action.pk: other.position, other.pk: mine})
        _record(f"action moved {'up' if up else 'down'}", action, actor=actor)
    return True


def reorder(workflow: Workflow, *, order: Sequence[int], actor: str, admin: bool = False) -> bool:
    """Put the actions into the order of these keys. Returns whether any has moved; raises Gone, Changed or Locked.

    Changed: the keys are not those of its actions, since somebody has added or deleted one.
    """
    with transaction.atomic():
        places = dict(_open(workflow, admin=admin).actions.values_list("pk", "position"))
        if sorted(order) != sorted(places):
            raise Changed
        wanted = dict(zip(order, sorted(places.values()), strict=True))
        moved = {key: position for key, position in wanted.items() if places[key] != position}
        _place(moved)
        if moved:
            audit.record("actions reordered", actor=actor, workflow=workflow.slug)
    return bool(moved)


def _place(positions: Mapping[int, int]) -> None:
    """Give actions the places of one another: first all of them stand apart, since no two may share a place."""
    rows = Action.objects.filter(pk__in=positions)
    rows.update(position=F("position") + APART)
    for key, position in positions.items():
        rows.filter(pk=key).update(position=position)


def _open(workflow: Workflow, *, admin: bool, seen: str = "") -> Workflow:
    """Return a workflow as it is stored now, unless it is locked and this is no Admin."""
    stored = _stored(workflow, seen=seen)
    if stored.locked and not admin:
        raise Locked
    return stored


def _stored(row: T, *, seen: str = "") -> T:
    """Return the row as it is stored now, for this transaction alone to change."""
    stored: T | None = type(row)._default_manager.select_for_update().filter(pk=row.pk).first()
    if stored is None:
        raise Gone
    if seen and version(stored) != seen:
        raise Changed
    return stored


def _on_or_off(on: bool) -> str:
    return "on" if on else "off"


def _record(what: str, action: Action, *, actor: str) -> None:
    audit.record(what, actor=actor, workflow=action.workflow.slug, task=action.name)
