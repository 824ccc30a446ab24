"""Workflows as files."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from django.conf import settings

from workflows import documents
from workflows.documents import DocumentError, Loaded
from workflows.models import Action, Workflow

pytestmark = pytest.mark.django_db

EXAMPLE = json.loads((settings.BASE_DIR / "workflows/examples/workflows.json").read_text())
SMALL: dict[str, Any] = {
    "workflows": [
        {
            "slug": "tell",
            "name": "Tell",
            "enabled": True,
            "trigger_params": {
                "trigger_type": "incident",
                "triggers": ["incident_created"],
                "condition": "ALL",
                "conditions": [{"path": "incident.severity", "operator": "IS", "values": ["sev0", "sev1"]}],
            },
            "wait": "30 seconds",
            "repeat_every_duration": None,
            "repeat_on": [],
            "give_up_after": None,
            "on_unknown": "retry",
            "tasks": [
                {
                    "name": "Mail",
                    "position": 1,
                    "enabled": True,
                    "skip_on_failure": False,
                    "task_params": {
                        "task_type": "send_email",
                        "to": ["a@example.org"],
                        "cc": [],
                        "bcc": [],
                        "from": None,
                        "subject": "Hello",
                        "preheader": None,
                        "body": "World",
                        "reply_to": None,
                        "custom_logo_url": None,
                        "include_header": True,
                        "include_footer": True,
                    },
                }
            ],
        }
    ]
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return SMALL with one value replaced; `path` is dotted, from the workflow."""
    document = copy.deepcopy(SMALL)
    place: Any = document["workflows"][0]
    *way, last = path.split(".")
    for name in way:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    return document


@pytest.mark.parametrize(
    "document",
    [SMALL, EXAMPLE, changed("give_up_after", "2 hours"), changed("on_unknown", "hold")],
    ids=["small", "example", "deadline", "hold"],
)
def test_what_was_loaded_is_dumped(document: dict[str, Any]) -> None:
    documents.load(document)
    assert documents.dump() == document


def test_loading_twice_changes_nothing_and_keeps_the_actions() -> None:
    assert documents.load(SMALL) == [Loaded("tell", created=True)]
    before = list(Action.objects.values_list("pk", flat=True))
    assert documents.load(SMALL) == [Loaded("tell", created=False)]
    assert list(Action.objects.values_list("pk", flat=True)) == before
    assert Workflow.objects.count() == 1


def test_tasks_that_left_the_file_are_removed() -> None:
    documents.load(SMALL)
    documents.load(changed("tasks", []))
    assert documents.dump()["workflows"][0]["tasks"] == []


def test_everything_but_the_essentials_may_be_left_out() -> None:
    short = {"slug": "s", "name": "S", "trigger_params": {"triggers": ["incident_created"]}, "tasks": []}
    task = {"task_params": {"task_type": "send_email", "to": ["a@example.org"], "subject": "s", "body": "b"}}
    documents.load({"workflows": [short | {"tasks": [task, task]}]})
    tasks = documents.dump()["workflows"][0]["tasks"]
    assert [(one["name"], one["position"], one["enabled"]) for one in tasks] == [
        ("Send an Email", 1, True),
        ("Send an Email", 2, True),
    ]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "The file must be a JSON object."),
        ({"workflows": {}}, "a list 'workflows'"),
        ({"workflows": [], "version": 2}, "unknown key 'version'"),
        ({"workflows": ["x"]}, "Workflow 1 must be a JSON object."),
        (changed("slug", "Not A Slug"), "slug: Use small letters"),
        (changed("slug", ""), "slug: "),
        (changed("name", ""), "name: "),
        (changed("colour", "red"), "Workflow 1: unknown key 'colour'"),
        (changed("slug", "abc\n"), "slug: Use small letters"),
        (changed("name", {"a": 1}), "'name' must be a text"),
        (changed("name", "a\x00"), "U+0000"),
        (changed("enabled", "yes"), "'enabled' must be true or false"),
        (changed("wait", 0), "'wait' must be a text"),
        (changed("trigger_params.conditions", [{"path": "x", "operator": ["IS"]}]), "'operator' is one of"),
        (
            changed("trigger_params.conditions", [{"path": "x", "operator": "IS", "values": [float("nan")]}]),
            "too large",
        ),
        (changed("tasks.0.position", True), "'position' must be a whole number"),
        (changed("tasks.0.task_params.body", ["x"]), "'body' must be a text"),
        (changed("wait", "soon"), "'soon' is not a duration"),
        (changed("wait", "3 seconds"), "Wait between 10 seconds"),
        (changed("repeat_every_duration", "1h"), "repeating is not supported yet"),
        (changed("repeat_on", ["M"]), "repeating is not supported yet"),
        (changed("give_up_after", "soon"), "give_up_after: 'soon' is not a duration"),
        (changed("give_up_after", "5 seconds"), "Give up after one minute at the earliest and 30 days at the latest"),
        (changed("give_up_after", "5 weeks"), "Give up after one minute at the earliest and 30 days at the latest"),
        (changed("on_unknown", "guess"), "on_unknown: Value 'guess' is not a valid choice."),
        (changed("trigger_params.trigger_type", "weather"), "trigger_type: Choose one of incident, "),
        (changed("trigger_params.triggers", []), "triggers: Name at least one event"),
        (changed("trigger_params.triggers", ["alert_created"]), "'alert_created' is not an event of type incident"),
        (changed("trigger_params.triggers", ["incident_updated", "title_updated"]), "already hears 'title_updated'"),
        (changed("trigger_params.condition", "SOME"), "condition: "),
        (
            changed("trigger_params.conditions", [{"path": "x", "operator": "LIKE"}]),
            "Condition 1: 'operator' is one of",
        ),
        (changed("trigger_params.conditions", [{"path": "", "operator": "SET"}]), "Condition 1: 'path' names a value"),
        (changed("trigger_params.conditions", [{"path": "x", "operator": "IS"}]), "'IS' needs at least one value"),
        (changed("tasks.0.position", 0), "'position' must be a whole number from 1 to 1000"),
        (changed("tasks.0.position", "first"), "'position' must be a whole number"),
        (changed("tasks.0.task_params.task_type", "send_sms"), "task_type must be 'send_email'"),
        (changed("tasks.0.task_params.to", []), "to: "),
        (changed("tasks.0.task_params.to", [7]), "to: Enter a list of texts"),
        (changed("tasks.0.task_params.to", "a@example.org"), "to: Enter a list of texts"),
        (changed("tasks.0.task_params.subject", ""), "subject: "),
        (changed("tasks.0.task_params.body", ""), "body: "),
        (changed("tasks.0.task_params.subject", "{{ x "), "subject: Line 1: "),
        (changed("tasks.0.task_params.body", "a\n{% if x %}\nb"), "body: "),
        (changed("tasks.0.task_params.to", ["{% nope %}"]), "to: Line 1: unknown tag"),
        (changed("tasks.0.task_params.from", "{{ x "), "from: "),
        (changed("tasks.0.task_params.attachments", []), "unknown key 'attachments'"),
        (changed("tasks.0.task_params.from", "x@rootmail.example"), "belongs to this installation"),
        (changed("tasks.0.task_params.from", "Desk <x@sub.ROOTMAIL.example>"), "belongs to this installation"),
        (changed("tasks.0.task_params.custom_logo_url", "javascript:alert(1)"), "custom_logo_url: "),
    ],
)
def test_a_bad_file_is_refused_whole_with_the_place_and_the_reason(document: Any, complaint: str) -> None:
    both = document
    if isinstance(document, dict) and isinstance(document.get("workflows"), list):
        good = copy.deepcopy(SMALL["workflows"][0]) | {"slug": "good"}
        both = document | {"workflows": [*document["workflows"], good]}
    with pytest.raises(DocumentError) as caught:
        documents.load(both)
    assert complaint in str(caught.value)
    assert not Workflow.objects.exists()


def test_two_tasks_cannot_share_a_position() -> None:
    task = SMALL["workflows"][0]["tasks"][0]
    with pytest.raises(DocumentError, match="position 1 is taken"):
        documents.load(changed("tasks", [task, task]))
    assert not Workflow.objects.exists()


def test_a_from_with_liquid_is_left_for_the_run() -> None:
    documents.load(changed("tasks.0.task_params.from", "{{ incident.owner }}@rootmail.example"))
    assert Action.objects.get().sender == "{{ incident.owner }}@rootmail.example"
