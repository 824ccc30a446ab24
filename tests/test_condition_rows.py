"""The conditions of a workflow in its form: added, removed, tried and saved, without a script."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.test_documents import SMALL
from tests.test_editor import HOSTILE, NEW, ONE, audited, text
from workflows import conditions, documents, samples, services, variables
from workflows.events import TRIGGERS, Incoming
from workflows.models import Event, Run, Workflow

pytestmark = pytest.mark.django_db
FORM: dict[str, Any] = {
    "name": "Tell", "slug": "tell", "enabled": "on", "trigger_type": "incident", "on_unknown": "retry",
    "triggers_incident": ["incident_created"], "conditions": "shown", "condition": "ALL",
}  # fmt: skip
SEV = ("incident.severity", "IS", "SEV0\r\nSEV1")
WRONG = ("$.incident[", "IS", "a")
BLANK = ("", "IS", "")


@pytest.fixture
def editor(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Editor"])
    return client


@pytest.fixture
def workflow() -> Workflow:
    documents.load(SMALL)
    return Workflow.objects.get()


def form(*rows: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    names = ("condition-path", "condition-operator", "condition-values")
    columns = zip(*rows, strict=True) if rows else [(), (), ()]
    return FORM | {name: list(column) for name, column in zip(names, columns, strict=True)} | more


def rows_of(answer: Any) -> list[tuple[str, str, str]]:
    """Return the rows of a page as a browser would send them."""
    page = answer.content.decode()
    paths = re.findall(r'<input type="text" name="condition-path"(?: value="([^"]*)")?', page)
    chosen = re.findall(r'<select name="condition-operator".*?<option value="([^"]*)" selected', page, re.S)
    values = re.findall(r'<textarea name="condition-values".*?>\n?(.*?)</textarea>', page, re.S)
    return [(unescape(a), b, unescape(c)) for a, b, c in zip(paths, chosen, values, strict=True)]


def stored() -> tuple[str, list[dict[str, Any]]]:
    row = Workflow.objects.get(slug="tell")
    return row.condition, row.conditions


def keep(**values: Any) -> None:
    Workflow.objects.update(**values)


def test_the_page_shows_the_stored_conditions_as_rows(editor: Client, workflow: Workflow) -> None:
    keep(
        condition="NONE",
        conditions=[
            {"path": "incident.severity", "operator": "IS NOT", "values": ["SEV0", 3, True]},
            {"path": 'incident.labels["a.b"]', "operator": "UNSET"},
        ],
    )
    page = editor.get(ONE)
    assert rows_of(page) == [
        ("incident.severity", "IS NOT", "SEV0\n3\ntrue"),
        ('incident.labels["a.b"]', "UNSET", ""),
    ]
    assert 'value="NONE" id="id_condition_2" checked' in page.content.decode()
    assert "It sees" not in text(page)


def test_rows_are_saved_and_blank_ones_are_not(editor: Client, workflow: Workflow) -> None:
    rows = [SEV, BLANK, ("incident.services", "CONTAINS_ALL", "/^pay/i\n a, b \n"), ("incident.summary", "SET", "x")]
    assert editor.post(ONE, form(*rows, condition="ANY")).status_code == 302
    assert stored() == (
        "ANY",
        [
            {"path": "incident.severity", "operator": "IS", "values": ["SEV0", "SEV1"]},
            {"path": "incident.services", "operator": "CONTAINS_ALL", "values": ["/^pay/i", "a, b"]},
            {"path": "incident.summary", "operator": "SET", "values": []},
        ],
    )
    assert audited() == ["workflow changed by editor"]


def test_what_was_not_changed_is_saved_as_it_was(editor: Client, workflow: Workflow) -> None:
    before = [{"path": "incident.count", "operator": "IS", "values": [3, True]}, {"path": "a", "operator": "SET"}]
    keep(conditions=before)
    editor.post(ONE, form(*rows_of(editor.get(ONE)), ("b", "IS", "3")))
    assert stored()[1] == [*before, {"path": "b", "operator": "IS", "values": ["3"]}]


def test_a_form_that_says_nothing_of_conditions_keeps_them(editor: Client, workflow: Workflow) -> None:
    keep(condition="ANY", conditions=[{"path": "a", "operator": "SET"}])
    editor.post(ONE, {name: value for name, value in FORM.items() if not name.startswith("condition")})
    assert stored() == ("ANY", [{"path": "a", "operator": "SET"}])


def test_a_new_workflow_is_made_with_its_conditions(editor: Client) -> None:
    assert editor.post(NEW, form(SEV)).status_code == 302
    assert stored()[1] == [{"path": "incident.severity", "operator": "IS", "values": ["SEV0", "SEV1"]}]


def test_adding_a_row_saves_nothing_and_complains_of_nothing(editor: Client, workflow: Workflow) -> None:
    before = stored()
    answer = editor.post(ONE, form(SEV, WRONG, add_condition="1", name="", wait="soon", seen="what it saw"))
    assert (answer.status_code, stored(), audited()) == (200, before, [])
    assert rows_of(answer) == [("incident.severity", "IS", "SEV0\nSEV1"), WRONG, BLANK]
    page = answer.content.decode()
    assert ('class="error"' in page, 'value="soon"' in page, 'name="seen" value="what it saw"' in page) == (
        False, True, True,
    )  # fmt: skip
    assert re.findall(r'<input[^>]* autofocus[^>]* id="([^"]*)"', page) == ["id_3_condition-path"]


@pytest.mark.parametrize(
    ("number", "left"),
    [("1", [WRONG, BLANK]), ("2", [SEV, BLANK]), ("4", [SEV, WRONG, BLANK]), ("x", [SEV, WRONG, BLANK])],
)
def test_removing_a_row(editor: Client, workflow: Workflow, number: str, left: list[Any]) -> None:
    answer = editor.post(ONE, form(SEV, WRONG, BLANK, remove_condition=number))
    assert answer.status_code == 200
    assert rows_of(answer) == [(path, operator, values.replace("\r", "")) for path, operator, values in left]


def test_the_last_row_can_be_removed_and_none_saved(editor: Client, workflow: Workflow) -> None:
    assert "it runs with every event that it hears" in text(editor.post(ONE, form(SEV, remove_condition="1")))
    assert editor.post(ONE, form()).status_code == 302
    assert stored() == ("ALL", [])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (WRONG, "Character 12 of the JSONPath $.incident[: unbalanced brackets."),
        (("incident..x", "SET", ""), "Character 9 of the path incident..x: write names with dots between them"),
        (("{{ incident.severity }}", "IS", "x"), "Write the path without braces: incident.severity."),
        (("", "IS", "x"), "'path' names a value of the event"),
        (("a", "IS", ""), "'IS' needs at least one value."),
        (("a", "IS", "b\n/c(/"), "Value 2: Character 3 of the pattern c(: missing )."),
        (("a", "LIKE", "x"), "Select a valid choice. LIKE is not one of the available choices."),
        (("a\x00", "SET", ""), "Null characters are not allowed."),
        (("a", "IS", "x\n" * 101), "There are 101 values, and 100 at the most"),
    ],
)
def test_an_error_stands_beside_its_row(editor: Client, workflow: Workflow, row: Any, said: str) -> None:
    before = stored()
    answer = editor.post(ONE, form(SEV, row, ("incident.status", "SET", "")))
    assert (answer.status_code, stored()) == (422, before)
    assert f"Condition 2 : {said}" in text(answer)
    _, first, second, third = re.split(r'role="group" aria-label="Condition \d"', answer.content.decode())
    errors = [
        re.findall(r'class="error"[^>]*>(.*?)</p>', part) for part in (first, second, third.split("</fieldset>")[0])
    ]
    assert [len(found) for found in errors] == [0, 1, 0]
    assert said in unescape(errors[1][0])


def test_there_is_a_limit_to_rows(editor: Client, workflow: Workflow) -> None:
    assert "There may be 50 conditions" in text(editor.post(ONE, form(*[SEV] * 51)))
    assert editor.post(ONE, form(*[SEV] * 50)).status_code == 302
    assert len(rows_of(editor.post(ONE, form(*[SEV] * 70, add_condition="1")))) == 52


def test_what_is_typed_is_no_markup(editor: Client, workflow: Workflow) -> None:
    answer = editor.post(ONE, form((f"$.{HOSTILE}", "IS", HOSTILE), SEV, try_conditions="1"))
    assert HOSTILE not in answer.content.decode()
    assert rows_of(answer)[0] == (f"$.{HOSTILE}", "IS", HOSTILE)


# Trying them


def told(answer: Any) -> tuple[list[str], str]:
    page = answer.content.decode()
    looks = re.findall(r'<p class="saw.*?</p>', page, re.S)
    verdict = re.search(r'<p class="told".*?</p>', page, re.S)
    plain = [unescape(re.sub(r"<[^>]+>", "", part)) for part in (*looks, verdict[0] if verdict else "")]
    return plain[:-1], plain[-1]


def test_conditions_are_tried_on_a_built_in_event(editor: Client, workflow: Workflow) -> None:
    before = stored()
    rows = [SEV, ("incident.no", "IS NOT", "x"), ("incident.raw_services", "CONTAINS", "none"), BLANK]
    answer = editor.post(ONE, form(*rows, try_conditions="1", wait="soon"))
    assert (answer.status_code, stored(), 'class="error"' in answer.content.decode()) == (200, before, False)
    assert told(answer) == (
        ["Holds. It sees SEV1", "Holds. It sees nothing there.", "Does not hold. It sees checkout, payments-api"],
        "Nothing was run: this was a try. With this event it would not run. Its conditions do not hold: "
        "incident.raw_services contains 'none' (it is 'checkout' and 'payments-api').",
    )


@pytest.mark.parametrize(("switch", "when"), [({}, ""), ({"enabled": ""}, ", once it is switched on")])
def test_a_try_that_holds_says_that_it_was_a_try(
    editor: Client, workflow: Workflow, switch: dict[str, str], when: str
) -> None:
    tried = form(SEV, ("incident.no", "IS", "x"), try_conditions="1", condition="ANY") | switch
    answer = editor.post(ONE, {name: value for name, value in tried.items() if value})
    assert told(answer)[1] == f"With this event it would run{when}. Nothing was run: this was a try."


def test_a_wrong_row_is_not_tried_and_the_others_are(editor: Client, workflow: Workflow) -> None:
    answer = editor.post(ONE, form(SEV, WRONG, try_conditions="1"))
    assert told(answer) == (
        ["Holds. It sees SEV1"], "Nothing was run. Mend what is wrong above: then it can be told whether it would run."
    )  # fmt: skip
    assert "unbalanced brackets" in text(answer)


def test_a_condition_that_cannot_be_told_says_why(editor: Client, workflow: Workflow) -> None:
    services.trigger(Incoming("incident_created", {"incident": {"title": "a" * 60 + "b"}}))
    row = ("incident.title", "IS", "/(a|a)+$/")
    answer = editor.post(ONE, form(row, try_conditions="1", event=str(Event.objects.get().pk)))
    assert told(answer)[0] == ["Cannot be told: The pattern (a|a)+$ took too long on this event."]


def test_real_events_are_offered_also_those_that_the_conditions_kept_away(editor: Client, workflow: Workflow) -> None:
    keep(conditions=[{"path": "incident.severity", "operator": "IS", "values": ["none"]}])
    happened = services.trigger(Incoming("incident_created", {"incident": {"severity": "SEV7", "on call": "zoe"}}))
    services.trigger(Incoming("incident_started", {"incident": {}}))
    services.trigger(Incoming("alert_created", {"alert": {}}))
    assert Run.objects.count() == 0
    heard = samples.heard(Workflow.objects.get())
    assert [(one.key, one.event) for one in heard] == [
        (str(happened.event.pk), "incident_created"), ("incident", "incident"),
    ]  # fmt: skip
    answer = editor.post(ONE, form(SEV, try_conditions="1", event=heard[0].key))
    assert told(answer) == (
        ["Does not hold. It sees SEV7"],
        "Nothing was run: this was a try. With this event it would not run. "
        "Its conditions do not hold: incident.severity is 'SEV0' or 'SEV1' (it is 'SEV7').",
    )
    assert '<option value="incident.on call">' in answer.content.decode()


def test_paths_are_suggested_for_the_chosen_kind(editor: Client, workflow: Workflow) -> None:
    page = editor.get(NEW).content.decode()
    assert ('<option value="incident.raw_services.slug">' in page, '<option value="alert.source">' in page) == (
        True,
        False,
    )
    page = editor.post(NEW, form(trigger_type="alert", add_condition="1")).content.decode()
    assert ('<option value="incident.raw_services.slug">' in page, '<option value="alert.source">' in page) == (
        False,
        True,
    )


@pytest.mark.parametrize("kind", TRIGGERS)
def test_every_suggested_path_is_a_right_one(kind: str) -> None:
    data = samples.heard(Workflow(trigger_type=kind, triggers=[]))[-1].data
    for path in variables.paths(data):
        assert conditions.problem_of({"path": path, "operator": "SET"}) is None
    assert kind == "simple" or variables.paths(data)


def test_suggestions_are_limited_and_quoted() -> None:
    data: dict[str, Any] = {"a": {"b.c": 1, "d": [{"slug": "x"}, {"e": 2}], "f": {"name": "g"}}, "x" * 600: 1}
    data |= {"two\nlines": 1, "many": {str(number): number for number in range(999)}}
    found = variables.paths(data)
    assert found[:8] == ['a["b.c"]', "a.d", "a.d.slug", "a.d.e", "a.f", "a.f.name", '["two\\nlines"]', "many.0"]
    assert len(found) == variables.MOST
