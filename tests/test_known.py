"""Workflows that are remembered, and made anew where a row has changed."""

from __future__ import annotations

import pytest
from django.db import connection

from tests.statements import watched
from tests.test_documents import changed
from workflows import documents, known
from workflows.models import Action, Workflow

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def workflow() -> Workflow:
    documents.load(changed("wait", None))
    return Workflow.objects.get()


def test_what_has_not_changed_costs_one_query_or_two(workflow: Workflow) -> None:
    assert known.workflows() == [workflow]
    assert list(known.with_actions({workflow.pk})) == [workflow.pk]
    asked: list[str] = []
    with watched(connection, lambda statement, _: asked.append(statement)):
        assert known.workflows() == [workflow]
        assert len(asked) == 1
        assert len(known.with_actions({workflow.pk})[workflow.pk].actions.all()) == 1
    assert len(asked) == 3


def test_a_change_is_seen_at_once(workflow: Workflow) -> None:
    known.workflows(), known.with_actions({workflow.pk})
    Workflow.objects.update(enabled=False)
    assert not known.workflows()[0].enabled
    assert not known.with_actions({workflow.pk})[workflow.pk].enabled


def test_so_is_a_change_of_an_action(workflow: Workflow) -> None:
    known.with_actions({workflow.pk})
    Action.objects.update(subject="anew")
    assert known.with_actions({workflow.pk})[workflow.pk].actions.all()[0].subject == "anew"
    Action.objects.all().delete()
    assert list(known.with_actions({workflow.pk})[workflow.pk].actions.all()) == []


def test_what_was_deleted_or_added_is_known(workflow: Workflow) -> None:
    assert known.workflows() == [workflow]
    key = workflow.pk
    workflow.delete()
    assert known.workflows() == []
    assert known.with_actions({key}) == {}
    documents.load(changed("wait", None))
    assert known.workflows() == [Workflow.objects.get()]


def test_of_many_sets_of_workflows_only_some_are_remembered(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "MOST", 2)
    for more in range(5):
        known.with_actions({workflow.pk, workflow.pk + 1 + more})
    assert len(known._some) <= 2
