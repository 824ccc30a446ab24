"""What was refused is named above its form, with the way there, for as long as it is wrong and no longer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.chromium import Page, expect
from tests.scenes import become
from tests.test_accessibility import reader
from tests.test_condition_rows import SEV, WRONG, form
from tests.test_documents import SMALL
from tests.test_editor import ONE, text
from workflows import documents
from workflows.models import Action, Workflow

pytestmark = pytest.mark.django_db
HERE = "Condition 1 : Character 12"
NO_NAME = "This field is required."


@pytest.fixture
def editor(client: Client, team: dict[str, User]) -> Client:
    documents.load(SMALL)
    client.force_login(team["Editor"])
    return client


def test_each_error_leads_to_what_it_is_about(editor: Client) -> None:
    wrong: dict[str, Any] = {
        "name": "", "trigger_type": "alert", "repeat_on": "X", "on_unknown": "x", "condition": "x", "wait": "soon",
    }  # fmt: skip
    page = editor.post(ONE, form(SEV, WRONG, ("a", "IS", ""), **wrong)).content.decode()
    summary = page.partition('<div id="errors">')[2].partition("<form")[0]
    led = re.findall(r'<p><a href="#([^"]*)"', summary)
    assert [one for one in led if page.count(f' id="{one}"') != 1] == []
    assert {"id_2_condition-path", "id_3_condition-values", "id_name", "id_triggers_alert", "id_repeat_on"} <= {*led}
    assert {"id_on_unknown", "id_condition", "id_wait"} <= {*led}


class TestConditions:
    """Their buttons draw them anew: what Save has refused before is looked at again as well."""

    def test_what_is_corrected_is_named_no_more(self, editor: Client) -> None:
        refused = editor.post(ONE, form(WRONG, name=""))
        assert 'name="refused" value="1"' in refused.content.decode()
        tried = text(editor.post(ONE, form(SEV, name="", refused="1", try_conditions="1")))
        assert (HERE in tried, f"Name : {NO_NAME}" in tried) == (False, True)
        tried = text(editor.post(ONE, form(WRONG, refused="1", try_conditions="1")))
        assert (HERE in tried, f"Name : {NO_NAME}" in tried) == (True, False)
        assert "Nothing was saved." not in text(editor.post(ONE, form(SEV, refused="1", try_conditions="1")))

    def test_a_row_that_is_added_is_not_complained_of(self, editor: Client) -> None:
        answer = editor.post(ONE, form(SEV, refused="1", add_condition="1"))
        assert (answer.status_code, "Nothing was saved." in text(answer)) == (200, False)

    def test_what_was_read_out_before_is_not_read_out_again(self, editor: Client) -> None:
        assert 'role="alert"' in editor.post(ONE, form(SEV, name="")).content.decode()
        again = editor.post(ONE, form(SEV, name="", refused="1", try_conditions="1"))
        assert (f"Name : {NO_NAME}" in text(again), 'role="alert"' in again.content.decode()) == (True, False)


@pytest.mark.processes
class TestWithScripts:
    @pytest.fixture
    def page(self, live_server: Any, people: None) -> Iterator[Page]:
        documents.load(SMALL, actor="ada")
        with reader(theme="light", width=1280) as context:
            become(context, "ada", site=live_server.url)
            page = context.new_page()
            page.goto(f"{live_server.url}{ONE}")
            yield page

    def test_what_is_corrected_leaves_the_summary_of_a_workflow(self, page: Page) -> None:
        page.locator("#id_name").fill("")
        page.get_by_label("1. Value of the event").fill("$.incident[")
        page.get_by_role("button", name="Save", exact=True).click()
        summary = page.locator("#errors p")
        expect(summary).to_have_count(2)
        page.get_by_role("link", name="Condition 1").click()
        expect(page.get_by_label("1. Value of the event")).to_be_focused()
        page.get_by_label("1. Value of the event").fill("incident.severity")
        page.get_by_role("button", name="Try them").click()
        expect(summary).to_have_text([f"Name: {NO_NAME}"])
        page.locator("#id_name").fill("Another name")
        page.get_by_role("button", name="Add a condition").click()
        expect(page.get_by_label("2. Value of the event")).to_be_focused()
        expect(page.locator("#errors")).to_be_empty()
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.get_by_text("'Another name' is saved.")).to_be_visible()
        assert Workflow.objects.get().name == "Another name"

    def test_what_is_corrected_leaves_the_summary_of_an_action(self, page: Page) -> None:
        page.goto(f"{page.url}actions/{Action.objects.get().pk}/")
        page.locator("#id_name").fill("")
        page.get_by_label("Subject").fill("{{ incident.title")
        page.get_by_role("button", name="Save").click()
        summary = page.locator("#errors p")
        expect(summary).to_have_count(2)
        page.get_by_label("Subject").fill("{{ incident.title }}")
        expect(summary).to_have_text([f"Name of the action: {NO_NAME}"])
        page.locator("#id_name").fill("Mail")
        expect(page.locator("#errors")).to_be_empty()
