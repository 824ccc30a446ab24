"""Who may open what: every address of the site, every role. An address without an entry fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from integrations import tokens
from integrations.models import ApiToken, SendGridIntegration, SmtpIntegration
from integrations.people import Role
from tests.test_runs import queued, with_tasks
from workflows import endpoints, runs
from workflows.models import Action, Delivery, Run
from workflows.webhook_models import WebhookEndpoint

pytestmark = pytest.mark.django_db

TO_LOGIN = 302
LINK = {"uidb64": "MQ", "token": "no-token"}
SMTP = {"kind": "smtp"}
TELL: dict[str, Any] = {"slug": "tell"}
ACTION: dict[str, Any] = TELL | {"number": 0}  # replaced by the action that the test made
SOMEBODY: dict[str, Any] = {"pk": 0}  # replaced by whom the test made
RUN: dict[str, Any] = {"run": UUID(int=0)}  # replaced by the run that the test made
EVENT: dict[str, Any] = {"event": UUID(int=0)}  # replaced by the event of that run
ENDPOINT: dict[str, Any] = {"endpoint": UUID(int=0)}  # replaced by the webhook that the test made
MAIL: dict[str, Any] = {"pk": UUID(int=0)}  # replaced by the mail that the test made

# name: (arguments, GET by anonymous, Viewer, Editor, Admin; POST without any field of its own by the same)
EVERYBODY, NOBODY = (200, 200, 200, 200), (405, 405, 405, 405)
UNPROVED = (401, 401, 401, 401)  # a log-in is no token
MEMBERS = (TO_LOGIN, 200, 200, 200)
ADMINS, ADMINS_POST_405 = (TO_LOGIN, 403, 403, 200), NOBODY
EDITORS, EDITORS_302 = (TO_LOGIN, 403, 200, 200), (TO_LOGIN, 403, 302, 302)
EDITORS_422 = (TO_LOGIN, 403, 422, 422)
ADMINS_422, ADMINS_302 = (TO_LOGIN, 403, 403, 422), (TO_LOGIN, 403, 403, 302)
Statuses = tuple[int, int, int, int]
TABLE: dict[str, tuple[dict[str, Any], Statuses, Statuses]] = {
    "login": ({}, (200, 302, 302, 302), (200, 302, 302, 302)),
    "logout": ({}, NOBODY, (302, 302, 302, 302)),
    "first-admin": ({}, (404, 404, 404, 404), (404, 404, 404, 404)),
    "account": ({}, MEMBERS, (TO_LOGIN, 422, 422, 422)),
    "password_change": ({}, MEMBERS, MEMBERS),
    "password_reset": ({}, EVERYBODY, (422, 422, 422, 422)),
    "password_reset_confirm": (LINK, EVERYBODY, EVERYBODY),
    "theme": ({}, NOBODY, (302, 302, 302, 302)),
    "metrics": ({}, EVERYBODY, NOBODY),  # from this machine; tests/test_metrics.py has the others
    "home": ({}, MEMBERS, NOBODY),
    "workflows": ({}, MEMBERS, NOBODY),
    "workflow-new": ({}, EDITORS, EDITORS_422),
    "workflow": (TELL, EDITORS, EDITORS_422),
    "workflow-start": ({"starter": "daily-reminder"}, NOBODY, EDITORS_302),
    "workflow-change": (TELL | {"verb": "on"}, NOBODY, EDITORS_302),
    "workflow-delete": (TELL, NOBODY, EDITORS_302),
    "action-order": (TELL, NOBODY, (TO_LOGIN, 403, 409, 409)),
    "action-new": (TELL, EDITORS, EDITORS_422),
    "action": (ACTION, EDITORS, EDITORS_422),
    "action-preview": (TELL, NOBODY, EDITORS),
    "action-change": (ACTION | {"verb": "up"}, NOBODY, EDITORS_302),
    "workflow-run": (TELL, EDITORS, EDITORS_302),
    "events": ({}, MEMBERS, NOBODY),
    "event": (EVENT, MEMBERS, NOBODY),
    "runs": ({}, MEMBERS, NOBODY),
    "run": (RUN, MEMBERS, NOBODY),
    "run-act": (RUN | {"verb": "cancel"}, NOBODY, EDITORS_302),
    "delivery": (MAIL, MEMBERS, NOBODY),
    "delivery-mail": (MAIL, MEMBERS, NOBODY),
    "delivery-source": (MAIL, MEMBERS, NOBODY),
    "delivery-act": (MAIL | {"verb": "cancel"}, NOBODY, EDITORS_302),
    "deliveries-act": ({"verb": "cancel"}, EDITORS, EDITORS_422),
    "webhooks": ({}, EDITORS, NOBODY),
    "webhook-kinds": ({}, ADMINS, NOBODY),
    "webhook-new": ({"kind": "json"}, ADMINS, ADMINS_422),
    "webhook": (ENDPOINT, EDITORS, NOBODY),
    "webhook-edit": (ENDPOINT, ADMINS, ADMINS_422),
    "webhook-secret": (ENDPOINT, NOBODY, ADMINS),
    "webhook-address": (ENDPOINT, NOBODY, ADMINS),
    "webhook-test": (ENDPOINT, NOBODY, ADMINS_422),
    "webhook-act": (ENDPOINT | {"verb": "retire"}, NOBODY, ADMINS_302),
    "hook": ({"address": "x" * 43}, NOBODY, (404, 404, 404, 404)),
    "api-events": ({}, NOBODY, UNPROVED),
    "api-run": (RUN, UNPROVED, NOBODY),
    "api-run-act": (RUN | {"verb": "cancel"}, NOBODY, UNPROVED),
    "api-deliveries": ({}, UNPROVED, NOBODY),
    "api-delivery": (MAIL, UNPROVED, NOBODY),
    "api-delivery-act": (MAIL | {"verb": "cancel"}, NOBODY, UNPROVED),
    "api-unknown": ({}, (404, 404, 404, 404), (404, 404, 404, 404)),
    "sendgrid-events": ({}, NOBODY, (403, 403, 403, 403)),
    "suppressed": ({}, EDITORS, NOBODY),
    "suppressed-release-all": ({}, NOBODY, ADMINS_302),
    "suppressed-release": ({"number": 7}, NOBODY, ADMINS_302),
    "integrations": ({}, ADMINS, NOBODY),
    "integration-setup": (SMTP, ADMINS, ADMINS_422),
    "integration-disconnect": (SMTP, ADMINS, ADMINS_302),
    "integration-check": (SMTP, NOBODY, ADMINS),
    "integration-check-progress": (SMTP | {"pk": UUID(int=7)}, (TO_LOGIN, 403, 403, 404), NOBODY),
    "integration-apply": (SMTP, NOBODY, (TO_LOGIN, 403, 403, 400)),
    "integration-detect": (SMTP, NOBODY, ADMINS_422),
    "integration-mode": (SMTP, NOBODY, ADMINS),
    "integration-test": (SMTP, ADMINS, ADMINS_422),
    "integration-try": (SMTP, NOBODY, ADMINS_302),
    "people": ({}, ADMINS, ADMINS_422),
    "person-role": (SOMEBODY, NOBODY, ADMINS_302),
    "person-email": (SOMEBODY, NOBODY, ADMINS_422),
    "person-link": (SOMEBODY, NOBODY, ADMINS),
    "person-deactivate": (SOMEBODY, NOBODY, ADMINS_302),
    "person-reactivate": (SOMEBODY, NOBODY, ADMINS_302),
    "tokens": ({}, ADMINS, ADMINS_422),
    "token-revoke": (SOMEBODY, NOBODY, ADMINS_302),
    "audit": ({}, ADMINS, NOBODY),
    "audit-export": ({}, ADMINS, NOBODY),
}
QUERY = {"deliveries-act": "?state=queued"}  # without a filter it asks for one
FRAMED = {"delivery-mail"}  # within our own pages; its policy is its own
WITH_A_MAIL = {"action", "action-new"}  # its frame's markup brings its styles
WITHOUT_CSRF = {name for name in TABLE if name.startswith("api-")} | {
    "hook"
}  # there, a token in a header or in the address proves who asks
ROLES = ("anonymous", "Viewer", "Editor", "Admin")


def patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for one in resolver.url_patterns:
        if isinstance(one, URLResolver):
            yield from patterns(one)
        else:
            yield one


@pytest.fixture
def addresses(team: dict[str, User]) -> dict[str, str]:
    """Return the address of every page; where it is about somebody or a mail, that was made for it."""
    person = User.objects.create_user("zoe", "zoe@example.com")
    tokens.create("pager", scopes=["trigger"], actor="ada")
    queued(with_tasks({}))
    runs.execute_due()
    mail = Delivery.objects.get().pk
    hook = WebhookEndpoint(name="monitoring", kind="alertmanager", scheme="bearer")
    endpoints.create(hook, actor="ada")
    made = {}
    for name, (arguments, *_) in TABLE.items():
        if arguments is SOMEBODY:
            arguments = {"pk": ApiToken.objects.get().pk if name == "token-revoke" else person.pk}
        if "pk" in arguments and arguments["pk"] == MAIL["pk"]:
            arguments = arguments | {"pk": mail}
        if "run" in arguments:
            arguments = arguments | {"run": Run.objects.get().pk}
        if "event" in arguments:
            arguments = arguments | {"event": Run.objects.get().event_id}
        if "endpoint" in arguments:
            arguments = arguments | {"endpoint": hook.pk}
        if "number" in arguments and "slug" in arguments:
            arguments = arguments | {"number": Action.objects.get().pk}
        made[name] = reverse(name, kwargs=arguments) + QUERY.get(name, "")
    return made


def browser(team: dict[str, User], role: str, **options: Any) -> Client:
    client = Client(**options)
    if role in team:
        client.force_login(team[role])
    return client


def test_every_address_has_an_entry() -> None:
    found = {pattern.name for pattern in patterns(get_resolver())}
    assert found == set(TABLE)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reads_what_it_may(role: str, team: dict[str, User], addresses: dict[str, str]) -> None:
    expected = {name: entry[1][ROLES.index(role)] for name, entry in TABLE.items()}
    seen = {name: browser(team, role).get(address).status_code for name, address in addresses.items()}
    assert seen == expected


def test_no_page_asks_the_database_more_than_a_dozen_times(
    team: dict[str, User], addresses: dict[str, str], smtp: SmtpIntegration, sendgrid: SendGridIntegration
) -> None:
    client, asked = browser(team, "Admin"), {}
    for name, address in addresses.items():
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        asked[name] = len(queries)
    assert asked.pop("metrics") <= 16, "nobody waits for it"
    assert {name: number for name, number in asked.items() if number > 12} == {}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_posts_what_it_may(role: str, team: dict[str, User], addresses: dict[str, str]) -> None:
    expected = {name: entry[2][ROLES.index(role)] for name, entry in TABLE.items()}
    seen = {name: browser(team, role).post(address, {"nothing": ""}).status_code for name, address in addresses.items()}
    assert seen == expected


@pytest.mark.parametrize("role", ROLES)
def test_no_post_is_taken_without_the_token_of_a_page(
    role: str, team: dict[str, User], addresses: dict[str, str]
) -> None:
    client = browser(team, role, enforce_csrf_checks=True)
    taken = {name for name, address in addresses.items() if client.post(address).status_code != 403}
    assert taken - WITHOUT_CSRF == set()


def test_whoever_may_not_is_led_to_the_login_and_back(client: Client, addresses: dict[str, str]) -> None:
    for name, (_, get, _) in TABLE.items():
        if get[0] == TO_LOGIN:
            back = urlencode({"next": addresses[name]}, safe="/")
            assert client.get(addresses[name])["Location"] == f"/login/?{back}"


def everything() -> dict[str, list[Any]]:
    """Return every row of every table, but for the sessions."""
    models = [model for model in apps.get_models() if model is not Session]
    return {model._meta.label: list(model._base_manager.order_by("pk").values_list()) for model in models}


@pytest.mark.parametrize("role", ROLES)
def test_reading_changes_nothing(role: str, team: dict[str, User], addresses: dict[str, str]) -> None:
    client = browser(team, role)
    before = everything()
    for address in addresses.values():
        client.get(address)
        client.head(address)
    assert everything() == before


def test_no_page_may_be_framed_or_kept(team: dict[str, User], addresses: dict[str, str]) -> None:
    for name, address in addresses.items():
        for role in ROLES:
            answer = browser(team, role).get(address)
            framed = name in FRAMED and answer.status_code == 200
            assert answer["X-Frame-Options"] == ("SAMEORIGIN" if framed else "DENY"), name
            ancestors = "'self'" if framed else "'none'"
            assert f"frame-ancestors {ancestors}" in answer["Content-Security-Policy"], name
            if answer.status_code == 200:
                assert {"no-store", "private"} <= set(answer["Cache-Control"].split(", ")), (name, role)


def test_no_page_needs_an_exception_from_the_content_security_policy(
    team: dict[str, User], addresses: dict[str, str]
) -> None:
    for name, address in addresses.items():
        if name in FRAMED:
            continue  # a mail's own looks, sandboxed
        answer = browser(team, "Admin").get(address)
        allowed = ["style-src 'self' 'unsafe-inline'"] if name in WITH_A_MAIL else []
        rules = answer["Content-Security-Policy"].split("; ")
        assert [rule for rule in rules if "unsafe" in rule] == allowed, name
        if answer["Content-Type"].startswith("text/html"):
            inline = r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:"
            around_the_mail = re.sub(r' srcdoc="[^"]*"', "", answer.content.decode())
            assert re.findall(inline, around_the_mail) == [], name


def test_the_roles_hold_these_permissions(team: dict[str, User]) -> None:
    read = {f"workflows.view_{model}" for model in ("workflow", "action", "run", "delivery")}
    edit = {f"workflows.{verb}_{model}" for verb in ("add", "change", "delete") for model in ("workflow", "action")}
    edit |= {"workflows.change_delivery"}
    manage = {"integrations.manage_integrations"}
    expected = {Role.VIEWER: read, Role.EDITOR: read | edit, Role.ADMIN: read | edit | manage}
    assert {role: person.get_all_permissions() for role, person in team.items()} == expected
