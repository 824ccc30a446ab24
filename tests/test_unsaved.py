"""What somebody has typed and not saved, in a real browser: nothing of it is lost without a word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.chromium import Page, Request, Route, expect
from tests.scenes import become
from tests.test_accessibility import reader
from tests.test_documents import SMALL
from workflows import documents
from workflows.models import Action, Workflow

pytestmark = pytest.mark.processes


@pytest.fixture
def asked() -> list[str]:
    """The questions that the browser has asked before it left a page. Whoever is asked stays."""
    return []


@pytest.fixture
def page(live_server: Any, people: None, asked: list[str]) -> Iterator[Page]:
    documents.load(SMALL, actor="ada")
    User.objects.update(email="ada@example.com")
    with reader(theme="light", width=1280) as context:
        become(context, "ada", site=live_server.url)
        page = context.new_page()
        page.on("dialog", lambda one: (asked.append(one.type), one.dismiss()))
        yield page


@pytest.fixture
def action(page: Page, live_server: Any) -> Page:
    page.goto(f"{live_server.url}/workflows/tell/actions/{Action.objects.get().pk}/")
    return page


@pytest.fixture
def settings_page(page: Page, live_server: Any) -> Page:
    page.goto(f"{live_server.url}/workflows/tell/")
    return page


def log_in_again(page: Page, site: str) -> None:
    """As in another tab: another session, and another token against forged requests."""
    page.context.clear_cookies()
    become(page.context, "ada", site=site)
    other = page.context.new_page()
    other.goto(f"{site}/account/")
    other.close()
    page.bring_to_front()


def is_post(request: Request) -> bool:
    return request.method == "POST"


def leave(page: Page) -> None:
    page.get_by_role("link", name="Deliveries").first.click()


def test_an_action_that_was_sent_to_its_author_is_still_not_saved(action: Page, asked: list[str]) -> None:
    action.get_by_label("Subject").fill("Something else")
    action.get_by_role("button", name="Send this to me").click()
    expect(action.get_by_text("What you changed is not saved yet.")).to_be_visible()
    leave(action)
    assert asked == ["beforeunload"]
    with action.expect_popup() as opened:
        action.get_by_role("link", name="See what becomes of it").click()
    expect(opened.value.get_by_role("heading", name="Something else")).to_be_visible()
    expect(action.get_by_label("Subject")).to_have_value("Something else")


def test_an_action_that_could_not_be_saved_is_not_left_in_silence(action: Page, asked: list[str]) -> None:
    action.get_by_label("Subject").fill("{{ incident.title")
    action.get_by_role("button", name="Save").click()
    expect(action.get_by_text("Nothing was saved.")).to_be_visible()
    leave(action)
    assert asked == ["beforeunload"]


def test_an_action_that_is_as_it_is_stored_may_be_left(action: Page, asked: list[str]) -> None:
    Action.objects.update(body="Two\n\nparagraphs")
    action.reload()
    action.get_by_role("button", name="Send this to me").click()
    expect(action.get_by_text("Queued for")).to_be_visible()
    leave(action)
    action.wait_for_url("**/")
    assert asked == []


def test_an_action_that_was_only_looked_at_may_be_left(action: Page, asked: list[str]) -> None:
    action.get_by_label("Subject").click()
    leave(action)
    action.wait_for_url("**/")
    assert asked == []


def test_settings_that_are_not_saved_are_not_left_in_silence(settings_page: Page, asked: list[str]) -> None:
    settings_page.locator("#id_name").fill("Another name")
    settings_page.locator("#order a").click()
    settings_page.locator("#order").get_by_role("button", name="Switch off").click()
    assert asked == ["beforeunload", "beforeunload"]
    assert Action.objects.get().enabled
    settings_page.get_by_role("button", name="Save", exact=True).click()
    expect(settings_page.get_by_text("'Another name' is saved.")).to_be_visible()
    settings_page.locator("#order a").click()
    settings_page.wait_for_url("**/actions/**")
    assert len(asked) == 2


def test_settings_outlive_the_session(settings_page: Page, live_server: Any) -> None:
    settings_page.locator("#id_name").fill("What took long")
    settings_page.context.clear_cookies()
    settings_page.get_by_role("button", name="Save", exact=True).click()
    expect(settings_page.locator("#problems")).to_contain_text("Nothing was saved: you are not logged in any more")
    log_in_again(settings_page, live_server.url)
    settings_page.get_by_role("button", name="Save", exact=True).click()
    expect(settings_page.get_by_text("'What took long' is saved.")).to_be_visible()


def test_conditions_outlive_the_session(settings_page: Page, live_server: Any) -> None:
    settings_page.get_by_label("1. Value of the event").fill("incident.title")
    settings_page.context.clear_cookies()
    settings_page.get_by_role("button", name="Try them").click()
    expect(settings_page.locator("#conditions .told")).to_contain_text("What you typed still stands here")
    log_in_again(settings_page, live_server.url)
    settings_page.get_by_role("button", name="Try them").click()
    expect(settings_page.locator(".saw")).to_contain_text("Checkout fails")
    assert settings_page.evaluate("document.activeElement.id") == "try-conditions"


def test_nothing_is_typed_into_rows_that_an_answer_is_about_to_replace(settings_page: Page) -> None:
    held: list[Route] = []
    settings_page.route(
        "**/workflows/tell/", lambda route: (held.append if is_post(route.request) else Route.continue_)(route)
    )
    with settings_page.expect_request(is_post):
        settings_page.get_by_role("button", name="Add a condition").click()
    settings_page.get_by_label("1. Value of the event").evaluate("field => field.focus()")
    settings_page.keyboard.type("lost")
    expect(settings_page.get_by_label("1. Value of the event")).to_have_value("incident.severity")
    held[0].continue_()
    expect(settings_page.get_by_label("2. Value of the event")).to_be_focused()
    settings_page.keyboard.type("incident.title")
    expect(settings_page.get_by_label("2. Value of the event")).to_have_value("incident.title")


def test_a_condition_that_was_removed_is_not_saved_yet(settings_page: Page, asked: list[str]) -> None:
    settings_page.get_by_role("button", name="Remove condition 1").click()
    expect(settings_page.get_by_text("None: it runs with every event that it hears.")).to_be_visible()
    leave(settings_page)
    assert asked == ["beforeunload"]
    assert Workflow.objects.get().conditions
