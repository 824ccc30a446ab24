"""Change workflows and their actions: saved whole or not at all, and audited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
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


def version(row: models.Model) -> str:
    """Return what tells whether a stored row has been changed; '' for one that is not stored."""
    if row.pk is None:
        return ""
    values = {field.name: field.value_from_object(row) for field in row._meta.concrete_fields}
    return hashlib.sha256(json.dumps(values, default=str, sort_keys=True).encode()).hexdigest()[:16]


def save_workflow(workflow: Workflow, *, fields: Iterable[str], seen: str, actor: str) -> None:
    """Create a workflow that has been validated, or change these fields of it; raises Gone or Changed."""
    with transaction.atomic():
        if workflow.pk is None:
            workflow.save()
            return audit.record("workflow created", actor=actor, workflow=workflow.slug)
        stored = _locked(workflow, seen=seen)
        workflow.save(update_fields=[*fields, "updated_at"])
        renamed = {"was": stored.slug} if stored.slug != workflow.slug else {}
        return audit.record("workflow changed", actor=actor, workflow=workflow.slug, **renamed)


def delete_workflow(workflow: Workflow, *, actor: str) -> bool:
    """Delete a workflow that has never run. Returns whether it was; one with runs holds the story of its mails."""
    with transaction.atomic():
        _locked(workflow)
        if Run.objects.filter(workflow=workflow).exclude(event__name=PREVIEW).exists():
            return False
        slug = workflow.slug
        workflow.delete()
        audit.record("workflow deleted", actor=actor, workflow=slug)
    return True


def save_action(action: Action, *, fields: Iterable[str], seen: str, actor: str) -> None:
    """Create an action behind the others, or change these fields of one; raises Gone or Changed."""
    with transaction.atomic():
        workflow = _locked(action.workflow)
        if action.pk is None:
            action.position = (workflow.actions.aggregate(last=Max("position"))["last"] or 0) + 1
            action.save()
            return _record("action created", action, actor=actor)
        _locked(action, seen=seen)
        action.save(update_fields=list(fields))  # not its place: somebody may have moved it
        return _record("action changed", action, actor=actor)


def delete_action(action: Action, *, actor: str) -> None:
    """Delete an action; mails that it made are kept, also those that wait. Raises Gone."""
    with transaction.atomic():
        _locked(action)
        _record("action deleted", action, actor=actor)
        action.delete()


def move(action: Action, *, up: bool, actor: str) -> bool:
    """Exchange an action with the one before it, or behind it. Returns whether there was one; raises Gone."""
    with transaction.atomic():
        _locked(action.workflow)
        mine = _locked(action).position
        others = Action.objects.filter(workflow=action.workflow_id)
        near = others.filter(position__lt=mine) if up else others.filter(position__gt=mine)
        other = near.order_by("-position" if up else "position").first()
        if other is None:
            return False
        others.filter(pk=other.pk).update(position=F("position") + APART)
        others.filter(pk=action.pk).update(position=other.position)
        others.filter(pk=other.pk).update(position=mine)
        _record(f"action moved {'up' if up else 'down'}", action, actor=actor)
    return True


def _locked(row: T, *, seen: str = "") -> T:
    """Return the row as it is stored now, for this transaction alone to change."""
    stored: T | None = type(row)._default_manager.select_for_update().filter(pk=row.pk).first()
    if stored is None:
        raise Gone
    if seen and version(stored) != seen:
        raise Changed
    return stored


def _record(what: str, action: Action, *, actor: str) -> None:
    audit.record(what, actor=actor, workflow=action.workflow.slug, task=action.name)
