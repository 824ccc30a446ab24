"""The list with filters and pages, one delivery, its looks, and what people may do there."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from integrations.models import AuditEvent
from tests.scenes import become
from tests.test_accessibility import reader
from tests.test_runs import queued, with_tasks
from tests.test_search import made
from workflows import intervention_views, interventions, mime, preview, runs, search, services, story
from workflows.models import Attempt, Delivery, Recipient
from workflows.rendering import RenderedMail

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>"
TITLES = re.compile(r'<h2 class="wrap"><a href="[^"]+"><bdi>([^<]+)</bdi>')


@pytest.fixture(autouse=True)
def _nobody_is_rung_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ring", lambda: None)


@pytest.fixture
def as_editor(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Editor"])
    return client


@pytest.fixture
def as_viewer(client: Client, team: dict[str, User]) -> Client:
    client.force_login(team["Viewer"])
    return client


def body(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status
    return unescape(answer.content.decode())


def page_of(row: Delivery) -> str:
    return f"/deliveries/{row.pk}/"


def rendered(**values: Any) -> Delivery:
    """Store a delivery as a run makes it."""
    queued(with_tasks(values))
    runs.execute_due()
    return Delivery.objects.get()


def with_html(html: str, **values: Any) -> Delivery:
    """Store a delivery whose HTML came past the sanitiser."""
    mail = RenderedMail(("a@example.org",), (), (), "", (), "Hello", "As text.", html, ())
    content = mime.build(mail, message_id="<x@y>", date=timezone.now(), delivery_id="x")
    return made("Hello", content=content, **values)


# --- the list ----------------------------------------------------------------------------------


def test_the_list_shows_what_the_filter_lets_through(as_viewer: Client) -> None:
    made("one", state="failed")
    made("two", state="accepted")
    page = body(as_viewer.get("/?state=failed&code="))
    assert TITLES.findall(page) == ["one"]
    assert 'Deliveries <b dir="auto">failed</b>:' in page
    assert 'value="failed" id="id_state_4" checked' in page


def test_what_fits_nothing_is_told_from_no_mail_at_all(as_viewer: Client) -> None:
    assert "No mail yet" in body(as_viewer.get("/"))
    assert "No delivery fits" in body(as_viewer.get("/?state=failed"))
    made("one")
    page = body(as_viewer.get("/?state=failed"))
    assert "No delivery fits" in page
    assert '<a href="/events/">Events</a>' in page, "a mail that was never made is no delivery"
    assert "No mail yet" not in page
    assert "Nothing further" in body(as_viewer.get(f"/?before={UUID(int=1)}"))


@pytest.mark.parametrize("query", ["state=lost", "since=soon", "code=x", "workflow=none", "run=7", "search=%00"])
def test_a_filter_that_is_none_gets_a_message_and_shows_nothing(as_viewer: Client, query: str) -> None:
    made("one")
    page = body(as_viewer.get(f"/?{query}"), 422)
    assert 'class="error"' in page
    assert TITLES.findall(page) == []


def test_newer_and_older_keep_the_filter(as_viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    for number in range(5):
        made(str(number), hours_ago=9 - number, state="failed")
    made("other", hours_ago=0)
    first = body(as_viewer.get("/?state=failed"))
    assert TITLES.findall(first) == ["4", "3"]
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    assert older[1].startswith("?state=failed&before=")
    second = body(as_viewer.get(f"/{older[1]}"))
    assert TITLES.findall(second) == ["2", "1"]
    newer = re.search(r'rel="prev" href="([^"]+)"', second)
    assert newer
    assert TITLES.findall(body(as_viewer.get(f"/{newer[1]}"))) == ["4", "3"]


@pytest.mark.parametrize("since", ["2026-11-24", "2026-11-24T00:00", "2026-11-24T01:00:00+01:00"])
def test_the_form_shows_the_time_that_an_address_names(as_viewer: Client, since: str) -> None:
    made("one", hours_ago=12)
    page = body(as_viewer.get("/", {"since": since}))
    assert re.findall(r'<input type="datetime-local" name="since" value="([^"]*)"', page) == ["2026-11-24T00:00:00"]
    assert TITLES.findall(page) == ["one"]


@pytest.mark.parametrize("place", ["before=x", "after=7"])
def test_a_place_that_is_none_is_not_found(as_viewer: Client, place: str) -> None:
    assert as_viewer.get(f"/?{place}").status_code == 404


def test_only_who_may_change_deliveries_is_offered_it(client: Client, team: dict[str, User]) -> None:
    row = made("one", state="failed")
    for role, offered in (("Viewer", False), ("Editor", True), ("Admin", True)):
        client.force_login(team[role])
        assert ("Send again all…" in body(client.get("/?state=failed"))) is offered
        assert ("Send again" in body(client.get(page_of(row)))) is offered
        assert "Send again all…" not in body(client.get("/")), "without a filter"


def verbs_on(page: str) -> list[str]:
    return re.findall(r">([\w ]+) all…<", page)


@pytest.mark.parametrize(
    ("states", "offered"),
    [
        (["failed"], ["Send again"]),
        (["cancelled"], ["Send again"]),
        (["accepted"], []),
        (["sending"], []),
        (["queued"], ["Cancel"]),
        (["deferred"], ["Send again", "Cancel"]),
        (["held"], ["Send again", "Cancel", "Consider delivered"]),
        (["failed", "queued"], ["Send again", "Cancel"]),
    ],
)
def test_of_what_can_be_done_with_all_only_that_is_offered_which_can(
    as_editor: Client, states: list[str], offered: list[str]
) -> None:
    for state in states:
        held = {"lease": uuid4(), "lease_expires_at": timezone.now()} if state == "sending" else {}
        made(state, state=state, **held).recipients.update(state=state if state == "accepted" else "queued")
    assert verbs_on(body(as_editor.get("/?workflow=tell"))) == offered
    assert verbs_on(body(as_editor.get("/", {"state": states}))) == offered


def test_where_a_list_goes_on_the_wanted_states_tell_what_can_be_done(
    as_editor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGE", 1)
    made("waits", hours_ago=2, state="deferred")
    made("fell", state="failed")
    everything = ["Send again", "Cancel", "Consider delivered"]
    assert verbs_on(body(as_editor.get("/?workflow=tell"))) == everything
    made("fell, too", state="failed")
    assert verbs_on(body(as_editor.get("/?state=failed"))) == ["Send again", "Consider delivered"]


# --- one delivery --------------------------------------------------------------------------------


def test_the_page_tells_what_became_of_a_mail(as_viewer: Client) -> None:
    row = rendered(to=["a@example.org"], cc=["b@example.org"], subject="Checkout is slow")
    now = timezone.now()
    Delivery.objects.update(
        state="deferred", reason="450 4.7.1 later", provider="smtp", sent_from="Desk <desk@example.com>",
        next_attempt_at=now + timedelta(minutes=5, seconds=30),
    )  # fmt: skip
    Recipient.objects.filter(kind="to").update(state="accepted", code=250)
    Recipient.objects.filter(kind="cc").update(state="deferred", code=450, enhanced_code="4.7.1", reply="later")
    Attempt.objects.create(
        delivery=row, at=now, provider="smtp", stage="data", outcome="accepted", code=250, reply="queued as 1",
        tls="TLSv1.3", milliseconds=41, transcript="> MAIL FROM:<desk@example.com>\n< 250 ok",
    )  # fmt: skip
    page = body(as_viewer.get(page_of(row)))
    for shown in (
        "Checkout is slow", "Deferred", "The relay lets unknown senders wait (greylisting). It is tried",
        "450 4.7.1 later", "Desk <desk@example.com>", row.message_id, f"/runs/{row.run_id}/", "?workflow=tell",
        "(in 5\xa0minutes)", "2 recipients", "a@example.org", "b@example.org", "TLSv1.3", "41 ms", "queued as 1",
        "Transcript", "> MAIL FROM:<desk@example.com>", "Gives up", "through SMTP", "Time zone",
    ):  # fmt: skip
        assert shown in page, shown
    assert page.index("b@example.org") < page.index("a@example.org"), "those without the mail first"
    assert '<a href="/" class="nav-link" aria-current="page"' in page


@pytest.mark.parametrize(("state", "again"), [("sending", "every 2s"), ("queued", "every 5s"), ("accepted", "")])
def test_a_mail_on_its_way_is_looked_at_again_and_again(as_viewer: Client, state: str, again: str) -> None:
    lease = {"lease": uuid4(), "lease_expires_at": timezone.now() + timedelta(minutes=5)} if state == "sending" else {}
    row = made("on its way", state=state, **lease)
    page = body(as_viewer.get(page_of(row)))
    assert re.findall(r'hx-trigger="([^"]*)"', page) == ([again] if again else [])
    assert page.count('hx-select-oob="#banners"') == bool(again), "what it waits for is over then, maybe"
    kept = page.partition('<div id="progress"')[2]
    assert "</section>\n</div>" in kept.partition('id="mail"')[0], "the mail itself is not asked for again"


def test_who_is_logged_out_while_a_page_looks_again_is_led_to_the_log_in(client: Client) -> None:
    row = made("on its way", state="queued")
    for page in (page_of(row), f"/runs/{row.run_id}/"):
        answer = client.get(page, headers={"HX-Request": "true"})
        assert answer.headers["HX-Refresh"] == "true", "a part of the log-in would take the place of what stood there"
        assert client.get(page)["Location"] == f"/login/?next={page}"


def test_a_mail_that_could_not_be_made_says_so(as_viewer: Client) -> None:
    row = rendered(to=["{{ incident.none }}"])
    page = body(as_viewer.get(page_of(row)))
    assert "No mail came of its templates." in page
    assert "There is none: it could not be made." in page
    assert "<iframe" not in page


def test_after_the_purge_it_says_when_and_why_the_content_is_gone(as_viewer: Client) -> None:
    row = made("old", state="accepted", content=b"", purged_at=timezone.now() - timedelta(days=2))
    Recipient.objects.filter(delivery=row).update(state="accepted")
    page = body(as_viewer.get(page_of(row)))
    assert "were erased" in page
    assert "(2\xa0days ago)" in page
    assert "<iframe" not in page
    for part in ("mail", "mail.eml"):
        assert as_viewer.get(page_of(row) + part).status_code == 404


def test_many_recipients_and_attempts_stay_short(
    as_editor: Client, django_assert_max_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = rendered()
    Recipient.objects.bulk_create(
        [Recipient(delivery=row, address=f"r{n}@example.org", kind="cc", state="accepted") for n in range(1000)]
    )
    Attempt.objects.bulk_create(
        [Attempt(delivery=row, at=timezone.now(), stage="rcpt", outcome="deferred") for _ in range(200)]
    )
    with django_assert_max_num_queries(12):
        page = body(as_editor.get(page_of(row)))
    assert "1001 recipients" in page
    assert page.count('<li class="wrap">') == story.RECIPIENTS
    assert page.count('<li class="list-group-item">') == story.ATTEMPTS


def test_what_people_decided_stands_among_the_attempts(as_editor: Client) -> None:
    row, other = made("one", state="failed", hours_ago=0), made("two", state="failed")
    Attempt.objects.create(delivery=row, at=timezone.now(), stage="auth", outcome="failed")
    as_editor.post(f"{page_of(row)}send-again/")
    assert "<b><bdi>editor</bdi></b>: deliveries sent again" in body(as_editor.get(page_of(row)))
    assert "deliveries sent again" not in body(as_editor.get(page_of(other)))


def test_nothing_that_came_from_outside_is_markup(as_editor: Client) -> None:
    row = rendered(subject=HOSTILE, body=HOSTILE)
    Delivery.objects.update(
        reason=HOSTILE, warnings=[HOSTILE], sent_from=HOSTILE, action_name=HOSTILE, provider="<i>", state="failed"
    )
    Recipient.objects.update(reply=HOSTILE, address=HOSTILE)
    Attempt.objects.create(
        delivery=row, at=timezone.now(), stage="data", outcome="failed", reply=HOSTILE, transcript=HOSTILE
    )
    for view in preview.VIEWS:
        page = as_editor.get(f"{page_of(row)}?view={view}").content.decode()
        assert HOSTILE not in page
        assert "<i>" not in page
    for address in ("/", f"/?search={HOSTILE}", f"/deliveries/all/cancel/?search={HOSTILE}"):
        assert HOSTILE not in as_editor.get(address).content.decode()


# --- how it looks --------------------------------------------------------------------------------


def test_the_frame_has_a_policy_of_its_own_and_the_page_keeps_its(as_viewer: Client) -> None:
    row = rendered()
    answer = as_viewer.get(f"{page_of(row)}mail?view=desktop")
    policy = dict(part.strip().partition(" ")[::2] for part in answer["Content-Security-Policy"].split(";"))
    assert policy == {
        "sandbox": "",
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "https: data: http://127.0.0.1:8000/static/icons/",
        "form-action": "'none'",
        "base-uri": "'none'",
        "frame-ancestors": "'self'",
    }
    assert (answer["X-Frame-Options"], answer["X-Content-Type-Options"]) == ("SAMEORIGIN", "nosniff")
    assert "no-store" in answer["Cache-Control"]
    page = as_viewer.get(page_of(row))
    assert page["X-Frame-Options"] == "DENY"
    assert "frame-src 'self'" in page["Content-Security-Policy"]
    assert f'<iframe class="look desktop" sandbox src="{page_of(row)}mail?view=desktop"' in body(page)


def test_the_dark_view_does_not_depend_on_the_browser(as_viewer: Client) -> None:
    row = rendered()
    dark, light = (body(as_viewer.get(f"{page_of(row)}mail?view={view}")) for view in ("dark", "desktop"))
    assert "@media all" in dark
    assert "@media not all" in light
    assert "prefers-color-scheme" not in dark + light
    assert '<meta name="color-scheme" content="dark">' in dark
    assert '<meta name="color-scheme" content="light">' in light


def test_text_headers_and_source_are_on_the_page(as_viewer: Client) -> None:
    row = rendered(subject="Störung", body="Größe **fett**", bcc=["secret@example.org"])
    Delivery.objects.update(sent_from="Désk <desk@example.com>")
    text, headers, source = (
        body(as_viewer.get(f"{page_of(row)}?view={view}#mail")) for view in ("text", "headers", "source")
    )
    assert "Größe fett" in text
    shown = re.search(r'<pre class="wrapped"[^>]*>(.*?)</pre>', headers, re.S)
    assert shown
    assert shown[1].startswith("From: Désk <desk@example.com>\nTo: a@example.org\nSubject: Störung\nDate: ")
    assert "Bcc" not in shown[1]
    assert "Subject: =?utf-8?" in source
    assert "From: =?utf-8?" in source
    assert as_viewer.get(f"{page_of(row)}?view=smell").status_code == 404


def test_a_long_source_is_cut_on_the_page_and_whole_in_the_file(as_viewer: Client) -> None:
    row = with_html("<p>long</p>" * 40_000)
    page = body(as_viewer.get(f"{page_of(row)}?view=source"))
    assert "Its beginning. The file holds all of it." in page
    assert len(page) < preview.LONGEST * 2
    answer = as_viewer.get(f"{page_of(row)}mail.eml")
    assert answer.content == bytes(row.content), "nobody has chosen a From"
    assert (answer["Content-Type"], answer["X-Frame-Options"]) == ("message/rfc822", "DENY")
    assert answer["Content-Disposition"] == f'attachment; filename="{row.pk}.eml"'


def test_what_no_mail_of_ours_would_be_can_be_looked_at_all_the_same(as_viewer: Client) -> None:
    row = made("odd", content=b"\xff\xfe no header\r\n\r\n\x80")
    for view in preview.VIEWS:
        assert as_viewer.get(f"{page_of(row)}?view={view}").status_code == 200
    assert as_viewer.get(f"{page_of(row)}mail").status_code == 200


# --- what people may do ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "labels"),
    [
        ("queued", ["Cancel"]),
        ("failed", ["Send again"]),
        ("held", ["Send again", "Cancel", "Consider delivered"]),
        ("cancelled", ["Send again"]),
    ],
)
def test_a_page_offers_what_is_possible_in_this_state(as_editor: Client, state: str, labels: list[str]) -> None:
    page = body(as_editor.get(page_of(made("one", state=state))))
    assert re.findall(r'<form method="post" action="/deliveries/[^"]+".*?<button[^>]*>([^<]+)</button>', page) == labels


def test_one_mail_is_done_at_once(as_editor: Client) -> None:
    row = made("one", state="held")
    page = body(as_editor.post(f"{page_of(row)}consider-delivered/", follow=True))
    assert "Consider delivered: it counts as accepted." in page
    row.refresh_from_db()
    assert (row.state, row.reason) == (
        "accepted",
        "The relay's answer was not heard; editor considers it delivered.",
    )
    again = body(as_editor.post(f"{page_of(row)}consider-delivered/", follow=True))
    assert "Nothing was changed: ended already." in again


def test_what_is_no_verb_or_no_mail_is_not_found(as_editor: Client) -> None:
    row = made("one", state="held")
    assert as_editor.post(f"{page_of(row)}explode/").status_code == 404
    assert as_editor.post("/deliveries/all/explode/?state=held").status_code == 404
    assert as_editor.post(f"/deliveries/{UUID(int=7)}/cancel/").status_code == 404
    assert as_editor.get(f"/deliveries/{UUID(int=7)}/").status_code == 404


def test_whoever_must_log_in_first_comes_back_to_a_page(client: Client) -> None:
    row = made("one")
    assert client.post(f"{page_of(row)}cancel/")["Location"] == f"/login/?next={page_of(row)}"
    assert client.post("/deliveries/all/cancel/?state=held")["Location"] == "/login/?next=/"


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'name="(before|after)" value="([^"]+)"', page))


def test_many_are_done_after_a_question_that_says_how_many(as_editor: Client) -> None:
    for number in range(3):
        made(str(number), hours_ago=1, state="failed")
    made("empty", hours_ago=1, state="failed", content=b"")
    address = "/deliveries/all/send-again/?state=failed"
    page = body(as_editor.get(address))
    for shown in (
        "Send again: 3 deliveries?",
        "4 match;",
        "<b>3</b> can be sent again;",
        "1 is left alone: never rendered",
    ):
        assert shown in page, shown
    answer = as_editor.post(address, hidden(page), follow=True)
    assert answer.redirect_chain == [("/?state=failed", 302)]
    assert "Send again: 3 deliveries done. Left alone: 1 never rendered." in body(answer)
    assert Delivery.objects.filter(state="queued").count() == 3
    entry = AuditEvent.objects.get(action="deliveries sent again")
    assert (entry.actor, entry.details) == ("editor", {"deliveries": "failed", "done": 3, "left": 1})
    assert "Send again: 0" not in body(as_editor.get(address))


def test_without_the_question_nothing_is_done(as_editor: Client) -> None:
    made("one", state="failed")
    body(as_editor.post("/deliveries/all/send-again/?state=failed"), 422)
    for query in ("", "?state=lost"):
        answer = as_editor.post(f"/deliveries/all/send-again/{query}", {"before": UUID(int=2**127)}, follow=True)
        assert "Choose by a filter which deliveries are meant." in body(answer)
    assert Delivery.objects.get().state == "failed"


def test_when_time_is_over_it_offers_to_go_on(as_editor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interventions, "BATCH", 2)
    monkeypatch.setattr(intervention_views, "SECONDS", 0)
    for number in range(5):
        made(str(number), hours_ago=9 - number, state="held")
    address = "/deliveries/all/cancel/?state=held"
    page = body(as_editor.post(address, hidden(body(as_editor.get(address)))))
    assert "2 done so far; 3 are left." in page
    monkeypatch.setattr(intervention_views, "SECONDS", 20)
    assert "3 deliveries done." in body(as_editor.post(address, hidden(page), follow=True))
    assert set(Delivery.objects.values_list("state", flat=True)) == {"cancelled"}


@pytest.mark.parametrize("verb", ["put", "patch", "delete", "options"])
def test_other_verbs_are_not_allowed(as_editor: Client, verb: str) -> None:
    row = made("one")
    for address in ("/", page_of(row), f"{page_of(row)}mail", f"{page_of(row)}cancel/", "/deliveries/all/cancel/"):
        assert getattr(as_editor, verb)(address).status_code == 405


def test_a_viewer_changes_nothing(as_viewer: Client) -> None:
    row = made("one", state="held")
    assert as_viewer.post(f"{page_of(row)}cancel/").status_code == 403
    assert as_viewer.post("/deliveries/all/cancel/?state=held", {"before": UUID(int=2**127)}).status_code == 403
    assert Delivery.objects.get().state == "held"


# --- in a real browser -----------------------------------------------------------------------------

ATTACK = """<p>Look</p><script>top.document.title = 'taken'</script>
<img src="data:," onerror="top.document.title='taken'">
<form action="/theme/" method="post"><button>Press</button></form><a href="/people/" target="_top">out</a>
<iframe src="/"></iframe><meta http-equiv="refresh" content="0; url=/?taken">"""


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_the_html_of_a_mail_runs_nothing_and_reaches_nothing(live_server: Any, people: None) -> None:
    row = with_html(ATTACK)
    with reader(theme="light", width=1440) as context:
        become(context, "ada", site=live_server.url)
        page = context.new_page()
        page.goto(f"{live_server.url}{page_of(row)}")
        look = page.frame_locator("iframe.look")
        look.get_by_text("Look").wait_for()
        title = page.title()
        look.get_by_role("link", name="out").click()
        look.get_by_role("button", name="Press").click()
        page.wait_for_timeout(500)
        assert (page.title(), page.url) == (title, f"{live_server.url}{page_of(row)}")
        assert "taken" not in title
        assert [frame.url for frame in page.frames if "theme" in frame.url or "taken" in frame.url] == []
