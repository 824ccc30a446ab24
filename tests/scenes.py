"""Every page with nothing, much, too long and failing content: for the tests of its looks, and for screenshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group, Permission, User
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone

from integrations import pauses
from integrations.models import SendGridIntegration, SmtpIntegration
from integrations.transports.base import Reply, Stage, TransportError
from tests import run_scenes, told_scenes, webhook_scenes
from tests.damage import lose_key_of
from tests.test_documents import SMALL
from tests.test_runs import SEV1, queued, with_tasks
from workflows import documents, heartbeat, runs, services
from workflows.events import TRIGGERS, Incoming
from workflows.models import Action, Attempt, Delivery, Recipient, Run

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Route


LONG_HOST = f"mx.{'sehr-langer-name-' * 3}ümläut.{'abteilung.' * 6}example"
LONG_WORDS = "554 5.7.1 " + "The relay does not like this at all, and says so at length. " * 6 + "x" * 300
ARABIC = "انقطاع الخدمة في مركز البيانات"
BARE = {"400.html": "/bare/400/", "403_csrf.html": "/bare/csrf/", "500.html": "/bare/500/", "503.html": "/bare/503/"}
BARE |= {"busy.html": "/bare/busy/"}


def _nothing(*_: Any) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A page to look at: what is stored first, who looks, and what is done there."""

    name: str
    path: str
    prepare: Callable[[], Any] = _nothing
    user: str = "ada"
    act: Callable[[Page], None] = _nothing


def _smtp() -> None:
    heartbeat.beat()  # the scenes before show what every page says without a worker
    SmtpIntegration.objects.create(
        connected=True, address="smtp.example.com", user_name="workflows", password="right horse", ssl=False,
        enable_starttls=True, default_from="Desk <desk@example.com>", connected_by="ada", connected_at=timezone.now(),
    )  # fmt: skip


def _long_names() -> None:
    SmtpIntegration.objects.update(connected_by="a.person.with.a.very.long.name@" + "department." * 6 + "example")
    row = SmtpIntegration.objects.get()
    row.address, row.user_name = LONG_HOST, LONG_HOST
    row.save()
    key = SendGridIntegration.objects.create(connected=True, api_key="SG.key", connected_by="ada")
    lose_key_of(key, "api_key")


def _mails() -> None:
    subjects = ["SEV1: checkout is slow", "Störung: Prüfung der Größen übermäßig träge", ARABIC, LONG_HOST * 4]
    queued(with_tasks(*({"subject": subject, "to": ["oncall@example.org"]} for subject in subjects)))
    runs.execute_due()
    states = [("accepted", ""), ("deferred", "450 4.2.1 busy"), ("failed", ARABIC), ("unknown", LONG_WORDS)]
    for delivery, (state, reason) in zip(Delivery.objects.order_by("position"), states, strict=True):
        Delivery.objects.filter(pk=delivery.pk).update(
            state=state, reason=reason, provider="default", sent_from="Rootmail <workflows@rootmail.example>",
            warnings=[LONG_WORDS, ARABIC] if state == "unknown" else [],
        )  # fmt: skip
        Recipient.objects.filter(delivery=delivery).update(state="refused" if reason else "accepted", reply=reason)


def _stories() -> None:
    """One mail of each kind that has a page of its own to look at, told apart by the subject."""
    documents.load(
        with_tasks(*({"subject": name, "to": ["oncall@example.org", "zoe@example.org"]} for name in STORIES))
    )
    services.trigger(Incoming("incident_created", SEV1))
    runs.execute_due()
    now = timezone.now()
    for name, values in STORIES.items():
        row = Delivery.objects.filter(subject=name).latest("pk")
        said = {"code": 550, "enhanced_code": "5.1.1", "reply": "<zoe@example.org>: user unknown"}
        mailed = {"provider": "smtp", "sent_from": "Desk <desk@example.com>", "next_attempt_at": None}
        Delivery.objects.filter(pk=row.pk).update(**mailed | values)
        for outcome in ("deferred", "unknown" if values["state"] in ("held", "unknown") else "accepted"):
            Attempt.objects.create(
                delivery=row, at=now, provider="smtp", stage="data", outcome=outcome, tls="TLSv1.3", milliseconds=84,
                transcript="< 220 mx ready\n> EHLO desk\n* TLS 1.3\n> MAIL FROM:<desk@example.com>\n< 250 ok", **said,
            )  # fmt: skip
        row.recipients.filter(address="oncall@example.org").update(state="accepted", code=250, reply="ok")
        row.recipients.filter(address="zoe@example.org").update(state="refused", **said)


STORIES: dict[str, dict[str, Any]] = {
    "Accepted by one of two": {"state": "accepted", "accepted_at": timezone.now()},
    "Failed": {"state": "failed", "reason": "550 5.1.1 user unknown"},
    "Held": {"state": "held", "reason": "The connection broke after the final dot."},
    "Unknown": {"state": "unknown", "next_attempt_at": timezone.now() + timedelta(minutes=4)},
    "Long " + "verylongword" * 30: {"state": "failed", "reason": LONG_WORDS, "warnings": [LONG_WORDS, ARABIC]},
    ARABIC: {"state": "deferred", "reason": ARABIC, "next_attempt_at": timezone.now() + timedelta(hours=4)},
    "Purged": {"state": "accepted", "content": b"", "purged_at": timezone.now() - timedelta(days=3)},
}


def _many() -> None:
    """More mails than fit on a page, most of them failed in a bad hour."""
    run = Run.objects.latest("pk")
    Delivery.objects.bulk_create(
        Delivery(
            run=run, workflow=run.workflow, action_name="Mail", position=number, subject=f"SEV1: checkout {number}",
            state="failed", reason="535 5.7.8 authentication failed", provider="smtp", content=b"To: a\r\n\r\n",
            triggered_at=timezone.now(), give_up_at=timezone.now(),
        )
        for number in range(1000, 1120)
    )  # fmt: skip


def _open(name: str, view: str = "") -> Callable[[Page], None]:
    def act(page: Page) -> None:
        row = Delivery.objects.filter(subject=name).latest("pk")
        page.goto(page.url.split("?")[0] + f"deliveries/{row.pk}/{view}")
        _open_all(page)

    return act


def _used() -> None:
    """An installation in use: a good relay, and a day of mails with a bad hour."""
    SendGridIntegration.objects.all().delete()
    row = SmtpIntegration.objects.get()
    row.address, row.connected_by, row.openssl_verify_mode = "smtp.example.com", "ada", "peer"
    row.save()
    delivery, now = Delivery.objects.first(), timezone.now()
    for hours, outcome in [(hour, "accepted") for hour in range(16)] + [(5, "deferred"), (6, "failed")]:
        Attempt.objects.create(
            delivery=delivery, at=now - timedelta(hours=hours), provider="smtp", stage="data", outcome=outcome
        )


def _workflows() -> None:
    """Long, right-to-left, switched off, without an action; and runs that went well and badly."""
    long = [{"path": "incident.title", "operator": "CONTAINS", "values": [ARABIC, LONG_HOST]}]
    long += [{"path": "incident.severity", "operator": "IS NOT", "values": list(range(30))}]
    base = SMALL["workflows"][0]
    trigger = base["trigger_params"]
    documents.load(
        {
            "workflows": [
                base | {"name": ARABIC, "wait": None},
                base | {"slug": "off", "name": "Tell nobody", "enabled": False, "tasks": []},
                base
                | {
                    "slug": "l" * 100,
                    "name": LONG_HOST[:190],
                    "trigger_params": trigger | {"conditions": long, "triggers": sorted(TRIGGERS["incident"])[:30:4]},
                },
            ]
        }
    )
    Action.objects.filter(workflow__slug="l" * 100).update(
        name=ARABIC, subject=f"{ARABIC} {LONG_WORDS}", to=[LONG_HOST, ARABIC]
    )
    Run.objects.update(status="failed", finished_at=timezone.now())


def _locked() -> None:
    """Locked and repeating, with everything filled in, and an Editor who may only read it."""
    trigger = {"trigger_type": "custom", "triggers": ["deploy.finished", f"{'long-' * 15}name.of.an-event"]}
    timing = {
        "wait": "30 seconds", "repeat_every_duration": "1 day", "repeat_on": list("MTWRF"), "locked": True,
        "repeat_condition_number_of_repeats": 5, "repeat_condition_duration_since_first_run": "2 weeks",
        "time_zone": "America/Argentina/ComodRivadavia", "run_once_per_resource": True, "trigger_params": trigger,
    }  # fmt: skip
    base = SMALL["workflows"][0]
    tasks = [base["tasks"][0] | {"position": number, "enabled": number != 2} for number in (1, 2, 3)]
    documents.load({"workflows": [base | timing | {"slug": "locked", "name": LONG_HOST[:150], "tasks": tasks}]})
    made, _ = User.objects.get_or_create(username="eve")
    made.groups.set([Group.objects.get_or_create(name="Editor")[0]])
    made.groups.get().permissions.set(Permission.objects.filter(content_type__app_label="workflows"))


def _paused() -> None:
    """A relay that refuses who we are, at length, while mails wait."""
    heartbeat.beat()
    SmtpIntegration.objects.update(rate_limit=30, session_limit=2)
    error = TransportError.from_reply(Reply(535, LONG_WORDS, "5.7.8"), stage=Stage.AUTH)
    pauses.begin("smtp", error)
    Delivery.objects.filter(state="deferred").update(next_attempt_at=timezone.now())


def _open_again() -> None:
    pauses.lift("smtp", version=pauses.version_of("smtp"))


def _connect(page: Page) -> None:
    page.get_by_label("Address").fill("169.254.169.254")
    page.get_by_label("Port").fill("99999")
    page.locator("details.more").evaluate("part => part.open = true")
    page.get_by_label("Default From").fill(f"{ARABIC} <desk@{LONG_HOST}>")
    page.get_by_role("button", name="Connect", exact=True).click()
    page.get_by_role("alert").wait_for()
    page.wait_for_load_state()


def _check(page: Page) -> None:
    """Try the settings of a relay that refuses; its port is in the address bar's fragment."""
    page.get_by_label("Address").fill("127.0.0.1")
    page.get_by_label("Port").fill(page.url.partition("#")[2])
    page.get_by_label("SSL", exact=True).uncheck()
    page.locator("details.more").evaluate("part => part.open = true")
    page.get_by_label("Default From").fill("desk@example.com")
    page.get_by_role("button", name="Connect", exact=True).click()
    page.locator("table.steps tr.bad").wait_for()
    page.wait_for_load_state()


def _send_to_nobody(page: Page) -> None:
    page.get_by_role("textbox").fill("nobody")
    page.get_by_role("button", name="Send test e-mail").click()
    page.wait_for_load_state()


def _invite(page: Page) -> None:
    form = page.locator("form.form")
    form.get_by_label("Username").fill("zoe." + "x" * 100)
    form.get_by_label("E-mail").fill(f"zoe@{'department.' * 8}example.com")
    form.get_by_role("button", name="Invite").click()
    page.wait_for_load_state()


def _enter_a_wrong_address(page: Page) -> None:
    page.locator("summary", has_text="zoe").click()
    page.locator("details[open] input[name=email]").fill("nobody")
    page.get_by_role("button", name="Change the address").locator("visible=true").click()
    page.wait_for_load_state()


def _enter_a_wrong_password(page: Page) -> None:
    page.get_by_label("E-mail").fill("max")
    page.get_by_label("Current password").fill("wrong")
    page.get_by_role("button", name="Change the address").click()
    page.wait_for_load_state()


def _enter_too_many_wrong_passwords(page: Page) -> None:
    for _ in range(5):
        page.get_by_label("Current password").fill("wrong")
        page.get_by_role("button", name="Change the address").click()
        page.wait_for_load_state()
        if page.get_by_text("Too many").count():
            return


def _make_token(page: Page) -> None:
    page.get_by_label("Name").fill("pager " + "x" * 60)
    page.get_by_role("button", name="Make the token").click()
    page.wait_for_load_state()


def _create_a_wrong_workflow(page: Page) -> None:
    page.get_by_label("Slug").fill("x" * 90 + " " + ARABIC)
    with page.expect_navigation():
        page.get_by_role("button", name="Create").click()
    page.wait_for_load_state()


def _save_wrong_timing(page: Page) -> None:
    _open_all(page)
    page.get_by_label("Repeat every").fill("now and then")
    page.get_by_label("Time zone").fill("Middle Earth")
    with page.expect_navigation():
        page.get_by_role("button", name="Save").click()
    page.wait_for_load_state()


def _move(page: Page) -> None:
    page.get_by_role("button", name="down").first.click()
    page.locator("#order").wait_for()
    _open_all(page)


def _try_conditions(page: Page) -> None:
    """Hold, fail, cannot be read, and values that are many and long."""
    for number, (path, value) in enumerate([("$..[?@.slug].name", "/^pay/i"), (f"incident..{ARABIC}", LONG_HOST)], 3):
        page.get_by_role("button", name="Add a condition").click()
        page.locator(f"#id_{number}_condition-path").fill(path)
        page.locator(f"#id_{number}_condition-values").fill(f"{value}\n" * 20)
    page.get_by_role("button", name="Try them").click()
    page.locator(".saw").first.wait_for()


def _open_action(page: Page) -> None:
    page.locator("ol a").first.click()
    page.wait_for_load_state()
    _open_all(page)


def _write_a_wrong_action(page: Page) -> None:
    _open_action(page)
    page.get_by_label("Subject").fill("{{ incident.titel }} " + "x" * 200)
    page.locator("#id_to").fill("nobody, " + LONG_HOST)
    page.get_by_label("Body").fill("Well\n\n{% if x %}" + LONG_HOST)
    with page.expect_navigation():  # which a script lets begin when it knows that the answer can be saved
        page.get_by_role("button", name="Save").click()
    page.wait_for_load_state()


def _open_menu(page: Page) -> None:
    button = page.get_by_role("button", name="Open the menu")
    if button.is_visible():
        button.click()


def _open_all(page: Page) -> None:
    for summary in page.query_selector_all("details:not([open]) > summary"):
        if summary.is_visible():
            summary.click()


CATALOGUE = "/configuration/integrations/"
WEBHOOKS = webhook_scenes.WEBHOOKS
SCENES = [
    Scene("login", "/login/", user=""),
    Scene("deliveries-empty", "/"),
    Scene("workflows-empty", "/workflows/"),
    Scene("deliveries-waiting", "/", prepare=partial(documents.load, SMALL)),
    Scene("menu", "/", act=_open_menu),
    Scene("integrations-empty", CATALOGUE),
    Scene("smtp", f"{CATALOGUE}smtp/"),
    Scene("smtp-wrong", f"{CATALOGUE}smtp/", act=_connect),
    Scene("smtp-refused", f"{CATALOGUE}smtp/#{{port}}", act=_check),
    Scene("sendgrid", f"{CATALOGUE}sendgrid/"),
    Scene("integrations", CATALOGUE, prepare=_smtp),
    Scene("integrations-long", CATALOGUE, prepare=_long_names, act=_open_all),
    Scene("disconnect", f"{CATALOGUE}smtp/disconnect/"),
    Scene("test-mail", f"{CATALOGUE}smtp/test/", act=_send_to_nobody),
    Scene("people", "/configuration/people/", act=_open_all),
    Scene("people-invited", "/configuration/people/", act=_invite),
    Scene("people-wrong", "/configuration/people/", act=_enter_a_wrong_address),
    Scene("tokens", "/configuration/tokens/", act=_make_token),
    Scene("audit", "/configuration/audit/"),
    Scene("account", "/account/"),
    Scene("account-wrong", "/account/", act=_enter_a_wrong_password),
    Scene("account-locked", "/account/", act=_enter_too_many_wrong_passwords, user="max"),
    Scene("password-change", "/password/"),
    Scene("password-forgotten", "/password/forgotten/", user=""),
    Scene("deliveries", "/", prepare=_mails, act=_open_all),
    Scene("integrations-used", CATALOGUE, prepare=_used, act=_open_all),
    Scene("deliveries-none-fits", "/?state=cancelled&code=535&search=nothing+like+that"),
    Scene("deliveries-wrong-filter", "/?state=lost&since=soon&code=x&provider=pigeon"),
    Scene("delivery-accepted", "/", prepare=_stories, act=_open("Accepted by one of two")),
    *(Scene(f"delivery-{name.split()[0].lower()}", "/", act=_open(name)) for name in list(STORIES)[1:-2]),
    Scene("delivery-purged", "/", act=_open("Purged")),
    Scene("delivery-rtl", "/", act=_open(ARABIC)),
    *(
        Scene(f"mail-{view}", "/", act=_open("Accepted by one of two", f"?view={view}"))
        for view in ("phone", "dark", "text", "headers", "source")
    ),
    Scene("deliveries-many", "/?state=failed&provider=smtp", prepare=_many),
    Scene("deliveries-viewer", "/?state=failed", user="max"),
    Scene("confirm", "/deliveries/all/send-again/?state=failed&state=accepted"),
    Scene("confirm-nothing", "/deliveries/all/cancel/?state=failed"),
    Scene("workflows", "/workflows/", prepare=_workflows, act=_open_all),
    Scene("workflow-new", "/workflows/_new/"),
    Scene("workflow-wrong", "/workflows/_new/", act=_create_a_wrong_workflow),
    Scene("workflow", "/workflows/tell/", act=_open_all),
    Scene("workflows-none-fits", "/workflows/?search=nothing+like+that&state=off"),
    Scene("workflows-wrong-filter", "/workflows/?kind=pigeon&state=lost"),
    Scene("workflow-locked", "/workflows/locked/", prepare=_locked, act=_move),
    Scene("workflows-locked", "/workflows/?state=locked", act=_open_all),
    Scene("workflow-wrong-timing", "/workflows/locked/", act=_save_wrong_timing),
    Scene("workflow-read-only", "/workflows/locked/", act=_open_all, user="eve"),
    Scene("action-read-only", "/workflows/locked/", act=_open_action, user="eve"),
    Scene("action-not-allowed", "/workflows/locked/actions/new/", user="eve"),
    Scene("workflow-conditions", f"/workflows/{'l' * 100}/", act=_try_conditions),
    Scene("action-new", "/workflows/tell/actions/new/", act=_open_all),
    Scene("action", "/workflows/tell/", act=_open_action),
    Scene("action-wrong", "/workflows/tell/", act=_write_a_wrong_action),
    Scene("runs-empty", "/runs/?status=completed_with_errors"),
    Scene("runs", "/runs/", prepare=run_scenes.prepare),
    Scene("events", "/events/", prepare=run_scenes.prepare_events),
    Scene("events-none-fits", "/events/?about=incident:0"),
    Scene("event", "/events/", act=run_scenes.open_skipped),
    Scene("run-failed", "/runs/", act=run_scenes.open_one(status="failed")),
    Scene("run-repeating", "/runs/", act=run_scenes.open_one(number=1)),
    Scene("run-cancelled", "/runs/", act=run_scenes.open_one(status="canceled")),
    Scene("run-waiting", "/runs/", act=run_scenes.open_one(status="queued", number=0)),
    Scene("run-by-hand", "/workflows/runs/run/"),
    Scene("run-by-hand-wrong", "/workflows/runs/run/", act=run_scenes.start_wrongly),
    Scene("suppressed-empty", "/suppressed/"),
    Scene("sendgrid-events", f"{CATALOGUE}sendgrid/", prepare=told_scenes.prepare),
    Scene("suppressed", "/suppressed/"),
    Scene("suppressed-none-fits", "/suppressed/?search=nobody"),
    Scene("suppressed-wrong", "/suppressed/?since=yesterday&kind=refused"),
    Scene("delivery-told", "/", act=told_scenes.open_one("Told")),
    Scene("delivery-suppressed", "/", act=told_scenes.open_one("Suppressed")),
    Scene("deliveries-bounced", "/?bounced=on"),
    Scene("webhooks-empty", WEBHOOKS),
    Scene("webhook-kinds", f"{WEBHOOKS}new/"),
    Scene("webhook-new", f"{WEBHOOKS}new/grafana/", act=_open_all),
    Scene("webhook-wrong", f"{WEBHOOKS}new/json/", act=webhook_scenes.make_a_wrong_one),
    Scene("webhook-made", f"{WEBHOOKS}new/alertmanager/", act=webhook_scenes.make_one),
    Scene("webhooks", WEBHOOKS, prepare=webhook_scenes.prepare),
    Scene("webhook-quiet", WEBHOOKS, act=webhook_scenes.open_one("Alertmanager of the shop")),
    Scene("webhook-busy", WEBHOOKS, act=webhook_scenes.open_one("Any JSON")),
    Scene("webhook-long", WEBHOOKS, act=webhook_scenes.open_one("monitoring.monitoring")),
    Scene("webhook-rtl", WEBHOOKS, act=webhook_scenes.open_one(ARABIC)),
    Scene("webhook-tried", WEBHOOKS, act=webhook_scenes.try_one),
    Scene("webhook-tried-wrong", WEBHOOKS, act=webhook_scenes.try_a_wrong_one),
    Scene("webhook-edit", WEBHOOKS, act=webhook_scenes.edit_one),
    Scene("integrations-paused", CATALOGUE, prepare=_paused, act=_open_all),
    Scene("not-found", "/no-such-page/", prepare=_open_again),
    Scene("not-allowed", CATALOGUE, user="max"),
    *(Scene(name.removesuffix(".html"), path) for name, path in BARE.items()),
]


def visits(context: BrowserContext, *, site: str, port: int) -> Iterator[tuple[str, Page]]:
    """Show one scene after the other, as the right user; what one has stored is there for the next."""
    page = context.new_page()
    for name, path in BARE.items():
        page.route(f"{site}{path}", partial(_show, name))
    for scene in SCENES:
        scene.prepare()
        become(context, scene.user, site=site)
        page.goto(site + scene.path.format(port=port))
        scene.act(page)
        page.wait_for_load_state()  # a page that follows is there before its looks are
        yield scene.name, page


def _show(name: str, route: Route) -> None:
    route.fulfill(body=render_to_string(name), content_type="text/html; charset=utf-8")


def become(context: BrowserContext, name: str, *, site: str) -> None:
    context.clear_cookies(name="sessionid")
    if name:
        browser = Client()
        browser.force_login(User.objects.get(username=name))
        context.add_cookies([{"name": "sessionid", "value": browser.cookies["sessionid"].value, "url": site}])
