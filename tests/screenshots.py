"""Write every scene at two widths in both themes into a folder: `make screenshots`. Not a test of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings

from tests import showcase
from tests.fake_relay import FakeRelay
from tests.scenes import become, visits
from tests.test_accessibility import reader
from workflows import heartbeat

if TYPE_CHECKING:
    from playwright.sync_api import Page


FOLDER = Path(os.environ.get("SCREENSHOTS", "") or settings.BASE_DIR / "var" / "screenshots")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_write_every_scene(live_server: Any, relay: FakeRelay, people: None, theme: str, width: int) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with reader(theme=theme, width=width) as context:
        for name, page in visits(context, site=live_server.url, port=relay.port):
            height = max(page.evaluate("document.documentElement.scrollHeight"), 600)
            page.set_viewport_size({"width": width, "height": height})  # what is fixed is as high as the page, then
            page.screenshot(path=FOLDER / f"{name}-{width}-{theme}.png")
            page.set_viewport_size({"width": width, "height": 600})


def test_write_the_pictures_of_the_manual(
    live_server: Any, relay: FakeRelay, people: None, live_router: Any, settings: Any
) -> None:
    settings.DEFAULT_SENDER_URL = "smtp://mail.example.org"
    heartbeat.beat()
    with FakeRelay(tls="starttls") as demanding, reader(theme="light", width=1440) as context:
        become(context, "ada", site=live_server.url)
        page = context.new_page()
        _draw(page, showcase.empty(demanding.port), site=live_server.url)
        with FakeRelay() as willing:
            showcase.prepare(willing)
        _draw(page, showcase.in_use(), site=live_server.url)


def _draw(page: Page, pictures: list[showcase.Picture], *, site: str) -> None:
    for name, path, act in pictures:
        page.goto(site + path)
        act(page)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=FOLDER / f"manual-{name}.png")
