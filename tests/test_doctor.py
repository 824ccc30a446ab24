"""The doctor: each check finds what it is there for, none hides another, and no secret is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from django.contrib.auth.models import User
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from kombu import Connection

from integrations import pauses
from integrations.models import ProviderState, SendGridIntegration, SmtpIntegration
from integrations.transports.base import Scope, Stage, TransportError
from rootmail import broker, lost_keys
from rootmail.doctor import database, machine, mail, masking, people, report, site, workers
from rootmail.doctor import running as carrying_out
from rootmail.doctor.areas import AREAS
from rootmail.doctor.findings import Area, Check, Finding, Level, ok, problem, warning
from rootmail.state import new_broker_url
from tests.damage import lose_key_of
from tests.installation import LOOKS_ON, ROOT, Installation, from_environment, wait_until
from tests.test_search import made
from workflows.models import Delivery, Heartbeat, Run
from workflows.webhook_models import WebhookEndpoint

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM


def found(look: Callable[[], Iterable[Finding]]) -> list[tuple[Level, str]]:
    """Return what a check says; whatever is not fine says what to do."""
    findings = list(look())
    assert findings, "a check that says nothing is no check"
    assert all(bool(finding.todo) is (finding.level != OK) for finding in findings)
    return [(finding.level, finding.said) for finding in findings]


def levels(look: Callable[[], Iterable[Finding]]) -> list[Level]:
    return [level for level, _ in found(look)]


# Carrying out


def raises() -> Iterable[Finding]:
    raise ValueError("postgres://user:top-secret@host")


def hangs() -> Iterable[Finding]:
    time.sleep(30)
    return [ok("late")]


def run(*checks: Check) -> list[tuple[str, Level, str]]:
    results = carrying_out.run([Area("Here", checks)])
    return [(result.name, finding.level, finding.said) for result in results for finding in result.findings]


def test_what_is_broken_or_hangs_keeps_nothing_else_from_being_looked_at() -> None:
    began = time.monotonic()
    assert run(Check("a", raises), Check("b", hangs, seconds=0.1), Check("c", lambda: [ok("fine")])) == [
        ("a", PROBLEM, "could not be looked at: ValueError"),
        ("b", PROBLEM, "no answer within 0 seconds"),
        ("c", OK, "fine"),
    ]
    assert time.monotonic() - began < 5


def test_what_needs_something_that_failed_is_not_looked_at() -> None:
    bad, skipped = Check("a", lambda: [problem("away", "start it")]), Level.SKIPPED
    warned = Check("d", lambda: [warning("old", "renew it")])
    assert run(bad, Check("b", raises, needs=("a",)), Check("c", raises, needs=("b",)), warned) == [
        ("a", PROBLEM, "away"),
        ("b", skipped, "not looked at: first mend 'a'"),
        ("c", skipped, "not looked at: first mend 'b'"),
        ("d", WARNING, "old"),
    ]


def test_every_check_has_a_name_of_its_own_and_needs_only_what_comes_before_it() -> None:
    seen: list[str] = []
    for check in (check for area in AREAS for check in area.checks):
        assert check.name not in seen
        assert set(check.needs) <= set(seen)
        seen.append(check.name)
    assert max(map(len, seen)) < report.NAME_WIDTH


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("SECRET_KEY", "a-long-secret-4711", "a-long-secret-4711"),
        ("FERNET_KEYS", "first-4711,second-4711", "second-4711"),
        ("METRICS_TOKEN", "scrape-4711", "scrape-4711"),
        ("DATABASE_URL", "postgres://user:pass%2F4711@host/name", "pass/4711"),
        ("BROKER_URL", "amqp://user:broker-4711@host//", "broker-4711"),
        ("DEFAULT_SENDER_URL", "smtp://user:with/slash-4711@host", "with/slash-4711"),
    ],
)
def test_no_secret_is_told_whoever_quotes_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, secret: str
) -> None:
    monkeypatch.setenv(name, value)
    told = masking.masked(problem(f"{value} was refused: {secret}!", f"change {secret}"))
    assert secret not in told.said + told.todo
    assert told.said.endswith(f"{masking.MASK}!")


def test_a_secret_in_a_file_is_not_told_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "address").write_text("postgres://user:filed-4711@host/name\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "address"))
    assert masking.masked(problem("filed-4711 was refused", "")).said == f"{masking.MASK} was refused"


def test_the_table_is_aligned_and_ends_with_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    lines: list[str] = []
    long = "a long text that goes on and on until the line has no room left for it"
    checks = (Check("disk", lambda: [ok("fine")]), Check("queue", lambda: [problem(long, "Do this.")]))
    assert not report.tell(carrying_out.run([Area("Here", checks)]), write=lines.append, as_document=False)
    assert "\n".join(lines) == (
        "\nHere\n"
        "  ok       disk              fine\n"
        "  problem  queue             a long text that goes on and on until\n"
        "                             the line has no room left for it\n"
        "                             → Do this.\n"
        "\nProblems: queue. Begin with the first."
    )


# The machine


def test_packages_that_differ_or_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_installed", lambda name: {"celery": "1.0", "kombu": ""}.get(name, "9"))
    [(level, said)] = found(machine.look_at_packages)
    assert (level, said) == (PROBLEM, "missing: kombu")
    monkeypatch.setattr(machine, "_installed", lambda name: "9")
    assert levels(machine.look_at_packages) == [WARNING]


def test_keys_that_others_may_read_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTMAIL_VAR", str(tmp_path))
    (tmp_path / "fernet_key").write_text("key")
    (tmp_path / "fernet_key").chmod(0o644)
    tmp_path.chmod(0o755)
    assert found(machine.look_at_folder) == [(PROBLEM, f"other accounts may read fernet_key in {tmp_path}")]
    (tmp_path / "fernet_key").chmod(0o600)
    assert levels(machine.look_at_folder) == [OK]
    monkeypatch.setenv("ROOTMAIL_VAR", str(tmp_path / "nowhere"))
    assert levels(machine.look_at_folder) == [PROBLEM]


def test_a_disk_that_is_nearly_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, level in ((2 * 1024**3, OK), (500 * 1024**2, WARNING), (1024**2, PROBLEM)):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free, total=2**40))
        assert levels(machine.look_at_disk) == [level]


def test_another_account_than_the_folders_own_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert levels(machine.look_at_user) == [OK]
    monkeypatch.setattr(machine.os, "geteuid", lambda: 54321)
    [(level, said)] = found(machine.look_at_user)
    assert (level, said.partition(",")[0]) == (WARNING, "number 54321")


# Settings


def test_keys_are_explicit_where_several_machines_share_a_database(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SECRET_KEY, settings.FERNET_KEYS = "s" * 40, ["f" * 40]
    monkeypatch.setattr(site, "connection", SimpleNamespace(vendor="sqlite"))
    assert levels(site.look_at_keys) == [OK]
    monkeypatch.setattr(site, "connection", SimpleNamespace(vendor="postgresql"))
    monkeypatch.setenv("FERNET_KEYS", "f")
    assert found(site.look_at_keys) == [(WARNING, "SECRET_KEY generated on this machine")]
    monkeypatch.setenv("SECRET_KEY", "s")
    settings.SECRET_KEY = "short"
    assert found(site.look_at_keys) == [(WARNING, "SECRET_KEY shorter than 32 characters")]
    settings.FERNET_KEYS = ["short"]
    assert levels(site.look_at_keys) == [PROBLEM]


def test_keys_in_files_are_explicit(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings.SECRET_KEY, settings.FERNET_KEYS = "s" * 40, ["f" * 40]
    monkeypatch.setattr(site, "connection", SimpleNamespace(vendor="postgresql"))
    monkeypatch.delenv("FERNET_KEYS")
    for name in site.KEYS:
        (tmp_path / name).write_text("k\n")
        monkeypatch.setenv(f"{name}_FILE", str(tmp_path / name))
    assert levels(site.look_at_keys) == [OK]


@pytest.mark.parametrize(
    ("token", "networks", "level", "said"),
    [
        ("", ["127.0.0.0/8", "::1/128"], OK, "/metrics is for 127.0.0.0/8, ::1/128"),
        ("t" * 40, [], OK, "/metrics is for whoever has METRICS_TOKEN"),
        ("", [], OK, "/metrics is for nobody"),
        ("short", [], WARNING, "METRICS_TOKEN shorter than 32 characters"),
        ("t" * 40, ["::/0"], WARNING, "METRICS_NETWORKS lets everybody read /metrics"),
    ],
)
def test_who_may_read_the_metrics_is_told(
    settings: Any, token: str, networks: list[str], level: Level, said: str
) -> None:
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS = token, [ip_network(text) for text in networks]
    assert found(site.look_at_monitoring) == [(level, said)]


def test_debug_is_a_problem(settings: Any) -> None:
    assert levels(site.look_at_debug) == [OK]
    settings.DEBUG = True
    assert levels(site.look_at_debug) == [PROBLEM]


@pytest.mark.parametrize(
    ("url", "hosts", "proxy", "level", "said"),
    [
        ("https://mail.example.org", ["mail.example.org"], True, OK, "https://mail.example.org"),
        ("https://mail.example.org", ["mail.example.org"], False, WARNING, "BEHIND_PROXY is off"),
        ("https://mail.example.org", ["other.example.org"], True, PROBLEM, "does not hold mail.example.org"),
        ("https://mail.example.org", ["*"], True, WARNING, "allows every name"),
        ("http://mail.example.org", ["mail.example.org"], True, WARNING, "without https"),
        ("http://127.0.0.1:8000", ["127.0.0.1"], False, WARNING, "this machine alone"),
        ("mail.example.org", [""], False, PROBLEM, "names no host"),
    ],
)
def test_the_address_fits_what_goes_with_it(
    settings: Any, url: str, hosts: list[str], proxy: bool, level: Level, said: str
) -> None:
    settings.SITE_URL, settings.ALLOWED_HOSTS, settings.BEHIND_PROXY = url, hosts, proxy
    settings.HTTPS = settings.SECURE_SSL_REDIRECT = url.startswith("https")
    [(found_level, found_said)] = found(site.look_at_address)
    assert found_level == level
    assert said in found_said


def test_files_that_nobody_collected_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """After an upgrade without `collectstatic`, each page that names a new one is an error."""
    monkeypatch.setattr(site, "staticfiles_storage", ManifestStaticFilesStorage(location=tmp_path))
    names = sorted(name for finder in site.get_finders() for name, _ in finder.list([]))
    assert found(site.look_at_static_files) == [(WARNING, f"{len(names)} are not collected: {names[0]}")]
    noted = {"version": "1.1", "paths": dict.fromkeys(names, "")}
    (tmp_path / "staticfiles.json").write_text(json.dumps(noted))
    assert levels(site.look_at_static_files) == [OK]


@pytest.mark.django_db  # on Django 6 they ask the database
def test_djangos_own_checks_are_carried_out(settings: Any) -> None:
    settings.FERNET_KEYS = [""]
    [(level, said)] = found(site.look_by_django)
    assert level == PROBLEM
    assert "integrations.E001" in said


# Database


@pytest.mark.django_db
def test_a_sound_database_is_fine() -> None:
    for check in database.DATABASE.checks:
        if check.name != "audit log":  # the tests' own database is not guarded
            assert levels(check.look) == [OK], check.name


@pytest.mark.django_db
def test_a_missing_trigger_is_a_problem() -> None:
    [(level, said)] = found(database.look_at_audit_log)
    assert level == PROBLEM
    assert database.TRIGGERS[connection.vendor][0] in said


@pytest.mark.django_db
def test_migrations_that_are_pending_or_unknown_are_told() -> None:
    recorder = MigrationRecorder(connection)
    [(_, last)] = MigrationLoader(connection).graph.leaf_nodes("workflows")
    recorder.record_unapplied("workflows", last)
    recorder.record_applied("workflows", "9999_tomorrow")
    assert found(database.look_at_migrations) == [(PROBLEM, f"1 not carried out: workflows.{last}")]
    recorder.record_applied("workflows", last)
    assert found(database.look_at_migrations) == [
        (WARNING, "the database is newer than this code: workflows.9999_tomorrow")
    ]


def test_damage_and_a_wrong_journal_are_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"PRAGMA quick_check(3)": [("row 1 missing from index x",)], "PRAGMA journal_mode": [("wal",)]}
    monkeypatch.setattr(database, "rows_of", lambda query: answers[query])
    monkeypatch.setattr(database, "connection", SimpleNamespace(vendor="sqlite"))
    assert found(database.look_at_integrity) == [(PROBLEM, "damaged: row 1 missing from index x")]
    answers |= {"PRAGMA quick_check(3)": [("ok",)], "PRAGMA journal_mode": [("delete",)]}
    assert levels(database.look_at_integrity) == [PROBLEM]


def test_a_clock_that_differs_and_connections_that_run_out_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "connection", SimpleNamespace(vendor="postgresql"))
    monkeypatch.setattr(database, "rows_of", lambda _: [(timezone.now() - timedelta(minutes=2),)])
    assert found(database.look_at_clock) == [(WARNING, "this machine and PostgreSQL differ by 120 seconds")]
    monkeypatch.setattr(database, "rows_of", lambda _: [(81, 100)])
    assert found(database.look_at_connections) == [(WARNING, "81 of 100 in use")]


@pytest.mark.parametrize(("encoding", "level"), [("UTF8", OK), ("SQL_ASCII", PROBLEM), ("LATIN1", PROBLEM)])
def test_a_database_that_does_not_take_every_letter_is_told(
    monkeypatch: pytest.MonkeyPatch, encoding: str, level: Level
) -> None:
    monkeypatch.setattr(database, "connection", SimpleNamespace(vendor="postgresql"))
    monkeypatch.setattr(database, "rows_of", lambda _: [(encoding,)])
    assert [said[0] for said in found(database.look_at_encoding)] == [level]


# Workers


@pytest.mark.django_db
@pytest.mark.parametrize(("ago", "level"), [(5, OK), (60, WARNING), (600, PROBLEM), (-600, PROBLEM), (None, PROBLEM)])
def test_a_sweep_that_does_not_come_is_told(ago: int | None, level: Level) -> None:
    if ago is not None:
        Heartbeat.objects.create(pk=Heartbeat.ONLY, at=timezone.now() - timedelta(seconds=ago))
    assert levels(workers.look_at_beat) == [level]


def test_workers_with_other_code_or_keys_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    same = {"code": workers.about.code(), "keys": workers.about.keys()}
    answers = [{"a@x": same}, {"b@x": same | {"code": "old"}}, {"c@x": same | {"keys": "other"}}]
    control = SimpleNamespace(broadcast=lambda *_, **__: answers, ping=lambda **_: [])
    for module in (workers, workers.about):
        monkeypatch.setattr(module, "current_app", SimpleNamespace(control=control))
    assert [
        (level, said.partition(" run")[0].partition(" are not")[0]) for level, said in found(workers.look_at_versions)
    ] == [
        (PROBLEM, "SECRET_KEY or FERNET_KEYS of c@x"),
        (WARNING, "b@x"),
    ]
    assert levels(workers.look_at_workers) == [PROBLEM]
    answers[1:] = []
    assert found(workers.look_at_versions) == [(OK, f"1 with this code ({same['code']}) and these keys")]


# Mail and access


@pytest.mark.parametrize(
    ("sender", "url", "level"),
    [
        ("a@example.org", "smtp://relay.example.org", OK),
        ("a@example.org", "file:///srv/outbox", WARNING),
        ("a@rootmail.localhost", "smtp://relay.example.org", WARNING),
        ("nobody", "smtp://relay.example.org", PROBLEM),
        ("a@example.org", "relay.example.org", PROBLEM),
    ],
)
def test_the_default_sender_can_reach_somebody(settings: Any, sender: str, url: str, level: Level) -> None:
    settings.DEFAULT_FROM_EMAIL, settings.DEFAULT_SENDER_URL = sender, url
    assert levels(mail.look_at_default_sender) == [level]


@pytest.mark.django_db
def test_a_pause_a_failed_check_and_a_certificate_are_told(smtp: SmtpIntegration) -> None:
    assert levels(mail.look_at_integrations) == [OK]
    now = timezone.now()
    SmtpIntegration.objects.update(
        check_failed_at=now, check_problem="The password was refused.", certificate_until=now + timedelta(days=3)
    )
    assert levels(mail.look_at_integrations) == [PROBLEM, WARNING, OK]
    error = TransportError("535 5.7.8 no", stage=Stage.AUTH, scope=Scope.PROVIDER)
    ProviderState.objects.all().delete()
    pauses.begin("smtp", error)
    [*_, (level, said)] = found(mail.look_at_integrations)
    assert level == PROBLEM
    assert "535 5.7.8 no" in said


@pytest.mark.django_db
def test_values_that_no_key_opens_are_a_problem(smtp: SmtpIntegration, sendgrid: SendGridIntegration) -> None:
    assert found(mail.look_at_encrypted_values) == [(OK, "2 rows, all under the first key")]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE integrations_sendgridintegration SET api_key = %s", [b"sealed by somebody else"])
    [(level, said)] = found(mail.look_at_encrypted_values)
    assert level == PROBLEM
    assert said.startswith("1 of 2 rows cannot be decrypted: The stored API key of SendGrid")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("lost", "set_to", "advice"),
    [
        (
            2,
            "",
            r"/fernet_key is of 20\d\d-.* UTC: was it missing then, after a restore for example\? Put the old one in",
        ),
        (1, "", r"Set FERNET_KEYS to the key in /.*/fernet_key, a comma and the lost one, and restart\. Is it gone"),
        (2, "a key", r"Put the lost key back behind the others in FERNET_KEYS and restart\. Is it gone, enter these"),
    ],
)
def test_how_a_lost_key_is_put_back_depends_on_where_the_keys_are(
    smtp: SmtpIntegration, sendgrid: SendGridIntegration, settings: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, lost: int, set_to: str, advice: str,
) -> None:  # fmt: skip
    settings.ROOTMAIL_VAR = tmp_path
    (tmp_path / "fernet_key").touch()
    monkeypatch.setenv("FERNET_KEYS", set_to)
    assert lost_keys.warning() == ""
    lose_key_of(sendgrid, "api_key")
    if lost > 1:
        lose_key_of(smtp, "address")
    assert lost_keys.warning().startswith(f"No key opens {lost} of 2 encrypted rows in the database. ")
    [finding] = mail.look_at_encrypted_values()
    assert re.search(advice, finding.todo)
    assert re.search(advice, lost_keys.warning())


@pytest.mark.django_db
def test_mails_that_are_late_held_or_unknown_are_counted() -> None:
    assert found(mail.look_at_deliveries) == [(OK, "none is late")]
    now = timezone.now()
    for state, due in (("queued", now - timedelta(minutes=20)), ("held", None), ("unknown", now + timedelta(hours=1))):
        row = made(state)
        Delivery.objects.filter(pk=row.pk).update(state=state, next_attempt_at=due)
    assert [(level, said.split(" ")[0]) for level, said in found(mail.look_at_deliveries)] == [
        (PROBLEM, "1"),
        (WARNING, "1"),
        (WARNING, "1"),
    ]
    assert levels(mail.look_at_runs) == [OK]
    Run.objects.update(status="queued", due_at=now - timedelta(minutes=2))
    assert found(mail.look_at_runs) == [(WARNING, "one is due for 2 minutes")]


def test_a_large_outbox_is_told(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DEFAULT_SENDER_URL = tmp_path.as_uri()
    (tmp_path / "a.eml").write_text("x" * 100)
    assert found(mail.look_at_outbox) == [(OK, "1 mails, 0 MB")]
    monkeypatch.setattr(mail, "LARGE_OUTBOX", 50)
    assert levels(mail.look_at_outbox) == [WARNING]


@pytest.mark.django_db
def test_somebody_can_come_in_as_admin(admin: User) -> None:
    assert levels(people.look_at_accounts) == [OK]
    User.objects.update(is_active=False)
    assert levels(people.look_at_accounts) == [PROBLEM]


@pytest.mark.django_db
def test_webhooks_without_a_secret_or_with_an_old_one_are_named() -> None:
    assert levels(people.look_at_webhooks) == [OK]
    for name, values in {"pager": {}, "grafana": {"secret": "new", "secret_before": "old"}}.items():
        WebhookEndpoint(name=name, kind="pagerduty", scheme="pagerduty", digest=name, **values).save()
    assert [(level, said.rpartition(" ")[2]) for level, said in found(people.look_at_webhooks)] == [
        (WARNING, "pager"),
        (WARNING, "grafana"),
    ]


@pytest.mark.django_db
def test_what_is_kept_for_ever_or_too_long_is_told(settings: Any) -> None:
    assert levels(people.look_at_keeping) == [OK]
    settings.KEEP_BODIES_DAYS = 0
    assert found(people.look_at_keeping) == [(WARNING, "KEEP_BODIES_DAYS keep things for ever")]


# Real processes


def doctor(folder: Path, **environment: str) -> tuple[int, dict[str, Any]]:
    """Run it as an operator would; return its exit code and its document."""
    own = {"PATH": os.environ["PATH"], "HOME": str(folder), "ROOTMAIL_VAR": str(folder)} | environment
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json"],
        cwd=ROOT, env=own, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stderr == ""
    assert "top-secret" not in done.stdout
    return done.returncode, json.loads(done.stdout)


def said_of(document: dict[str, Any], name: str) -> tuple[str, str]:
    [row] = [row for row in document["checks"] if row["name"] == name]
    return row["level"], row["said"]


@LOOKS_ON
@pytest.mark.processes
def test_a_running_installation_has_no_problem_and_its_workers_tell_what_they_run_on(running: Installation) -> None:
    code, document = doctor(running.folder, **running.environment)
    assert (code, document["ok"], document["problems"]) == (0, True, [])
    area = [(row["name"], row["level"]) for row in document["checks"] if row["area"] == "Workers"]
    assert area == [(name, "ok") for name in ("broker", "queue", "beat", "workers", "a task", "versions")]


@pytest.mark.parametrize("name", ["TEST_RABBITMQ_URL", "TEST_REDIS_URL"])
def test_a_broker_that_refuses_the_password_is_not_called_away(
    name: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = urlsplit(from_environment(name))
    url = there._replace(netloc=f"nobody:top-secret@{there.hostname}:{there.port}").geturl()
    settings.EMBEDDED_BROKER, settings.CELERY_BROKER_URL = False, url
    monkeypatch.setattr(workers, "current_app", SimpleNamespace(connection_for_write=lambda: Connection(url)))
    [(level, said)] = found(workers.look_at_broker)
    assert (level, f"{there.hostname}:{there.port} refuses us (A" in said) == (PROBLEM, True)
    assert "top-secret" not in said


@pytest.mark.parametrize(
    ("hurt", "said", "todo"),
    [
        (["CONFIG", "SET", "maxmemory", "1"], "takes nothing (OutOfMemoryError)", "Its memory is full (maxmemory)"),
        (["REPLICAOF", "127.0.0.1", "1"], "takes nothing (ReadOnlyError)", "It is a replica"),
    ],
)
def test_a_broker_that_answers_and_takes_nothing_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hurt: list[str], said: str, todo: str
) -> None:
    url = new_broker_url()
    monkeypatch.setattr(workers, "current_app", SimpleNamespace(connection_for_write=lambda: Connection(url)))
    with subprocess.Popen(broker.command(url, folder=tmp_path)) as server:
        try:
            wait_until(lambda: broker.answers(url), what="the broker")
            assert [level for level, _ in found(workers.look_at_broker)] == [OK]
            with redis.Redis.from_url(url) as client:
                client.execute_command(*hurt)
            [finding] = workers.look_at_broker()
            assert (finding.level, said in finding.said, finding.todo.startswith(todo)) == (PROBLEM, True, True)
        finally:
            server.terminate()


@pytest.mark.processes
def test_with_database_and_broker_away_all_the_rest_is_looked_at(tmp_path: Path) -> None:
    code, document = doctor(
        tmp_path,
        DATABASE_URL="postgres://user:top-secret@127.0.0.1:1/rootmail",
        BROKER_URL="redis://:top-secret@127.0.0.1:1/0",
        DEFAULT_SENDER_URL="smtp://user:top-secret@127.0.0.1:1",
        DEBUG="1",
    )
    assert code == 1
    assert document["problems"] == ["debug", "database", "broker"]
    assert said_of(document, "database")[1].startswith("127.0.0.1:1/rootmail does not answer: connection")
    assert said_of(document, "broker")[1] == "Redis at 127.0.0.1:1 does not answer (ConnectionError)"
    assert said_of(document, "deliveries") == ("skipped", "not looked at: first mend 'database'")
    assert said_of(document, "disk")[0] == "ok"


@pytest.mark.processes
def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    code, document = doctor(tmp_path, SWEEP_SECONDS="top-secret")
    assert (code, document["problems"]) == (1, ["settings"])
    assert said_of(document, "settings")[1].startswith("SWEEP_SECONDS in the environment has a wrong value.")
    assert said_of(document, "python")[0] == "ok"


@pytest.mark.processes
def test_a_state_folder_that_cannot_be_used_is_told_in_a_table(tmp_path: Path) -> None:
    own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ROOTMAIL_VAR": "/proc/no-such-folder", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor"], cwd=ROOT, env=own, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "  problem  state folder      /proc/no-such-folder cannot be written to\n" in done.stdout
    assert "  problem  settings          /proc/no-such-folder" in done.stdout
    assert done.stdout.endswith("\nProblems: state folder, disk, settings. Begin with the first.\n")
