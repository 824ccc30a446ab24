"""Workflows as files, and deliveries as documents: the names of the public API, a stable order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from . import events
from .models import Action, Attempt, Delivery, Recipient, Workflow

_WORKFLOW = {"slug", "name", "enabled", "trigger_params", "wait", "repeat_every_duration", "repeat_on", "tasks"}
_WORKFLOW |= {"give_up_after", "on_unknown"}
_TRIGGER = {"trigger_type", "triggers", "condition", "conditions"}
_TASK = {"name", "position", "enabled", "skip_on_failure", "task_params"}
_LISTS = ("to", "cc", "bcc")
_TEXTS = {"from": "sender", "subject": "subject", "preheader": "preheader", "body": "body"}
_TEXTS |= {"reply_to": "reply_to", "custom_logo_url": "custom_logo_url"}
_PUBLIC_NAMES = {attribute: name for name, attribute in _TEXTS.items()}
_SWITCHES = ("include_header", "include_footer")
_PARAMS = {"task_type", *_LISTS, *_TEXTS, *_SWITCHES}


class DocumentError(ValueError):
    """A workflow file that cannot be loaded. The text names the place and says what to do."""


@dataclass(frozen=True, slots=True)
class Loaded:
    slug: str
    created: bool


def load(document: Any) -> list[Loaded]:
    """Create or replace the workflows of a file, by slug; all of them or, with DocumentError, none."""
    if document != _storable(document):
        raise DocumentError("The file holds U+0000 or half a surrogate pair, which no database can keep.")
    _refuse_unknown(document, {"workflows"}, place="the file")
    entries = document.get("workflows")
    if not isinstance(entries, list):
        raise DocumentError("The file must be an object with a list 'workflows'.")
    with transaction.atomic():
        return [_load_workflow(entry, place=f"workflow {number}") for number, entry in enumerate(entries, start=1)]


def _storable(document: Any) -> Any:
    try:
        return events.storable(document)
    except events.EventError as error:
        raise DocumentError(str(error)) from error


def _load_workflow(entry: Any, *, place: str) -> Loaded:
    _refuse_unknown(entry, _WORKFLOW, place=place)
    place = f"workflow '{_text(entry, 'slug', place=place)}'"
    trigger = entry.get("trigger_params", {})
    _refuse_unknown(trigger, _TRIGGER, place=f"{place}, trigger_params")
    _refuse_repeats(entry, place=place)
    slug = _text(entry, "slug", place=place)
    workflow = Workflow.objects.filter(slug=slug).first() or Workflow(slug=slug)
    created = workflow.pk is None
    workflow.name = _text(entry, "name", place=place)
    workflow.enabled = _switch(entry, "enabled", default=True, place=place)
    for name in ("wait", "give_up_after"):
        setattr(workflow, name, _text(entry, name, place=place))
    workflow.on_unknown = _text(entry, "on_unknown", place=place) or Workflow.OnUnknown.RETRY
    for name, default in (("trigger_type", "incident"), ("condition", "ALL")):
        setattr(workflow, name, _text(trigger, name, place=place) or default)
    for name in ("triggers", "conditions"):
        setattr(workflow, name, trigger.get(name) or [])
    _save(workflow, place=place)
    _load_tasks(workflow, entry.get("tasks", []), place=place)
    return Loaded(slug=workflow.slug, created=created)


def _refuse_repeats(entry: Mapping[str, Any], *, place: str) -> None:
    """Better no workflow than one that quietly does not repeat."""
    if entry.get("repeat_every_duration") or entry.get("repeat_on"):
        raise DocumentError(f"{place}: repeating is not supported yet. Leave out repeat_every_duration and repeat_on.")


def _load_tasks(workflow: Workflow, tasks: Any, *, place: str) -> None:
    """Replace the tasks by position, so that deliveries of an unchanged task keep their link to it."""
    if not isinstance(tasks, list):
        raise DocumentError(f"{place}: 'tasks' must be a list.")
    positions = []
    for number, task in enumerate(tasks, start=1):
        action = _load_task(workflow, task, number=number, place=f"{place}, task {number}")
        if action.position in positions:
            raise DocumentError(f"{place}, task {number}: position {action.position} is taken by another task.")
        positions.append(action.position)
    workflow.actions.exclude(position__in=positions).delete()


def _load_task(workflow: Workflow, task: Any, *, number: int, place: str) -> Action:
    _refuse_unknown(task, _TASK, place=place)
    params = task.get("task_params", {})
    _refuse_unknown(params, _PARAMS, place=f"{place}, task_params")
    if params.get("task_type") != "send_email":
        raise DocumentError(f"{place}: task_type must be 'send_email'.")
    position = task.get("position", number)
    if type(position) is not int or not 1 <= position <= 1000:
        raise DocumentError(f"{place}: 'position' must be a whole number from 1 to 1000.")
    action = workflow.actions.filter(position=position).first() or Action(workflow=workflow, position=position)
    action.name = _text(task, "name", place=place) or "Send an Email"
    action.enabled = _switch(task, "enabled", default=True, place=place)
    action.skip_on_failure = _switch(task, "skip_on_failure", default=False, place=place)
    for name in _LISTS:
        setattr(action, name, params.get(name) or [])
    for name, attribute in _TEXTS.items():
        setattr(action, attribute, _text(params, name, place=place))
    for name in _SWITCHES:
        setattr(action, name, _switch(params, name, default=True, place=place))
    _save(action, place=place)
    return action


def _text(entry: Mapping[str, Any], name: str, *, place: str) -> str:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise DocumentError(f"{place}: '{name}' must be a text.")
    return value or ""


def _switch(entry: Mapping[str, Any], name: str, *, default: bool, place: str) -> bool:
    value = entry.get(name)
    if value is not None and not isinstance(value, bool):
        raise DocumentError(f"{place}: '{name}' must be true or false.")
    return default if value is None else value


def _refuse_unknown(entry: Any, known: set[str], *, place: str) -> None:
    if not isinstance(entry, dict):
        raise DocumentError(f"{place[0].upper()}{place[1:]} must be a JSON object.")
    unknown = sorted(set(entry) - known)
    if unknown:
        raise DocumentError(f"{place[0].upper()}{place[1:]}: unknown key '{unknown[0]}'.")


def _save(row: Workflow | Action, *, place: str) -> None:
    try:
        row.full_clean(exclude=["workflow"])
    except ValidationError as error:
        named = {_PUBLIC_NAMES.get(name, name): texts for name, texts in error.message_dict.items()}
        problems = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in named.items())
        raise DocumentError(f"{place}: {problems}") from error
    row.save()


def dump() -> dict[str, Any]:
    """Return every workflow as one document that `load` takes."""
    workflows = Workflow.objects.prefetch_related("actions").order_by("slug")
    return {"workflows": [_workflow(workflow) for workflow in workflows]}


def _workflow(workflow: Workflow) -> dict[str, Any]:
    return {
        "slug": workflow.slug,
        "name": workflow.name,
        "enabled": workflow.enabled,
        "trigger_params": {
            "trigger_type": workflow.trigger_type,
            "triggers": workflow.triggers,
            "condition": workflow.condition,
            "conditions": workflow.conditions,
        },
        "wait": workflow.wait or None,
        "repeat_every_duration": None,
        "repeat_on": [],
        "give_up_after": workflow.give_up_after or None,
        "on_unknown": workflow.on_unknown,
        "tasks": [_task(action) for action in workflow.actions.all()],
    }


def _task(action: Action) -> dict[str, Any]:
    params: dict[str, Any] = {"task_type": "send_email"}
    params |= {name: getattr(action, name) for name in _LISTS}
    params |= {name: getattr(action, attribute) or None for name, attribute in _TEXTS.items()}
    params |= {name: getattr(action, name) for name in _SWITCHES}
    return {
        "name": action.name,
        "position": action.position,
        "enabled": action.enabled,
        "skip_on_failure": action.skip_on_failure,
        "task_params": params,
    }


def deliveries(rows: Iterable[Delivery]) -> list[dict[str, Any]]:
    """Return the document of `manage.py deliveries --json`."""
    return [_delivery(row) for row in rows]


def _delivery(row: Delivery) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "run": str(row.run_id),
        "workflow": row.workflow.slug,
        "task": row.action_name,
        "state": row.state,
        "provider": row.provider or None,
        "message_id": row.message_id or None,
        "from": row.sent_from or row.requested_from or None,
        "subject": row.subject,
        "triggered_at": _time(row.triggered_at),
        "accepted_at": _time(row.accepted_at),
        "bounced_at": _time(row.bounced_at),
        "reason": row.reason or None,
        "warnings": row.warnings,
        "recipients": [_recipient(recipient) for recipient in row.recipients.all()],
        "attempts": [_attempt(attempt) for attempt in row.attempts.all()],
    }


def _recipient(row: Recipient) -> dict[str, Any]:
    told = [{"at": _time(one.at), "kind": one.kind, "reason": one.reason or None} for one in row.told.all()]
    return {"address": row.address, "kind": row.kind, "state": row.state, **_said(row), "told": told}


def _attempt(row: Attempt) -> dict[str, Any]:
    return {
        "at": _time(row.at),
        "provider": row.provider or None,
        "stage": row.stage,
        "outcome": row.outcome,
        **_said(row),
        "tls": row.tls or None,
        "milliseconds": row.milliseconds,
    }


def _said(row: Recipient | Attempt) -> dict[str, Any]:
    return {"code": row.code, "enhanced_code": row.enhanced_code or None, "reply": row.reply or None}


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
