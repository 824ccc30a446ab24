"""Workflows as files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from integrations.models import AuditEvent
from tests.effort import examples
from workflows import documents, services
from workflows.documents import DocumentError, Loaded
from workflows.events import Incoming
from workflows.models import Action, Run, Workflow

pytestmark = pytest.mark.django_db

EXAMPLE = json.loads((settings.BASE_DIR / "workflows/examples/workflows.json").read_text())
SMALL: dict[str, Any] = {
    "workflows": [
        {
            "slug": "tell",
            "name": "Tell",
            "enabled": True,
            "locked": False,
            "trigger_params": {
                "trigger_type": "incident",
                "triggers": ["incident_created"],
                "condition": "ALL",
                "conditions": [{"path": "incident.severity", "operator": "IS", "values": ["sev0", "sev1"]}],
            },
            "wait": "30 seconds",
            "repeat_every_duration": None,
            "repeat_on": [],
            "repeat_condition_duration_since_first_run": None,
            "repeat_condition_number_of_repeats": None,
            "continuously_repeat": False,
            "run_once_per_resource": False,
            "time_zone": None,
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


REPEATING = copy.deepcopy(SMALL)
REPEATING["workflows"][0] |= {
    "repeat_every_duration": "1 day",
    "repeat_on": ["M", "R", "U"],
    "repeat_condition_duration_since_first_run": "2 weeks",
    "repeat_condition_number_of_repeats": 5,
    "continuously_repeat": True,
    "run_once_per_resource": True,
    "time_zone": "Europe/Berlin",
    "locked": True,
}


@pytest.mark.parametrize(
    "document",
    [SMALL, EXAMPLE, changed("give_up_after", "2 hours"), changed("on_unknown", "hold"), REPEATING],
    ids=["small", "example", "deadline", "hold", "repeating"],
)
def test_what_was_loaded_is_dumped(document: dict[str, Any]) -> None:
    documents.load(document)
    assert documents.dump() == document


def rows() -> list[Any]:
    return [*Workflow.objects.order_by("slug").values(), *Action.objects.order_by("pk").values()]


def outcomes(loaded: list[Loaded]) -> dict[str, str]:
    return {one.slug: one.outcome for one in loaded}


def test_loading_twice_changes_nothing_not_even_the_time_of_the_change() -> None:
    assert outcomes(documents.load(REPEATING)) == {"tell": "created"}
    before = rows()
    assert outcomes(documents.load(REPEATING, actor="ada")) == {"tell": "unchanged"}
    assert rows() == before
    assert not AuditEvent.objects.exists()


def test_the_order_in_which_a_database_keeps_a_condition_is_no_change() -> None:
    documents.load(SMALL)
    Workflow.objects.update(
        conditions=[{"values": ["sev0", "sev1"], "path": "incident.severity", "operator": "IS"}],
    )
    assert list(documents.dump()["workflows"][0]["trigger_params"]["conditions"][0]) == ["path", "operator", "values"]
    [done] = documents.load(SMALL)
    assert (done.outcome, done.diff) == ("unchanged", "")


def test_loading_a_change_is_told_and_keeps_the_actions() -> None:
    documents.load(SMALL)
    action = Action.objects.get()
    done = documents.load(changed("tasks.0.task_params.subject", "Good bye"), actor="ada")
    assert outcomes(done) == {"tell": "changed"}
    assert [line for line in done[0].diff.split("\n") if line[0] in "+-"] == [
        "--- tell (now)",
        "+++ tell (file)",
        '-        "subject": "Hello",',
        '+        "subject": "Good bye",',
    ]
    assert (Action.objects.get().pk, Action.objects.get().subject) == (action.pk, "Good bye")
    told = AuditEvent.objects.get()
    assert (told.actor, told.action, told.details) == ("ada", "workflow changed", {"workflow": "tell", "by": "file"})


def test_a_dry_run_changes_nothing() -> None:
    documents.load(SMALL)
    before = rows()
    other = changed("name", "Else")["workflows"][0] | {"slug": "other"}
    done = documents.load({"workflows": [other]}, actor="ada", prune=True, dry_run=True)
    assert outcomes(done) == {"other": "created", "tell": "deleted"}
    assert rows() == before
    assert not AuditEvent.objects.exists()


def test_pruning_deletes_what_the_file_does_not_name_and_switches_off_what_has_run() -> None:
    four = [SMALL["workflows"][0] | {"slug": slug} for slug in ("kept", "never-ran", "off", "ran")]
    documents.load({"workflows": four})
    services.trigger(Incoming("incident_created", {"incident": {"severity": "sev0"}}))
    Run.objects.filter(workflow__slug="never-ran").delete()
    Workflow.objects.filter(slug="off").update(enabled=False)
    done = documents.load({"workflows": four[:1]}, prune=True, actor="ada")
    assert outcomes(done) == {"kept": "unchanged", "never-ran": "deleted", "off": "unchanged", "ran": "switched off"}
    assert dict(Workflow.objects.values_list("slug", "enabled")) == {"kept": True, "off": False, "ran": False}
    assert list(AuditEvent.objects.order_by("pk").values_list("action", flat=True)) == [
        "workflow deleted",
        "workflow switched off",
    ]


def test_a_workflow_that_is_named_twice_is_refused() -> None:
    with pytest.raises(DocumentError, match="'tell': the file names it twice"):
        documents.load({"workflows": SMALL["workflows"] * 2})
    assert not Workflow.objects.exists()


def test_some_are_dumped_by_name() -> None:
    documents.load({"workflows": [SMALL["workflows"][0] | {"slug": slug} for slug in "abc"]})
    assert [entry["slug"] for entry in documents.dump(["c", "a"])["workflows"]] == ["a", "c"]
    with pytest.raises(DocumentError, match="There is no workflow 'x'"):
        documents.dump(["a", "x"])


def test_one_that_is_added_never_changes_another() -> None:
    documents.load(SMALL)
    with pytest.raises(DocumentError, match="slug: "):
        documents.add(changed("name", "Else")["workflows"][0])
    assert Workflow.objects.get().name == "Tell"


# Characters that a database can keep; a line must not begin Liquid by chance.
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00{}\n\r"), max_size=20)
NAMES = TEXTS.filter(str.strip)
RECIPIENTS = TEXTS.map("{{{{ x }}}}{}".format) | st.sampled_from(
    ["a@example.org", "Ada <a@b.example>, c@d.example", ""]
)
LISTS = st.lists(RECIPIENTS, max_size=3)
DURATIONS = st.sampled_from([None, "1 day", "2h 30min", "90 mins", "1 Week"])
ENTRIES = st.fixed_dictionaries(
    {
        "name": NAMES, "enabled": st.booleans(), "locked": st.booleans(), "wait": DURATIONS,
        "repeat_every_duration": DURATIONS.filter(bool), "repeat_on": st.lists(st.sampled_from("SMTWRFU")),
        "repeat_condition_duration_since_first_run": DURATIONS, "continuously_repeat": st.booleans(),
        "repeat_condition_number_of_repeats": st.none() | st.integers(1, 10_000),
        "run_once_per_resource": st.booleans(), "time_zone": st.sampled_from([None, "UTC", "Asia/Kolkata"]),
        "give_up_after": DURATIONS, "on_unknown": st.sampled_from(["retry", "hold"]),
    }
)  # fmt: skip
PARAMS = st.fixed_dictionaries(
    {
        "to": LISTS.filter(bool), "cc": LISTS, "bcc": LISTS, "subject": NAMES, "body": NAMES,
        "preheader": st.none() | NAMES, "reply_to": st.none() | RECIPIENTS.filter(bool),
        "include_header": st.booleans(),
    }
)  # fmt: skip


@given(entry=ENTRIES, params=st.lists(PARAMS, max_size=3))
@hypothesis_settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_loaded_is_dumped_as_it_was_and_loads_again_unchanged(
    entry: dict[str, Any], params: list[dict[str, Any]]
) -> None:
    base = SMALL["workflows"][0]
    tasks = [
        base["tasks"][0] | {"position": number, "task_params": base["tasks"][0]["task_params"] | one}
        for number, one in enumerate(params, start=1)
    ]
    document = {"workflows": [base | entry | {"tasks": tasks}]}
    documents.load(document)
    assert documents.dump() == document
    assert outcomes(documents.load(json.loads(json.dumps(documents.dump())))) == {"tell": "unchanged"}


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
        (changed("repeat_every_duration", "5 seconds"), "repeat_every_duration: Repeat every minute at most"),
        (changed("repeat_every_duration", ["1h"]), "'repeat_every_duration' must be a text"),
        (changed("repeat_on", ["Monday"]), "repeat_on: Days are letters"),
        (changed("repeat_on", "M"), "repeat_on: Days are letters"),
        (changed("repeat_condition_duration_since_first_run", "2 weeks"), "It never repeats"),
        (changed("repeat_condition_number_of_repeats", 5), "It never repeats"),
        (changed("repeat_condition_number_of_repeats", "5"), "must be a whole number from 1"),
        (changed("repeat_condition_number_of_repeats", True), "must be a whole number from 1"),
        (changed("repeat_condition_number_of_repeats", 0), "must be a whole number from 1"),
        (changed("repeat_condition_number_of_repeats", 10**12), "repeat_condition_number_of_repeats: "),
        (changed("continuously_repeat", True), "continuously_repeat: It never repeats"),
        (changed("continuously_repeat", "yes"), "'continuously_repeat' must be true or false"),
        (changed("run_once_per_resource", 1), "'run_once_per_resource' must be true or false"),
        (changed("time_zone", "Berlin"), "time_zone: Write a time zone as the tz database names it"),
        (changed("locked", "no"), "'locked' must be true or false"),
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
        (
            changed("trigger_params.conditions", [{"path": "{{ incident.severity }}", "operator": "SET"}]),
            "Condition 1: Write the path without braces: incident.severity.",
        ),
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
        (changed("tasks.0.task_params.subject", "{{ x | uppcase }}"), 'subject: Line 1: unknown filter "uppcase"'),
        (changed("tasks.0.task_params.to", ["a@example.org, nobody"]), 'to: "nobody" is not an e-mail address.'),
        (changed("tasks.0.task_params.reply_to", "nobody"), 'reply_to: "nobody" is not an e-mail address.'),
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


# The command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "workflows.json"
    path.write_text(json.dumps({"workflows": [changed("name", "New")["workflows"][0]]}))
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("workflow", *arguments)
    return capsys.readouterr().out


def test_the_command_tells_what_it_would_do_and_then_what_it_did(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    documents.load({"workflows": [SMALL["workflows"][0], SMALL["workflows"][0] | {"slug": "left"}]})
    services.trigger(Incoming("incident_created", {"incident": {"severity": "sev0"}}))
    told = said(capsys, "load", str(file), "--prune", "--dry-run")
    assert told.startswith("tell: would be changed\n--- tell (now)\n+++ tell (file)\n")
    assert '-  "name": "Tell",\n+  "name": "New",' in told
    assert "left: would be switched off: it has run, so it is kept for its mails' story\n" in told
    assert Workflow.objects.filter(name="Tell", enabled=True).count() == 2
    assert said(capsys, "load", str(file), "--prune") == (
        "tell: changed\nleft: switched off: it has run, so it is kept for its mails' story\n"
    )
    assert said(capsys, "load", str(file)) == "tell: unchanged\n"
    assert [one.actor for one in AuditEvent.objects.all()] == ["command line"] * 2


def test_the_command_speaks_json(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    [would] = json.loads(said(capsys, "load", str(file), "--dry-run", "--json"))
    assert would["diff"].startswith("--- tell (now)\n+++ tell (file)\n@@")
    assert would | {"diff": ""} == {"slug": "tell", "outcome": "created", "created": True, "diff": ""}
    said(capsys, "load", str(file))
    assert json.loads(said(capsys, "load", str(file), "--json")) == [
        {"slug": "tell", "outcome": "unchanged", "created": False, "diff": None}
    ]
    assert json.loads(said(capsys, "dump", "tell")) == documents.dump() == json.loads(file.read_text())
    with pytest.raises(CommandError, match="There is no workflow 'other'"):
        call_command("workflow", "dump", "other")
