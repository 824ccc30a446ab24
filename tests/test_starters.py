"""Templates to start from: each makes a workflow, switched off, whose mails come out well."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from integrations.models import AuditEvent
from workflows import documents, drafts, samples, starters
from workflows.models import Workflow

pytestmark = pytest.mark.django_db
KEYS = list(starters.WHAT_FOR)


@pytest.fixture
def editor(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Editor"])
    return client


def test_every_file_is_offered() -> None:
    assert sorted(path.stem for path in starters.FOLDER.glob("*.json")) == sorted(KEYS)
    assert [starter.entry["slug"] for starter in starters.all_of_them()] == KEYS


@pytest.mark.parametrize("key", KEYS)
def test_each_one_renders_against_its_built_in_sample_without_a_warning(key: str) -> None:
    starter = starters.named(key)
    assert starter
    row = starters.make(starter, actor="ada")
    assert documents.dump()["workflows"] == [starter.entry]
    for action in row.actions.all():
        for sample in samples.of(row):
            draft = drafts.of(action, sample)
            assert (draft.problems, draft.warnings) == ({}, {})
            assert draft.mail
            assert draft.mail.to


def test_a_button_makes_one_switched_off_and_opens_it(editor: Client) -> None:
    for slug in ("daily-reminder", "daily-reminder-2", "daily-reminder-3"):
        assert editor.post("/workflows/_new/daily-reminder/")["Location"] == f"/workflows/{slug}/"
    assert set(Workflow.objects.values_list("enabled", "locked")) == {(False, False)}
    told = AuditEvent.objects.filter(action="workflow created").latest("pk")
    assert (told.actor, told.details) == ("editor", {"workflow": "daily-reminder-3", "template": "daily-reminder"})
    assert editor.post("/workflows/_new/weather/").status_code == 404


@pytest.mark.parametrize("page", ["/workflows/", "/workflows/_new/"])
def test_they_are_offered_where_workflows_begin(editor: Client, page: str) -> None:
    shown = editor.get(page).content.decode()
    for starter in starters.all_of_them():
        assert starter.name in shown
        assert starter.what_for in shown
        assert f'action="/workflows/_new/{starter.key}/"' in shown


def test_a_viewer_is_offered_none(client: Client, team: dict[str, User]) -> None:
    client.force_login(team["Viewer"])
    assert "/workflows/_new/" not in client.get("/workflows/").content.decode()
