"""The pages in a real browser, against a real installation and a real relay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import ConsoleMessage, Page, expect, sync_playwright
from tests.fake_relay import FakeRelay
from tests.installation import Installation, from_environment, wait_until

pytestmark = pytest.mark.processes
PASSWORD = "blue pelican 42"
CONDITIONS = [
    ("incident.severity", "is one of", "sev0\nsev1"),
    ("$.incident.raw_services[*].name", "contains any of", "/^search/i"),
]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    from_environment("TEST_CHROMIUM")
    with Installation(tmp_path_factory.mktemp("installation")) as running:
        running.make_admin("admin", PASSWORD)
        yield running


@pytest.fixture(params=["with JavaScript", "without JavaScript"])
def page(request: pytest.FixtureRequest, installation: Installation) -> Iterator[Page]:
    """A page of somebody who has logged in as the admin. Any error on the browser's console fails the test."""
    path = from_environment("TEST_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        scripts = request.param == "with JavaScript"
        context = browser.new_context(base_url=installation.site, java_script_enabled=scripts)
        page = context.new_page()
        complaints: list[Any] = []
        page.on("console", lambda one: complaints.append(one.text) if _is_complaint(one) else None)
        page.goto("/configuration/integrations/")
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        try:
            yield page
            assert complaints == []
        finally:
            browser.close()


def _is_complaint(message: ConsoleMessage) -> bool:
    """A status that the test itself provokes is none."""
    return message.type == "error" and not re.search("status of (401|403|404|422)|Status Error Code 403", message.text)


def fill_in(page: Page, relay: FakeRelay) -> None:
    """Enter a relay as the form's documented defaults would have it: TLS from the first byte."""
    page.get_by_label("SSL", exact=True).check()  # what was disconnected is offered again
    page.get_by_label("StartTLS", exact=True).uncheck()
    page.get_by_label("Address").fill("127.0.0.1")
    page.get_by_label("Port").fill(str(relay.port))
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("right horse")
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Default From").fill("desk@example.com")


def test_an_admin_sets_up_smtp_corrects_a_mistake_and_disconnects(page: Page, request: Any) -> None:
    scripts = "with JavaScript" in request.node.name
    expect(page.get_by_role("heading", name="Integrations")).to_be_visible()
    default = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="Default sender"))
    smtp = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="SMTP"))
    expect(default).to_contain_text("In use")
    with FakeRelay(user="ada", password="right horse", tls="starttls") as relay:
        smtp.get_by_role("link", name="Setup").click()
        fill_in(page, relay)
        page.get_by_role("button", name="Connect", exact=True).click()

        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("Nothing was saved.")
        expect(alert).to_contain_text("Suggested: turn on StartTLS, turn off SSL.")
        alert.get_by_role("link", name="SSL").click()
        expect(page.get_by_label("SSL", exact=True)).to_be_focused()
        expect(page.get_by_label("Password")).to_have_value("right horse" if scripts else "")
        expect(page.get_by_label("Address")).to_have_value("127.0.0.1")

        page.get_by_role("button", name="Turn on StartTLS, turn off SSL, and try again").click()
        if not scripts:
            expect(page.get_by_label("StartTLS", exact=True)).to_be_checked()
            page.get_by_label("Password").fill("right horse")
            page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.get_by_role("status").first).to_contain_text("SMTP is connected.")
        expect(smtp).to_contain_text("In use")
        expect(default).not_to_contain_text("In use")
        assert [line.split(" ")[0] for line in relay.transcript].count("AUTH") == 1

        disconnect = page.get_by_role("link", name="Disconnect")
        expect(disconnect).to_be_hidden()
        page.get_by_text("Connected", exact=True).focus()
        page.keyboard.press("Enter")
        expect(disconnect).to_be_visible()
        page.get_by_role("button", name="Check").click()
        expect(page.get_by_role("status")).to_contain_text("Everything is fine.")

        page.goto("/configuration/integrations/smtp/test/")
        page.get_by_role("textbox", name=re.compile("^To")).fill("eve@example.com")
        page.get_by_role("button", name="Send test e-mail").click()
        expect(page.get_by_role("status")).to_contain_text("Accepted for eve@example.com.")
        assert [mail.recipients for mail in relay.ledger] == [("eve@example.com",)]

        page.goto("/configuration/integrations/")
        page.get_by_text("Connected", exact=True).click()
        disconnect.click()
        expect(page.get_by_text("Mail will leave through Default sender from now on")).to_be_visible()
        page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_role("status")).to_contain_text("Mail leaves through Default sender from now on.")
    expect(default).to_contain_text("In use")


def test_a_wrong_password_stands_at_its_step_and_its_field_and_is_corrected(page: Page) -> None:
    with FakeRelay(user="ada", password="right horse", tls="implicit") as relay:
        page.goto("/configuration/integrations/smtp/")
        fill_in(page, relay)
        page.get_by_label("Password").fill("wrong horse")
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.get_by_role("row", name=re.compile("auth.*failed"))).to_contain_text("535 5.7.8")
        expect(page.locator("#id_password_error")).to_contain_text("The relay refused the credentials")
        page.get_by_label("Password").fill("right horse")
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.get_by_role("status").first).to_contain_text("SMTP is connected.")
    page.goto("/configuration/integrations/smtp/")
    expect(page.get_by_label("Password")).to_have_value("")
    page.goto("/configuration/integrations/smtp/disconnect/")
    page.get_by_role("button", name="Disconnect").click()


def test_connect_anyway_connects_a_server_that_is_down(page: Page) -> None:
    with FakeRelay() as gone:
        pass
    page.goto("/configuration/integrations/smtp/")
    fill_in(page, gone)
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved.")
    page.get_by_label("Password").fill("right horse")
    page.get_by_role("button", name="Connect anyway").click()
    expect(page.get_by_role("status").first).to_contain_text("SMTP is connected.")
    page.goto("/configuration/integrations/smtp/disconnect/")
    page.get_by_role("button", name="Disconnect").click()


def test_the_mode_is_told_while_the_switches_are_turned(page: Page, request: Any) -> None:
    page.goto("/configuration/integrations/smtp/")
    page.get_by_label("SSL", exact=True).check()
    page.get_by_label("Port").fill("587")
    mode = page.locator("#tls-mode")
    if "with JavaScript" not in request.node.name:
        expect(mode).to_contain_text("In force then:")
        return
    expect(mode).to_contain_text("Port 587 usually begins in clear text")
    page.get_by_label("SSL", exact=True).uncheck()
    page.get_by_label("StartTLS", exact=True).check()
    expect(mode).to_contain_text("STARTTLS required")
    page.get_by_label("Address").fill("127.0.0.1")
    page.get_by_label("Port").fill("1")
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved.")
    page.get_by_label("StartTLS", exact=True).uncheck()
    expect(mode).to_contain_text("STARTTLS if offered")  # what a check has drawn anew follows the switches, too


def test_an_editor_writes_a_mail_sees_it_come_out_and_sends_it_to_herself(
    page: Page, request: Any, installation: Installation
) -> None:
    scripts = "with JavaScript" in request.node.name
    subject = f"Board {'with' if scripts else 'without'}"
    page.goto("/workflows/_new/")
    page.get_by_label("Name").fill(subject)
    page.locator(".of-alert").wait_for(state="hidden")
    page.get_by_label("incident created").check()
    page.get_by_role("button", name="Create, and add an action").click()

    mail, envelope = page.frame_locator("iframe.look"), page.locator("#envelope")
    page.locator("#id_to").fill("{{ incident.notify_emails }}")
    page.get_by_label("Subject").fill(f"{subject}: {{{{ incident.titel }}}}")
    page.get_by_label("Body").fill("One\n\n{% if incident.zoom %}")
    if not scripts:
        page.get_by_role("button", name="Preview").click()
    expect(page.locator("#field-body .error")).to_have_text("Line 3: endif is missing")  # once
    expect(page.locator("#problems")).to_contain_text("There is no mail yet.")

    if scripts:
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#id_body_error")).to_be_visible()
        expect(page.locator("#field-body .error")).to_have_count(1)
    page.get_by_label("Body").fill("Look: ")
    if scripts:
        expect(page.locator("#field-body .error")).to_have_count(0)
        page.get_by_text("Variables and filters").click()
        page.get_by_text("Variables of this event").click()
        page.get_by_label("Body").press("End")
        page.get_by_role("button", name="{{ incident.slug }}").click()
        expect(mail.locator("body")).to_contain_text("Look: checkout-fails-for-card-payments")
        assert page.locator("iframe.look").evaluate("frame => frame.clientHeight > 100")
    else:
        page.get_by_role("button", name="Preview").click()
        expect(mail.locator("body")).to_contain_text("Look:")
    expect(envelope).to_contain_text("incident-leads@example.com, support-desk@example.org")
    expect(page.locator("#note-subject")).to_contain_text("incident.titel is not in this event")

    page.get_by_role("button", name="Send this to me").click()
    expect(page.get_by_role("status").first).to_contain_text("Queued for admin@example.com alone")
    sent = wait_until(
        lambda: [one for one in map(Path.read_text, installation.outbox.glob("*.eml")) if f"Subject: {subject}" in one],
        what="the mail",
    )
    assert "To: admin@example.com" in sent[0]
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("'Send an Email' is saved.")
    expect(page.locator("ol")).to_contain_text("{{ incident.notify_emails }}")


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
def test_what_was_typed_outlives_the_session(page: Page, installation: Installation) -> None:
    page.goto("/workflows/_new/")
    page.get_by_role("button", name="Start with this Tell stakeholders").click()
    page.locator("#order a").first.click()
    page.get_by_label("Body").fill("What took an hour to write")
    page.context.clear_cookies()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#problems")).to_contain_text("Nothing was saved: you are not logged in any more")
    expect(page.get_by_label("Body")).to_have_value("What took an hour to write")

    log_in_elsewhere(page)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").first).to_contain_text("is saved.")


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
def test_the_settings_of_a_relay_outlive_the_session(page: Page) -> None:
    with FakeRelay(user="ada", password="right horse", tls="implicit") as relay:
        page.goto("/configuration/integrations/smtp/")
        page.get_by_label("Address").fill("127.0.0.1")
        page.context.clear_cookies()
        page.get_by_label("Address").blur()  # the mode is asked for, and nothing is replaced by a log-in
        expect(page.locator("#problems")).to_contain_text("you are not logged in any more")
        fill_in(page, relay)
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.locator("#problems")).to_contain_text("Log in in another tab")

        log_in_elsewhere(page)
        page.get_by_role("button", name="Connect", exact=True).click()
        expect(page.get_by_role("status").first).to_contain_text("SMTP is connected.")
    page.goto("/configuration/integrations/smtp/disconnect/")
    page.get_by_role("button", name="Disconnect").click()


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
def test_a_mapping_and_data_of_ones_own_outlive_the_session(page: Page) -> None:
    page.goto("/configuration/webhooks/new/json/")
    _is_kept(page, field="Mapping", button="Make the address")
    page.goto("/workflows/_new/")
    page.get_by_role("button", name="Start with this Tell stakeholders").click()
    page.get_by_role("button", name="Switch on", exact=True).click()
    page.get_by_role("link", name="Run by hand").click()
    _is_kept(page, field="Or data of your own", button="Run it now")


def _is_kept(page: Page, *, field: str, button: str) -> None:
    page.get_by_label(field).fill("What took an hour to write")
    page.context.clear_cookies()
    page.get_by_role("button", name=button).click()
    expect(page.locator("#problems")).to_contain_text("you are not logged in any more")
    log_in_elsewhere(page)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("alert")).to_be_visible()  # it was posted, and refused for what it is
    expect(page.get_by_label(field)).to_have_value("What took an hour to write")


def log_in_elsewhere(page: Page) -> None:
    other = page.context.new_page()
    other.goto("/login/")
    other.get_by_label("Username").fill("admin")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Log in").click()
    expect(other.get_by_role("button", name="Log in")).to_have_count(0)
    other.close()


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
def test_a_button_tells_that_its_answer_is_on_its_way(page: Page) -> None:
    for path, name in [
        ("/configuration/tokens/", "Make the token"),  # a form as browsers send it
        ("/configuration/integrations/smtp/", "Connect"),  # by htmx
        ("/workflows/_new/", "Create, and add an action"),  # when it is known that it can be saved
    ]:
        page.goto(path)
        button = page.get_by_role("button", name=name, exact=True)
        assert "btn-loading" in button.evaluate("button => { button.click(); return button.className; }")
        page.locator(".error, .alert-danger").first.wait_for()
        expect(button).not_to_have_class(re.compile("btn-loading"))


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
def test_a_second_click_does_nothing_twice(page: Page, installation: Installation) -> None:
    posted: list[str] = []
    page.goto("/configuration/tokens/")
    page.on("request", lambda request: posted.append(request.url) if request.method == "POST" else None)
    page.get_by_label("Name").fill("clicked twice")
    slow = {"offline": False, "latency": 500, "downloadThroughput": -1, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    button = page.get_by_role("button", name="Make the token")
    button.evaluate("button => { button.click(); setTimeout(() => button.click(), 120); }")
    expect(page.get_by_role("status").first).to_contain_text("clicked twice")
    assert len(posted) == 1


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
def test_a_time_that_is_half_typed_is_not_left_out_in_silence(page: Page, installation: Installation) -> None:
    page.goto("/?search=nothing")
    page.get_by_label("Since").focus()
    page.keyboard.type("1124")
    page.get_by_role("button", name="Show").click()
    expect(page).to_have_url(re.compile(r"/\?search=nothing$"))
    assert page.get_by_label("Since").evaluate("field => field.validity.badInput")


def test_an_editor_adds_conditions_tries_them_and_saves_them(page: Page, request: Any) -> None:
    name = "Conditions with" if "with JavaScript" in request.node.name else "Conditions without"
    page.goto("/workflows/_new/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("incident created").check()
    for number, (path, operator, values) in enumerate(CONDITIONS, start=1):
        page.get_by_role("button", name="Add a condition").click()
        expect(page.get_by_label(f"{number}. Value of the event")).to_be_focused()
        row = page.get_by_role("group", name=f"Condition {number}")
        row.get_by_label("Value of the event").fill(path)
        row.get_by_label("Operator").select_option(operator)
        row.get_by_label("Values").fill(values)
    page.get_by_role("button", name="Try them").click()
    expect(page.locator(".saw")).to_have_text(["Holds. It sees SEV1", "Does not hold. It sees Checkout, Payments API"])
    expect(page.locator(".told")).to_contain_text("With this event it would not run.")
    page.get_by_role("button", name="Remove condition 2").click()
    expect(page.get_by_role("button", name="Add a condition")).to_be_focused()
    if "with JavaScript" in request.node.name:
        page.route("**/workflows/_new/", lambda route: route.fulfill(body="Log in"))
        page.get_by_role("button", name="Remove condition 1").click()
        expect(page.locator(".told")).to_contain_text("What you typed still stands here")
        page.unroute_all()
    page.get_by_label("1. Value of the event").press("Enter")  # it saves, and does not remove the first row
    expect(page.get_by_text(f"'{name}' is saved.")).to_be_visible()
    page.goto("/workflows/")
    expect(page.locator(".card", has_text=name)).to_contain_text("if incident.severity is 'sev0' or 'sev1'")


@pytest.mark.parametrize("page", ["without JavaScript"], indirect=True)
def test_a_worker_mails_the_link_for_a_forgotten_password(page: Page, installation: Installation) -> None:
    page.goto("/password/forgotten/")
    page.get_by_label("E-mail").fill("admin@example.com")
    page.get_by_role("button", name="Send the link").click()
    expect(page.get_by_role("status")).to_contain_text("is on its way")
    wanted = re.compile(rf"{re.escape(installation.site)}/password/set/\S+")
    [link] = wait_until(
        lambda: [*filter(None, (wanted.search(one.read_text()) for one in installation.outbox.glob("*.eml")))],
        what="the mail",
    )
    page.goto(link[0])
    page.get_by_label("New password", exact=False).first.wait_for()
    assert page.url.endswith("/set-password/")


@pytest.mark.parametrize("page", ["without JavaScript"], indirect=True)
def test_a_worker_mails_the_link_that_an_invitation_shows(page: Page, installation: Installation) -> None:
    page.goto("/configuration/people/")
    page.get_by_label("Username").fill("zoe")
    page.locator("form.form").get_by_label("E-mail").fill("zoe@example.com")
    page.get_by_role("button", name="Invite").click()
    expect(page.get_by_role("status")).to_contain_text("A worker mails it to zoe@example.com.")
    shown = page.locator("code", has_text="/password/set/").inner_text()
    mails = wait_until(
        lambda: [mail for mail in map(Path.read_text, installation.outbox.glob("*.eml")) if "To: zoe@" in mail],
        what="the mail",
    )
    mailed = re.search(rf"{re.escape(installation.site)}/password/set/\S+", mails[0])
    assert mailed
    for link in (shown, mailed[0]):
        page.goto(link)
        assert page.url.endswith("/set-password/"), "both work"
    page.goto("/configuration/people/")
    expect(page.locator("li", has_text="zoe@example.com")).to_contain_text("· mailed 20")


def test_pages_fit_a_phone_and_load_without_help_from_elsewhere(page: Page, installation: Installation) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/", "/configuration/integrations/", "/configuration/integrations/smtp/", "/no-such-page/"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    assert [url for url in asked if not re.match(re.escape(installation.site), url)] == []


def test_actions_are_moved_by_keyboard_and_by_dragging(page: Page, request: Any) -> None:
    page.goto("/workflows/_new/")
    page.get_by_role("button", name="Start with this Tell stakeholders").click()
    page.get_by_role("link", name="Add an action").click()
    page.get_by_label("Name of the action").fill("Second")
    page.locator("#id_to").fill("a@example.org")
    page.get_by_label("Subject").fill("Hello")
    page.get_by_label("Body").fill("World")
    page.get_by_role("button", name="Save").click()
    names = page.locator("#order b")
    expect(names).to_have_text(["1. Mail the stakeholders", "2. Second"])

    page.get_by_role("button", name="Move Second up").press("Enter")
    expect(names).to_have_text(["1. Second", "2. Mail the stakeholders"])
    if "with JavaScript" in request.node.name:
        expect(page.locator("#moved")).to_have_text("Second is now 1 of 2.")
        expect(page.get_by_role("button", name="Move Second down")).to_be_focused()
        page.locator(".handle").first.drag_to(page.locator("#order li").last, target_position={"x": 40, "y": 60})
        expect(page.locator("#moved")).to_have_text("Second is now 2 of 2.")
        page.reload()
        expect(names).to_have_text(["1. Mail the stakeholders", "2. Second"])
    page.get_by_role("button", name="Switch off Second").click()
    expect(page.locator("#order .badge")).to_have_text(["Switched off"])
