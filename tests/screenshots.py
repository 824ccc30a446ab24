"""Write every scene at two widths in both themes into a folder: `make screenshots`. Not a test of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.fake_relay import FakeRelay
from tests.scenes import visits
from tests.test_accessibility import reader

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
