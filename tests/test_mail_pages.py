"""The golden mails in a real browser, as a webmail shows them: legible in light and dark, no wider than a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import goldens
from tests.chromium import Browser, Page, Route, sync_playwright
from tests.goldens import FOLDER, NAMES
from tests.installation import from_environment
from tests.test_browser import QUIET
from workflows.rendering import render

# Contrast first of all (4.5 to 1, WCAG 2.2 AA). A text that axe cannot judge counts as a barrier, too.
# A mail stands within the page of a mail program, which has the landmarks.
AXE = """async () => {
    const {violations, incomplete} = await axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']});
    const unsure = incomplete.filter(one => one.id === 'color-contrast');
    return [...violations, ...unsure].map(one => `${one.id}: ${one.nodes.map(node => node.html).join(' ')}`);
}"""
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = from_environment("TEST_CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield chromium
        chromium.close()


def opened(browser: Browser, html: str, *, width: int, theme: Any) -> Page:
    """Show a mail without its remote images, as most mail programs do at first."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
    page.route("**/*", lambda route: _refuse(route))
    page.set_content(html)
    return page


def _refuse(route: Route) -> None:
    route.abort()


def barriers(page: Page) -> list[str]:
    page.evaluate(f"() => {{ {Path(from_environment('TEST_AXE')).read_text()} }}")
    found: list[str] = page.evaluate(AXE)
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800])
@pytest.mark.parametrize("name", NAMES)
def test_a_mail_is_legible_and_fits(browser: Browser, name: str, width: int, theme: str) -> None:
    page = opened(browser, (FOLDER / f"{name}.html").read_text(encoding="utf-8"), width=width, theme=theme)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert (barriers(page), wide) == ([], width)
    page.close()


def test_a_footer_of_one_long_word_fits_a_phone(browser: Browser) -> None:
    workflow = {"name": "Wiederherstellungsbenachrichtigung" * 5, "slug": "long"}
    site = f"https://{'.'.join(['abteilung'] * 20)}.example"
    mail = render(goldens.example_action(0), goldens.VARIABLES | {"workflow": workflow}, now=goldens.NOW, site_url=site)
    page = opened(browser, mail.html, width=360, theme="light")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.close()


def test_a_grey_that_is_too_pale_would_be_found(browser: Browser) -> None:
    mail = (FOLDER / "example-1.html").read_text(encoding="utf-8").replace("color: #6b7280", "color: #9ca3af")
    page = opened(browser, mail, width=800, theme="light")
    assert [found.split(":")[0] for found in barriers(page)] == ["color-contrast"]
    page.close()
