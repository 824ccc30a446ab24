"""Workflows made of others: templates to start from, and copies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.db import transaction

from integrations import audit

from . import documents, words
from .models import Workflow

FOLDER = Path(__file__).parent / "examples" / "starters"
LONGEST_NAME = 200
# The files hold all of it but for this: what each is for.
WHAT_FOR = {
    "tell-stakeholders": "One mail to everybody who has to know, as soon as an incident of SEV0 or SEV1 is there.",
    "daily-reminder": "While a SEV1 is open, every weekday a mail with where it stands, until it is resolved.",
    "resolved-summary": "When an incident is resolved: what happened, how long it took, what is still to do.",
    "alert-on-call": "For each alert of an alerting tool, a mail to those who are on call.",
    "deploy-finished": "An event of your own, sent by a pipeline: tells a list of people what was deployed.",
}


@dataclass(frozen=True, slots=True)
class Starter:
    """A template: its key, what it is for, and the workflow as it stands in a file."""

    key: str
    what_for: str
    entry: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.entry["name"])

    @property
    def kind(self) -> str:
        return words.of_kind(self.entry["trigger_params"]["trigger_type"])


@cache
def all_of_them() -> list[Starter]:
    return [Starter(key, what_for, _entry(key)) for key, what_for in WHAT_FOR.items()]


def _entry(key: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads((FOLDER / f"{key}.json").read_text(encoding="utf-8"))["workflows"][0]
    return entry


def named(key: str) -> Starter | None:
    return next((starter for starter in all_of_them() if starter.key == key), None)


def make(starter: Starter, *, actor: str) -> Workflow:
    """Make a workflow of a template; it is switched off."""
    return _add(starter.entry, actor=actor, template=starter.key)


def duplicate(workflow: Workflow, *, actor: str) -> Workflow:
    """Copy a workflow with its actions. The copy is switched off, and open to every Editor.

    Raises DocumentError where it is not valid (any more).
    """
    slug = f"{workflow.slug[:90].rstrip('-_')}-copy"  # leaves room for a number
    called = {"name": f"Copy of {workflow.name}"[:LONGEST_NAME], "slug": slug}
    return _add(documents.entry_of(workflow) | called, actor=actor, copy_of=workflow.slug)


def _add(entry: dict[str, Any], *, actor: str, **told: str) -> Workflow:
    with transaction.atomic():
        own = {"slug": _free(entry["slug"]), "enabled": False, "locked": False}
        made = documents.add(entry | own)
        audit.record("workflow created", actor=actor, workflow=made.slug, **told)
    return made


def _free(slug: str) -> str:
    """Return the slug, with a number behind it where somebody has it."""
    taken = set(Workflow.objects.filter(slug__startswith=slug).values_list("slug", flat=True))
    number = 2
    found = slug
    while found in taken:
        found = f"{slug}-{number}"
        number += 1
    return found
