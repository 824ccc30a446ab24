"""Every page in a real browser: no barrier that axe-core knows, nothing wider than a phone, nothing blocked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.fake_relay import FakeRelay
from tests.installation import from_environment
from tests.scenes import visits
from tests.test_browser import QUIET

AXE = "async () => (await axe.run()).violations.map(one => `${one.id}: ${one.nodes.map(node => node.html).join(' ')}`)"
pytestmark = pytest.mark.processes


@contextmanager
def reader(*, theme: str, width: int, scripts: bool = True) -> Iterator[BrowserContext]:
    """Open a browser of somebody whose system has this theme."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=from_environment("TEST_CHROMIUM"), args=QUIET)
        yield browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": 900}, java_script_enabled=scripts
        )
        browser.close()


def barriers(page: Page, *, axe: str) -> list[str]:
    """Return what axe-core objects to; its script comes in past the content security policy."""
    page.evaluate(f"() => {{ {axe} }}")
    found: list[str] = page.evaluate(AXE)
    return found


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1440, "dark")])
def test_no_page_has_a_barrier(live_server: Any, relay: FakeRelay, people: None, theme: str, width: int) -> None:
    axe = Path(from_environment("TEST_AXE")).read_text()
    found = {}
    with reader(theme=theme, width=width) as context:
        for name, page in visits(context, site=live_server.url, port=relay.port):
            found[name] = barriers(page, axe=axe)
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize("scripts", [True, False])
def test_no_page_is_wider_than_a_phone_or_needs_what_the_policy_blocks(
    live_server: Any, relay: FakeRelay, people: None, scripts: bool
) -> None:
    wide, blocked = [], []
    with reader(theme="dark", width=360, scripts=scripts) as context:
        context.on("console", lambda one: blocked.append(one.text) if "Content Security" in one.text else None)
        for name, page in visits(context, site=live_server.url, port=relay.port):
            wide += [name] if page.evaluate("document.documentElement.scrollWidth") > 360 else []
    assert (wide, blocked) == ([], [])
