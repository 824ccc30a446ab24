"""Every page in a real browser: no barrier that axe-core knows, nothing wider than a phone, nothing blocked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import BrowserContext, Page, sync_playwright
from tests.fake_relay import FakeRelay
from tests.installation import from_environment
from tests.scenes import visits
from tests.test_browser import QUIET

PHONE = {"width": 360, "height": 900}
DESKTOP = {"width": 1440, "height": 900}
# A colour in the middle of its change is nobody's to read. Mails in frames have tests of their own.
AXE = """async () => {
    document.getAnimations().forEach(one => one.finish());
    const found = (await axe.run({iframes: false, resultTypes: ['violations']})).violations;
    return found.map(one => `${one.id}: ${one.nodes.map(node => node.html).join(' ')}`);
}"""
pytestmark = pytest.mark.processes


@contextmanager
def reader(*, theme: Any = "dark", width: int = 360, scripts: bool = True) -> Iterator[BrowserContext]:
    """Open a browser of somebody whose system has this theme; by default, a phone in the dark."""
    path = from_environment("TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": 900}, java_script_enabled=scripts
        )
        browser.close()


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth") > PHONE["width"])


def barriers(page: Page, *, axe: str) -> list[str]:
    """Return what axe-core objects to on a phone in the dark, and on a desktop by day; then all is as before.

    Its script comes in past the content security policy.
    """
    page.evaluate(f"() => {{ {axe} }}")
    found: list[str] = page.evaluate(AXE)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESKTOP)
    found += page.evaluate(AXE)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)
    return found


@pytest.mark.parametrize("scripts", [True, False])
def test_no_page_has_a_barrier_is_wider_than_a_phone_or_needs_what_the_policy_blocks(
    live_server: Any, relay: FakeRelay, people: None, scripts: bool
) -> None:
    axe = Path(from_environment("TEST_AXE")).read_text()
    found: dict[str, list[str]] = {}
    wide: list[str] = []
    blocked: list[str] = []
    with reader(scripts=scripts) as context:
        context.on("console", lambda one: blocked.append(one.text) if "Content Security" in one.text else None)
        for name, page in visits(context, site=live_server.url, port=relay.port):
            wide += [name] if is_too_wide(page) else []
            found |= {name: barriers(page, axe=axe)} if scripts else {}  # the same pages but for their scripts
    assert ({name: what for name, what in found.items() if what}, wide, blocked) == ({}, [], [])
