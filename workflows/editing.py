"""Change workflows and their actions: saved whole or not at all, and audited."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F, Max

from integrations import audit

from .models import Action, Run, Workflow

APART = 1_000_000  # positions that nobody has: two rows change places by way of one


def save_workflow(workflow: Workflow, *, actor: str) -> None:
    """Create or change a workflow that has been validated."""
    with transaction.atomic():
        created = workflow.pk is None
        workflow.save()
        audit.record("workflow created" if created else "workflow changed", actor=actor, workflow=workflow.slug)


def delete_workflow(workflow: Workflow, *, actor: str) -> bool:
    """Delete a workflow that has never run. Returns whether it was; one with runs holds the story of its mails."""
    with transaction.atomic():
        Workflow.objects.select_for_update().filter(pk=workflow.pk).first()
        if Run.objects.filter(workflow=workflow).exists():
            return False
        slug = workflow.slug
        workflow.delete()
        audit.record("workflow deleted", actor=actor, workflow=slug)
    return True


def save_action(action: Action, *, actor: str) -> None:
    """Create an action behind the others, or change one."""
    with transaction.atomic():
        workflow = Workflow.objects.select_for_update().get(pk=action.workflow_id)
        created = action.pk is None
        if created:
            last = workflow.actions.aggregate(last=Max("position"))["last"] or 0
            action.position = last + 1
        action.save()
        _record("action created" if created else "action changed", action, actor=actor)


def delete_action(action: Action, *, actor: str) -> None:
    """Delete an action; mails that it made are kept, also those that wait."""
    with transaction.atomic():
        _record("action deleted", action, actor=actor)
        action.delete()


def move(action: Action, *, up: bool, actor: str) -> bool:
    """Exchange an action with the one before it, or behind it. Returns whether there was one."""
    with transaction.atomic():
        Workflow.objects.select_for_update().filter(pk=action.workflow_id).first()
        others = Action.objects.filter(workflow=action.workflow_id)
        mine = others.values_list("position", flat=True).get(pk=action.pk)
        near = others.filter(position__lt=mine) if up else others.filter(position__gt=mine)
        other = near.order_by("-position" if up else "position").first()
        if other is None:
            return False
        others.filter(pk=other.pk).update(position=F("position") + APART)
        others.filter(pk=action.pk).update(position=other.position)
        others.filter(pk=other.pk).update(position=mine)
        _record("action moved", action, actor=actor)
    return True


def _record(what: str, action: Action, *, actor: str) -> None:
    audit.record(what, actor=actor, workflow=action.workflow.slug, task=action.name)
