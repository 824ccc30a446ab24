"""A workflow from nothing to the accepted mail, in a real browser, by the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from tests.chromium import Locator, Page, expect, sync_playwright
from tests.installation import Installation, from_environment
from tests.test_browser import PASSWORD, QUIET

pytestmark = pytest.mark.processes
TABS = 250  # more stops of the tab key than any page has


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    from_environment("TEST_CHROMIUM")
    with Installation(tmp_path) as running:
        running.make_admin("admin", PASSWORD)
        yield running


@pytest.fixture
def page(installation: Installation) -> Iterator[Page]:
    path = from_environment("TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser.new_context(base_url=installation.site).new_page()
        browser.close()


def reach(wanted: Locator) -> None:
    """Go on with the tab key until the wanted control has the focus."""
    for _ in range(TABS):
        if wanted.count() == 1 and wanted.evaluate("control => control === document.activeElement"):
            return
        wanted.page.keyboard.press("Tab")
    raise AssertionError(f"the tab key does not lead to {wanted}")


def press(page: Page, name: str, *, role: str = "button", key: str = "Enter") -> None:
    reach(page.get_by_role(role, name=name, exact=True))  # type: ignore[arg-type]
    page.keyboard.press(key)


def write(page: Page, name: str | re.Pattern[str], text: str) -> None:
    reach(page.get_by_role("textbox", name=name))
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def test_a_workflow_is_built_triggered_and_watched_by_the_keyboard_alone(
    page: Page, installation: Installation
) -> None:
    page.goto("/workflows/")
    write(page, "Username", "admin")
    write(page, "Password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Workflows")).to_be_visible()

    press(page, "New workflow", role="link")
    write(page, re.compile("^Name"), "Tell those on call")
    press(page, "incident created", role="checkbox", key="Space")
    press(page, "Add a condition")
    expect(page.get_by_role("group", name="Condition 1")).to_be_visible()
    row = page.get_by_role("group", name="Condition 1")
    reach(row.locator("input"))
    page.keyboard.type("incident.severity")
    reach(row.locator("textarea"))
    page.keyboard.type("sev1")
    press(page, "Create, and add an action")

    expect(page.get_by_role("heading", name=re.compile("action", re.I)).first).to_be_visible()
    write(page, re.compile("^To"), "oncall@example.org")
    write(page, re.compile("^Subject"), "{{ incident.severity }}: {{ incident.title }}")
    write(page, re.compile("^Body"), "# {{ incident.title }}")
    press(page, "Save")
    expect(page.get_by_text("'Send an Email' is saved.")).to_be_visible()

    token = installation.token()
    left = {"incident": {"id": 7, "severity": "SEV3", "title": "A printer is out of paper"}}
    assert [one["workflow"] for one in installation.post_event(token, left)["skipped"]] == ["tell-those-on-call"]
    answer = installation.post_event(token, {"incident": {"id": 8, "severity": "SEV1", "title": "Checkout slow"}})
    assert [run["workflow"] for run in answer["runs"]] == ["tell-those-on-call"]

    press(page, "Runs", role="link")
    press(page, "Tell those on call", role="link")
    expect(page.get_by_text("All its mails were accepted.")).to_be_visible(timeout=30_000)  # it looks by itself
    expect(page.get_by_role("row", name=re.compile("incident.severity is 'sev1'"))).to_contain_text("yes")
    [mail] = installation.outbox.rglob("*.eml")
    assert message_from_bytes(mail.read_bytes(), policy=policy.default)["Subject"] == "SEV1: Checkout slow"
