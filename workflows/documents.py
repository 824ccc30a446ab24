"""Workflows as files: the names of the public API, a stable order."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from integrations import audit

from . import editing, events
from .models import Action, Workflow

_TRIGGER = {"trigger_type", "triggers", "condition", "conditions"}
_CONDITION = ("path", "operator", "values")
_DURATIONS = ("wait", "repeat_every_duration", "repeat_condition_duration_since_first_run", "give_up_after")
_FLAGS = ("continuously_repeat", "run_once_per_resource", "locked")
_WORKFLOW = {"slug", "name", "enabled", "trigger_params", "repeat_on", "repeat_condition_number_of_repeats"}
_WORKFLOW |= {*_DURATIONS, *_FLAGS, "time_zone", "on_unknown", "tasks"}
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
    """What became of one workflow. `before` and `after` are its entries in a file, None where there is none."""

    slug: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    pruned: bool = False

    @property
    def outcome(self) -> str:
        if self.before is None:
            return "created"
        if self.after is None:
            return "deleted"
        if self.before == self.after:
            return "unchanged"
        return "switched off" if self.pruned else "changed"

    @property
    def diff(self) -> str:
        """What is different, as a unified diff of the JSON; '' where nothing is."""
        old, new = _lines(self.before), _lines(self.after)
        return "\n".join(difflib.unified_diff(old, new, f"{self.slug} (now)", f"{self.slug} (file)", lineterm=""))


def _lines(entry: dict[str, Any] | None) -> list[str]:
    return json.dumps(entry, indent=2, ensure_ascii=False).split("\n") if entry else []


def load(document: Any, *, actor: str = "", prune: bool = False, dry_run: bool = False) -> list[Loaded]:
    """Create or change the workflows of a file, by slug; all of them or, with DocumentError, none.

    What is as the file says is not touched. `prune` deletes those that the file does not name, and switches off
    those of them that have run. `dry_run` says what would become of each and leaves all as it is. Whoever acts
    stands in the audit log; a blank `actor` is for what nobody does.
    """
    entries = _entries(document)
    with transaction.atomic():
        done = [_load_workflow(entry, place=f"workflow {number}") for number, entry in enumerate(entries, start=1)]
        _refuse_twice(done)
        done += _prune({one.slug for one in done}) if prune else []
        if actor:
            _record(done, actor=actor)
        transaction.set_rollback(dry_run)
    return done


def _entries(document: Any) -> list[Any]:
    if document != _storable(document):
        raise DocumentError("The file holds U+0000 or half a surrogate pair, which no database can keep.")
    _refuse_unknown(document, {"workflows"}, place="the file")
    entries = document.get("workflows")
    if not isinstance(entries, list):
        raise DocumentError("The file must be an object with a list 'workflows'.")
    return entries


def _storable(document: Any) -> Any:
    try:
        return events.storable(document)
    except events.EventError as error:
        raise DocumentError(str(error)) from error


def _refuse_twice(done: list[Loaded]) -> None:
    seen: set[str] = set()
    for one in done:
        if one.slug in seen:
            raise DocumentError(f"workflow '{one.slug}': the file names it twice. Keep one of the two.")
        seen.add(one.slug)


def _record(done: Iterable[Loaded], *, actor: str) -> None:
    for one in done:
        if one.outcome != "unchanged":
            audit.record(f"workflow {one.outcome}", actor=actor, workflow=one.slug, by="file")


def _prune(kept: set[str]) -> list[Loaded]:
    """Delete or switch off what the file does not name: the mails of one that has run hang on it."""
    done = []
    for workflow in Workflow.objects.select_for_update().exclude(slug__in=kept).order_by("slug"):
        before = entry_of(workflow)
        if not editing.runs_of(workflow).exists():
            workflow.delete()
            done.append(Loaded(before["slug"], before, None, pruned=True))
            continue
        if workflow.enabled:
            workflow.enabled = False
            workflow.save(update_fields=["enabled", "updated_at"])
        done.append(Loaded(workflow.slug, before, entry_of(workflow), pruned=True))
    return done


def add(entry: dict[str, Any]) -> Workflow:
    """Create the workflow of one entry, and never change another one instead; raises DocumentError."""
    with transaction.atomic():
        workflow = Workflow(slug=entry["slug"])
        _fill(workflow, entry, place=f"workflow '{workflow.slug}'")
    return workflow


def _load_workflow(entry: Any, *, place: str) -> Loaded:
    _refuse_unknown(entry, _WORKFLOW, place=place)
    slug = _text(entry, "slug", place=place)
    workflow = Workflow.objects.select_for_update().filter(slug=slug).first()
    before = entry_of(workflow) if workflow else None
    workflow = workflow or Workflow(slug=slug)
    _fill(workflow, entry, place=f"workflow '{slug}'")
    return Loaded(slug, before, entry_of(workflow))


def _fill(workflow: Workflow, entry: dict[str, Any], *, place: str) -> None:
    """Make a workflow and its actions as the entry says; what is left out gets its default."""
    seen = editing.version(workflow)
    trigger = entry.get("trigger_params", {})
    _refuse_unknown(trigger, _TRIGGER, place=f"{place}, trigger_params")
    workflow.name = _text(entry, "name", place=place)
    workflow.enabled = _switch(entry, "enabled", default=True, place=place)
    workflow.on_unknown = _text(entry, "on_unknown", place=place) or Workflow.OnUnknown.RETRY
    for name in (*_DURATIONS, "time_zone"):
        setattr(workflow, name, _text(entry, name, place=place))
    for name in _FLAGS:
        setattr(workflow, name, _switch(entry, name, default=False, place=place))
    workflow.repeat_on = entry.get("repeat_on") or []
    workflow.repeat_condition_number_of_repeats = _repeats(entry, place=place)
    for name, default in (("trigger_type", "incident"), ("condition", "ALL")):
        setattr(workflow, name, _text(trigger, name, place=place) or default)
    for name in ("triggers", "conditions"):
        setattr(workflow, name, trigger.get(name) or [])
    _save(workflow, seen=seen, place=place)
    _load_tasks(workflow, entry.get("tasks", []), place=place)


def _repeats(entry: Mapping[str, Any], *, place: str) -> int | None:
    number = entry.get("repeat_condition_number_of_repeats")
    if number is not None and (type(number) is not int or number < 1):
        raise DocumentError(f"{place}: 'repeat_condition_number_of_repeats' must be a whole number from 1.")
    return number


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
    seen = editing.version(action)
    action.name = _text(task, "name", place=place) or "Send an Email"
    action.enabled = _switch(task, "enabled", default=True, place=place)
    action.skip_on_failure = _switch(task, "skip_on_failure", default=False, place=place)
    for name in _LISTS:
        setattr(action, name, params.get(name) or [])
    for name, attribute in _TEXTS.items():
        setattr(action, attribute, _text(params, name, place=place))
    for name in _SWITCHES:
        setattr(action, name, _switch(params, name, default=True, place=place))
    _save(action, seen=seen, place=place)
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


def _save(row: Workflow | Action, *, seen: str, place: str) -> None:
    """Validate a row, and store it unless it is stored like this already."""
    try:
        row.full_clean(exclude=["workflow"])
    except ValidationError as error:
        named = {_PUBLIC_NAMES.get(name, name): texts for name, texts in error.message_dict.items()}
        problems = "; ".join(f"{name}: {' '.join(texts)}" for name, texts in named.items())
        raise DocumentError(f"{place}: {problems}") from error
    if editing.version(row) != seen or row.pk is None:
        row.save()


def dump(slugs: Iterable[str] = ()) -> dict[str, Any]:
    """Return every workflow, or those with these slugs, as one document that `load` takes; raises DocumentError."""
    rows = Workflow.objects.prefetch_related("actions").order_by("slug")
    wanted = set(slugs)
    entries = [entry_of(workflow) for workflow in (rows.filter(slug__in=wanted) if wanted else rows)]
    missing = sorted(wanted - {entry["slug"] for entry in entries})
    if missing:
        raise DocumentError(f"There is no workflow '{missing[0]}'. `manage.py workflow dump` prints them all.")
    return {"workflows": entries}


def entry_of(workflow: Workflow) -> dict[str, Any]:
    """Return a workflow and its actions as they stand in a file."""
    return {
        "slug": workflow.slug,
        "name": workflow.name,
        "enabled": workflow.enabled,
        "locked": workflow.locked,
        "trigger_params": {
            "trigger_type": workflow.trigger_type,
            "triggers": workflow.triggers,
            "condition": workflow.condition,
            # PostgreSQL keeps the names of a JSON object in an order of its own.
            "conditions": [{name: one[name] for name in _CONDITION if name in one} for one in workflow.conditions],
        },
        "wait": workflow.wait or None,
        "repeat_every_duration": workflow.repeat_every_duration or None,
        "repeat_on": workflow.repeat_on,
        "repeat_condition_duration_since_first_run": workflow.repeat_condition_duration_since_first_run or None,
        "repeat_condition_number_of_repeats": workflow.repeat_condition_number_of_repeats,
        "continuously_repeat": workflow.continuously_repeat,
        "run_once_per_resource": workflow.run_once_per_resource,
        "time_zone": workflow.time_zone or None,
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
