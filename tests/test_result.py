"""The result of Connect, Check and Detect on a phone: it is seen, without a search for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from integrations.models import SmtpIntegration
from tests.chromium import Page, Route, expect
from tests.fake_relay import FakeRelay
from tests.scenes import become
from tests.test_accessibility import reader

pytestmark = pytest.mark.processes
SMTP = "/configuration/integrations/smtp/"
NOTE = """
    window.scrolled = [];
    const scroll = Element.prototype.scrollIntoView;
    Element.prototype.scrollIntoView = function (how) { scrolled.push(how.behavior); scroll.call(this, how); };
"""


@pytest.fixture
def phone(live_server: Any, people: None, relay: FakeRelay) -> Iterator[Page]:
    with reader(width=390) as context:
        become(context, "ada", site=live_server.url)
        page = context.new_page()
        page.set_viewport_size({"width": 390, "height": 600})
        page.add_init_script(NOTE)
        page.goto(live_server.url + SMTP)
        page.get_by_label("Address").fill("127.0.0.1")
        page.get_by_label("Port").fill(str(relay.port))
        page.get_by_label("SSL", exact=True).uncheck()
        page.locator("#id_default_from").evaluate("field => field.value = 'desk@example.com'")
        yield page


def test_what_connect_found_is_seen_and_the_focus_stays(phone: Page) -> None:
    phone.get_by_label("Address").press("Enter")
    expect(phone.locator("#result .alert")).to_contain_text("Nothing was saved.")
    expect(phone.locator("#result .alert")).to_be_in_viewport()
    expect(phone.get_by_label("Address")).to_be_focused()
    expect(phone.locator("#id_address")).not_to_be_in_viewport()


@pytest.mark.parametrize(("motion", "how"), [("reduce", {"instant"}), ("no-preference", {"smooth"})])
def test_nothing_moves_where_that_is_not_wanted(phone: Page, motion: Any, how: set[str]) -> None:
    phone.emulate_media(reduced_motion=motion)
    phone.get_by_label("Address").press("Enter")
    expect(phone.locator("#result .alert")).to_be_in_viewport()
    assert set(phone.evaluate("scrolled")) == how


def test_what_a_check_found_is_seen(phone: Page, smtp: SmtpIntegration, live_server: Any) -> None:
    phone.goto(f"{live_server.url}/configuration/integrations/")
    phone.set_viewport_size({"width": 390, "height": 330})
    phone.get_by_text("Connected", exact=True).click()
    phone.get_by_role("button", name="Check", exact=True).click()
    expect(phone.locator("#result .alert")).to_be_in_viewport()
    assert phone.evaluate("scrolled") != []


def test_whoever_types_on_is_not_carried_away(phone: Page) -> None:
    phone.emulate_media(reduced_motion="reduce")  # or Chromium's own gliding to the address goes on meanwhile
    held: list[Route] = []
    phone.route("**/check/**", lambda route: held.append(route))
    with phone.expect_request("**/check/**"):
        phone.get_by_label("Address").press("Enter")
    phone.get_by_label("Username").press_sequentially("ada")
    held[0].continue_()
    phone.unroute("**/check/**")
    expect(phone.locator("#result .alert")).to_contain_text("Nothing was saved.")
    expect(phone.get_by_label("Username")).to_be_in_viewport()
    assert phone.evaluate("scrolled") == []
