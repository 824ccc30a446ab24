"""Playwright, for the tests that look at pages in a browser: they skip where it cannot be imported."""

from __future__ import annotations

import pytest

try:
    from playwright.sync_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Locator,
        Page,
        Request,
        Route,
        expect,
        sync_playwright,
    )
except ImportError as error:  # it needs libstdc++, which is not on every machine that has Python
    pytest.skip(f"Playwright cannot be imported: {error}", allow_module_level=True)

__all__ = [
    "Browser", "BrowserContext", "ConsoleMessage", "Locator", "Page", "Request", "Route", "expect", "sync_playwright",
]  # fmt: skip

expect.set_options(timeout=30_000)  # milliseconds; a busy machine may take longer than the usual five seconds
