"""What the tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import django
import httpx
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import connections
from django.test import Client

from integrations import clock, detection, errands, probing
from integrations.models import SendGridIntegration, SmtpIntegration
from integrations.people import Role
from integrations.transports import smtp as smtp_transport
from integrations.transports.pool import POOL
from tests.fake_relay import FakeRelay
from tests.fake_sendgrid import FakeSendGrid
from tests.installation import Installation, wait_until
from workflows import leases, outlook, runs, tasks

accounts: Any = import_module("integrations.migrations.0004_accounts")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Where CI says so, a skip is a failure: it has promised that everything needed is there."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("TESTS_MUST_NOT_SKIP"):
        report.outcome = "failed"
        report.longrepr = f"skipped, although nothing may be: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Test SQLite in a file, as it is used: in memory, several threads lock each other out of whole tables."""
    database = connections["default"].settings_dict
    if "sqlite" in database["ENGINE"]:
        database["TEST"]["NAME"] = str(settings.ROOTMAIL_VAR / "test.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Let the test runner empty the audit log: the database itself would refuse that. Its own test guards it again.

    The database's clock is read here, once: no test may count that query.
    """
    with django_db_blocker.unblock(), connections["default"].schema_editor() as editor:
        accounts.unguard(None, editor)
        clock.now()
    clock.GOOD_FOR = 86_400.0


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with an Admin that writes JSON, for tests that only look on: mark them with `LOOKS_ON`."""
    environment = {"LOG_FORMAT": "json", "LOG_LEVEL": "INFO"}
    with Installation(tmp_path_factory.mktemp("running"), environment=environment) as installation:
        installation.make_admin("ada", "blue pelican 42")
        wait_until(lambda: httpx.get(f"{installation.site}/readyz", trust_env=False).is_success, what="the first sweep")
        yield installation


@pytest.fixture(autouse=True)
def _quick_settings(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.fixture(autouse=True)
def _no_time_passes_between_two_mails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine must do what a quick one does: a test that wants what comes with time says so itself."""
    for place, name in ((leases, "SETTLE_AFTER"), (leases, "SURE_FOR"), (outlook, "GOOD_FOR"), (runs, "STORE_AFTER")):
        monkeypatch.setattr(place, name, 3600.0)


@pytest.fixture(autouse=True)
def _no_session_is_left_over() -> Iterator[None]:
    yield
    POOL.close()
    smtp_transport._spared.clear()  # the next relay may have the same port


@pytest.fixture(autouse=True)
def a_worker_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do errands at once and here; the tests with real processes have them done by a real worker."""
    monkeypatch.setattr(
        errands.tasks.run_errand, "apply_async", lambda arguments, **_: errands.tasks.run_errand(*arguments)
    )
    for link in (errands.tasks.send_password_link, errands.tasks.mail_password_link):
        monkeypatch.setattr(link, "apply_async", lambda arguments, task=link, **_: task(*arguments))
    monkeypatch.setattr(detection, "PORTS", ())  # nobody looks for a mail server on the machine that runs the tests
    monkeypatch.setattr(probing, "REPLY_SECONDS", 2.0)  # a port that waits for TLS is silent for as long


@pytest.fixture(autouse=True)
def nobody_is_rung_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests without real processes call a worker themselves: there is no broker."""
    monkeypatch.setattr(tasks.work, "apply_async", lambda **_: None)


@pytest.fixture
def live_router(settings: Any, tmp_path: Any) -> Any:
    """Put our e-mail backend back: Django swaps in one that sends nothing. The default sender writes to a folder."""
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": settings.EMAIL_ROUTER}}
    else:
        settings.EMAIL_BACKEND = settings.EMAIL_ROUTER
    outbox = tmp_path / "outbox"
    settings.DEFAULT_SENDER_URL = f"file://{outbox}"
    return outbox


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay(user="user", password="right horse") as server:
        yield server


@pytest.fixture
def sendgrid_api() -> Iterator[FakeSendGrid]:
    with FakeSendGrid() as server:
        yield server


@pytest.fixture
def smtp(db: None, relay: FakeRelay) -> SmtpIntegration:
    """SMTP, connected to the fake relay in clear text."""
    return SmtpIntegration.objects.create(
        connected=True, address="127.0.0.1", port=relay.port, user_name="user", password="right horse",
        ssl=False, enable_starttls_auto=False, allow_clear_text_auth=True, default_from="Desk <desk@example.com>",
    )  # fmt: skip


@pytest.fixture
def sendgrid(db: None, sendgrid_api: FakeSendGrid) -> SendGridIntegration:
    """SendGrid, connected to its stand-in."""
    return SendGridIntegration.objects.create(
        connected=True, api_key=sendgrid_api.api_key, base_url=sendgrid_api.base_url, default_from="desk@example.com"
    )  # fmt: skip


@pytest.fixture
def admin(db: None) -> User:
    return User.objects.create_superuser("ada", password="a password for ada")


@pytest.fixture
def member(db: None) -> User:
    return User.objects.create_user("max", password="a password for max")


@pytest.fixture
def team(db: None) -> dict[str, User]:
    """One person of each role."""
    made = {}
    for role in Role.values:
        made[role] = User.objects.create_user(role.lower(), f"{role.lower()}@example.com", f"a password of {role}")
        made[role].groups.set([Group.objects.get(name=role)])
    return made


@pytest.fixture
def as_admin(client: Client, admin: User) -> Client:
    client.force_login(admin)
    return client


@pytest.fixture
def people(admin: User, member: User, relay: FakeRelay, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ada, Max and a relay that refuses at length, for a look at the pages in a browser."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the browser's event loop runs in the test's own thread
    for role in Role.values:
        Group.objects.get_or_create(name=role)  # the test of another page may have emptied the database
    settings.DEFAULT_SENDER_URL = "file:///srv/rootmail/outbox"  # stands on the pages
    relay.replies = {"CONNECT": "554 5.7.1 " + "Not from here, and not today either. " * 8}
