"""The editor against hostile bodies and events, and against two people at once."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.installation import ROOT
from tests.test_documents import SMALL, changed
from tests.test_editor import ADD, KIND, MAIL, NEW, ONE, PREVIEW, WHEN, note, page_of, text
from workflows import documents, drafts, editing, liquid, markdown, samples, variables
from workflows.liquid import Kind
from workflows.liquid.filters import LONGEST_HTML
from workflows.models import Action, Delivery, Workflow

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def editor(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Editor"])
    return client


@pytest.fixture
def action(db: None) -> Action:
    documents.load(SMALL)
    return Workflow.objects.get().actions.get()


@pytest.mark.parametrize(
    "body", ['<ol start="x"><li>a</li></ol>', "<ol start><li>a</li></ol>",
             "<table><caption>a<hr>b</caption><tr><td>x</td><td>y</td></tr></table>"],
)  # fmt: skip
def test_a_body_that_can_be_saved_opens_again(editor: Client, action: Action, body: str) -> None:
    assert editor.post(page_of(action), MAIL | {"body": body}).status_code in (302, 422)
    assert editor.get(page_of(action)).status_code == 200


DEEP = """
import os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "rootmail.settings"
django.setup()
from datetime import datetime, UTC
from workflows import rendering
source, data = eval(sys.argv[1])
mail = rendering.MailTemplate(to=("a@example.org",), subject="s", body=source)
try:
    rendering.render(mail, {"x": data}, now=datetime.now(UTC), site_url="https://example.org")
except rendering.RenderingError:
    pass
"""


@pytest.mark.parametrize(
    "code",
    ['("{{ x }}", "**a " * 12_000 + " a**" * 12_000)', '("{{ x }}", "*" * 45_000 + "a" + "*" * 45_000)',
     '("<div>" * 15_000, "")',
        # What a count of tags could be deceived by.
        '("{% for i in (1..9000) %}<b></i><b></i>{% endfor %}", "")',
        '("{% for i in (1..9000) %}<b><!--</b>-->{% endfor %}", "")',
        '("{% for i in (1..9000) %}<p><object></i>{% endfor %}", "")',
    ],
)  # fmt: skip
def test_deep_nesting_does_not_kill_the_process(code: str) -> None:
    """css_inline recurses until the stack ends: the process is gone, by the data of one event."""
    done = subprocess.run([sys.executable, "-c", DEEP, code], timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0


def test_a_late_caption_is_no_cell() -> None:
    _, plain = markdown.render("<table><tr><td>a</td><td>b</td></tr><caption>C</caption></table>")
    assert plain == "C\n\na  b"


def test_a_table_in_a_cell_keeps_the_words_before_it() -> None:
    _, plain = markdown.render(
        "<table><tr><td>before<table><caption>n</caption><tr><td>y</td></tr></table></td><td>z</td></tr></table>"
    )
    assert "before" in plain


def test_what_html_hides_is_hidden_in_both_parts() -> None:
    html, plain = markdown.render("<div><title>secret</title>seen</div>")
    assert ("secret" in html) == ("secret" in plain)


@pytest.mark.parametrize("source", ["{{ (1..2000) | map: '" + "a." * 5000 + "a' }}"])
def test_a_long_path_ends_in_time(source: str) -> None:
    began = time.monotonic()
    with pytest.raises(liquid.TemplateError, match="a path may have 20 parts"):
        liquid.fill(source, kind=Kind.PLAIN, variables={}, now=NOW)
    assert time.monotonic() - began < 3


def test_html_to_markdown_takes_as_long_as_it_says() -> None:
    most = "<a x='" * (LONGEST_HTML // 6)
    began = time.monotonic()
    liquid.fill("{{ x | html_to_markdown }}", kind=Kind.PLAIN, variables={"x": most}, now=NOW)
    assert time.monotonic() - began < liquid.SECONDS
    with pytest.raises(liquid.TemplateError, match="characters of HTML"):
        liquid.fill("{{ x | html_to_markdown }}", kind=Kind.PLAIN, variables={"x": most + "<a x='"}, now=NOW)


def test_a_preview_has_one_time_limit(action: Action) -> None:
    slow = "{% for a in (1..5000) %}{{ '" + "a" * 600 + "' | regex_match: 'a.*a.*b' }}{% endfor %}"
    action.to, action.cc, action.bcc = [slow], [slow], [slow]
    action.reply_to = action.subject = action.preheader = slow
    began = time.monotonic()
    drafts.of(action, samples.of(action.workflow)[0])
    assert time.monotonic() - began < 5


def test_variables_of_a_long_list_are_quick() -> None:
    data = {"x": [{f"k{number}": 1 for number in range(290)}] + [{}] * 50_000}
    began = time.monotonic()
    variables.of(data)
    assert time.monotonic() - began < 2


def test_the_line_is_that_of_the_field(editor: Client, action: Action) -> None:
    answer = editor.post(PREVIEW, MAIL | {"to": "a@example.org\n{{ x | "})
    assert "Line 2" in note(answer, "to")


def test_a_test_mail_is_no_run_that_forbids_to_delete(editor: Client, action: Action) -> None:
    editor.post(ADD, MAIL | {"send_to_me": "1"})
    editor.post(f"{ONE}delete/")
    assert not Workflow.objects.exists()


@pytest.mark.parametrize("name", ["x" * 99 + " y", "a _ b", "a__b"])
def test_a_slug_is_made_from_every_plain_name(editor: Client, db: None, name: str) -> None:
    assert editor.post(NEW, KIND | WHEN | {"name": name}).status_code == 302


def test_a_deleted_action_is_not_raised_from_the_dead(action: Action) -> None:
    opened = Action.objects.get(pk=action.pk)
    editing.delete_action(action, actor="bo")
    with pytest.raises(editing.Gone):
        editing.save_action(opened, fields=["subject"], seen="", actor="ada")
    with pytest.raises(editing.Gone):
        editing.move(opened, up=True, actor="ada")
    assert not Action.objects.exists()


def test_a_move_meanwhile_is_not_taken_back(editor: Client, action: Action) -> None:
    editor.post(ADD, MAIL)
    opened = Action.objects.get(pk=action.pk)
    editing.move(action, up=False, actor="bo")
    editing.save_action(opened, fields=["subject"], seen="", actor="ada")
    assert list(Workflow.objects.get().actions.values_list("pk", flat=True)) != [action.pk]


def test_a_workflow_deleted_meanwhile_is_no_defect(editor: Client, action: Action, monkeypatch: Any) -> None:
    """The row goes between the look at it and the lock."""
    whole = editing.save_action

    def late(row: Action, **options: Any) -> None:
        Workflow.objects.all().delete()
        whole(row, **options)

    monkeypatch.setattr(editing, "save_action", late)
    assert editor.post(ADD, MAIL).status_code == 404


def test_an_action_deleted_meanwhile_can_be_sent_to_its_author(action: Action) -> None:
    opened = Action.objects.select_related("workflow").get(pk=action.pk)
    editing.delete_action(action, actor="bo")
    drafts.send_to("ada@example.com", opened, samples.of(opened.workflow)[0], actor="ada")
    assert Delivery.objects.get().action is None


def test_two_people_do_not_overwrite_each_other_in_silence(editor: Client, action: Action) -> None:
    """Both opened it, both save: the second one must be told."""
    page = editor.get(page_of(action)).content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
    assert editor.post(page_of(action), MAIL | hidden | {"body": "of Ada"}).status_code == 302
    answer = editor.post(page_of(action), MAIL | hidden | {"body": "of Bo"})
    assert answer.status_code == 422
    assert "Somebody else has changed it" in text(answer)
    assert "of Bo" in answer.content.decode()
    assert Action.objects.get().body == "of Ada"
    hidden |= dict(re.findall(r'<input type="hidden" name="(seen)" value="([^"]*)"', answer.content.decode()))
    assert editor.post(page_of(action), MAIL | hidden | {"body": "of Bo"}).status_code == 302, "she knows now"


def test_a_number_that_is_no_row_is_not_found(editor: Client, action: Action) -> None:
    assert editor.post(f"{ONE}actions/{'9' * 4400}/up/").status_code == 404


def test_whoever_logs_in_again_comes_back_to_the_editor(client: Client, action: Action) -> None:
    assert "/workflows/" in client.post(page_of(action), MAIL).headers["Location"]


def test_a_huge_body_is_refused_before_it_is_read_as_markdown(editor: Client, action: Action) -> None:
    answer = editor.post(PREVIEW, MAIL | {"body": "word " * 30_000})
    assert "longer than" in note(answer, "body")


def test_a_table_of_many_columns_and_a_long_replacement_end_in_time() -> None:
    wide = [{f"k{number}": 1 for number in range(2000)}, *({} for _ in range(499))]
    began = time.monotonic()
    liquid.fill("{{ x | to_table }}", kind=Kind.PLAIN, variables={"x": wide}, now=NOW)
    source = r"{{ x | regex_replace: '(?=(.*))', '" + r"\1" * 20 + "' }}"
    with pytest.raises(liquid.TemplateError, match="the result is longer than"):
        liquid.fill(source, kind=Kind.PLAIN, variables={"x": "a" * 2000}, now=NOW)
    assert time.monotonic() - began < 3


def test_the_same_workflow_is_not_overwritten_in_silence(editor: Client, action: Action) -> None:
    page = editor.get(ONE).content.decode()
    hidden = dict(re.findall(r'<input type="hidden" name="(seen)" value="([^"]*)"', page))
    values = KIND | hidden | {"slug": "tell", "triggers_incident": ["incident_created"]}
    documents.load(changed("wait", None))  # from a file meanwhile
    assert "Somebody else has changed it" in text(editor.post(ONE, values))
