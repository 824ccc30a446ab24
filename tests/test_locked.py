"""A locked workflow: Admins alone change it, by whatever way; Editors read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import get_resolver

from integrations.models import AuditEvent
from tests.test_documents import changed
from tests.test_editor import KIND, MAIL, ONE, WHEN, text
from workflows import documents, editing
from workflows.models import Action, Workflow

pytestmark = pytest.mark.django_db
WHOLE = KIND | WHEN | {"slug": "tell"}
# address: what is posted, and what an Admin is answered
CHANGES: dict[str, tuple[dict[str, Any], int]] = {
    "": (WHOLE, 302),
    "on/": ({}, 302),
    "off/": ({}, 302),
    "delete/": ({}, 302),
    "actions/new/": (MAIL, 302),
    "actions/order": ({"order": ["{pk}"]}, 204),
    "actions/{pk}/": (MAIL, 302),
    "actions/{pk}/up/": ({}, 302),
    "actions/{pk}/down/": ({}, 302),
    "actions/{pk}/on/": ({}, 302),
    "actions/{pk}/off/": ({}, 302),
    "actions/{pk}/delete/": ({}, 302),
}
# They change nothing of it: a preview, a mail to oneself, a copy that is not locked.
HARMLESS: dict[str, tuple[dict[str, Any], int]] = {
    "preview/": (MAIL, 200),
    "actions/{pk}/": ({"preview": "1"}, 200),
    "duplicate/": ({}, 302),
}


@pytest.fixture
def action() -> Action:
    documents.load(changed("locked", True))
    return Action.objects.get()


@pytest.fixture
def editor(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Editor"])
    return client


@pytest.fixture
def as_an_admin(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Admin"])
    return client


def post(client: Client, path: str, values: dict[str, Any], *, action: Action) -> Any:
    values = {name: action.pk if value == ["{pk}"] else value for name, value in values.items()}
    return client.post(ONE + path.format(pk=action.pk), values)


def test_the_table_has_every_address_of_a_workflow() -> None:
    names = {name for name in get_resolver().reverse_dict if isinstance(name, str)}
    about_one = {name for name in names if name.startswith(("workflow", "action"))}
    assert about_one - {"workflows", "workflow-new", "workflow-start", "workflow-run"} == {
        "workflow", "workflow-change", "workflow-delete", "action-new", "action-order", "action", "action-change",
        "action-preview",
    }  # fmt: skip


@pytest.mark.parametrize("path", CHANGES)
def test_an_editor_changes_nothing(editor: Client, action: Action, path: str) -> None:
    before = documents.dump()
    values, _ = CHANGES[path]
    for typed in (values, {}):
        answer = post(editor, path, typed, action=action)
        assert answer.status_code == 403
        assert "This workflow is locked: only Admins may change it and its actions." in text(answer)
    assert documents.dump() == before
    assert not AuditEvent.objects.exclude(action="signed in").exists()


@pytest.mark.parametrize("path", CHANGES)
def test_an_admin_changes_everything(as_an_admin: Client, action: Action, path: str) -> None:
    values, status = CHANGES[path]
    assert post(as_an_admin, path, values, action=action).status_code == status


@pytest.mark.parametrize("path", HARMLESS)
def test_an_editor_may_do_what_changes_nothing(editor: Client, action: Action, path: str) -> None:
    before = documents.dump(["tell"])
    values, status = HARMLESS[path]
    assert post(editor, path, values, action=action).status_code == status
    assert documents.dump(["tell"]) == before


def test_an_editor_reads_it_and_who_can_change_it(editor: Client, action: Action) -> None:
    for path in (ONE, f"{ONE}actions/{action.pk}/"):
        answer = editor.get(path)
        said = "This workflow is locked: you can read it here, and not change it. An Admin can: admin."
        assert said in text(answer), path
        page = answer.content.decode()
        assert "World" in page or 'value="Tell"' in page
        assert 'name="save"' not in page
        assert ">Save<" not in page
        assert "Add an action" not in page
        assert "/delete/" not in page
    assert editor.get(f"{ONE}actions/new/").status_code == 403
    assert "/workflows/tell/off/" not in editor.get("/workflows/").content.decode()
    assert "Locked Enabled" in text(editor.get("/workflows/"))


def test_a_preview_of_what_is_locked_is_of_what_is_stored(editor: Client, action: Action) -> None:
    answer = editor.post(f"{ONE}actions/{action.pk}/", {"preview": "1", "view": "text", "body": "Not mine"})
    assert 'aria-label="The mail">World' in answer.content.decode()


def test_only_an_admin_locks_and_unlocks(client: Client, team: dict[str, User], action: Action) -> None:
    client.force_login(team["Admin"])
    assert "only Admins, like you, may change it" in text(client.get(ONE))
    client.post(ONE, WHOLE)
    assert not Workflow.objects.get().locked
    client.force_login(team["Editor"])
    assert 'name="locked"' not in client.get(ONE).content.decode()
    assert client.post(ONE, WHOLE | {"locked": "on"}).status_code == 302
    assert not Workflow.objects.get().locked
    client.force_login(team["Admin"])
    client.post(ONE, WHOLE | {"locked": "on"})
    assert Workflow.objects.get().locked


FUNCTIONS: list[Callable[[Action], Any]] = [
    lambda action: editing.save_workflow(action.workflow, fields=["name"], seen="", actor="bo"),
    lambda action: editing.switch_workflow(action.workflow, on=False, actor="bo"),
    lambda action: editing.delete_workflow(action.workflow, actor="bo"),
    lambda action: editing.save_action(action, fields=["name"], seen="", actor="bo"),
    lambda action: editing.save_action(Action(workflow=action.workflow), fields=["name"], seen="", actor="bo"),
    lambda action: editing.switch_action(action, on=False, actor="bo"),
    lambda action: editing.delete_action(action, actor="bo"),
    lambda action: editing.move(action, up=True, actor="bo"),
    lambda action: editing.reorder(action.workflow, order=[action.pk], actor="bo"),
]


@pytest.mark.parametrize("change", FUNCTIONS)
def test_it_is_locked_below_the_pages_too(action: Action, change: Callable[[Action], Any]) -> None:
    opened = Action.objects.select_related("workflow").get()
    opened.workflow.locked = False  # as somebody had it in hand before it was locked
    before = documents.dump()
    with pytest.raises(editing.Locked):
        change(opened)
    assert documents.dump() == before


def test_nobody_but_an_admin_locks_by_the_way(action: Action) -> None:
    Workflow.objects.update(locked=False)
    row = Workflow.objects.get()
    row.locked = True
    with pytest.raises(editing.Locked):
        editing.save_workflow(row, fields=["locked"], seen="", actor="bo")
    editing.save_workflow(row, fields=["locked"], seen="", actor="ada", admin=True)
    assert Workflow.objects.get().locked


def test_a_file_on_the_server_changes_it() -> None:
    documents.load(changed("locked", True))
    documents.load(changed("name", "Else"))
    assert Workflow.objects.values_list("name", "locked").get() == ("Else", False)
