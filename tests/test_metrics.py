"""What Prometheus reads, who may read it, and the dashboard and alert rules that go with it."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as project
from django.db import connection
from django.test import Client
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from integrations import clock, pauses
from integrations.models import SessionSlot, SmtpIntegration
from integrations.transports.base import Reply, Stage, TransportError
from tests.fake_relay import FakeRelay
from tests.installation import from_environment
from tests.test_runs import queued, with_tasks
from workflows import counting, delivery, heartbeat, runs
from workflows.models import Attempt, Delivery, Run

pytestmark = pytest.mark.django_db

DEPLOY = project.BASE_DIR / "deploy"
DASHBOARD, RULES = DEPLOY / "grafana-dashboard.json", DEPLOY / "prometheus-rules.yaml"
TABLES = ("workflows_delivery", "workflows_attempt", "workflows_run", "workflows_recipient")
SPARSE = ("delivery_due", "delivery_leased", "run_due")  # indexes that hold only what waits


def families(client: Client) -> dict[str, Metric]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.content.decode())}


def numbers(client: Client) -> dict[str, float]:
    """Return what is not zero, as Prometheus writes its series."""
    found = {}
    for family in families(client).values():
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            if sample.value and not sample.name.endswith(("_bucket", "_sum", "_seconds")):
                found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.fixture
def begun(db: None) -> None:
    counting.count_new()


@pytest.mark.usefixtures("live_router", "begun")
def test_a_mail_s_road_is_seen(client: Client, smtp: SmtpIntegration, relay: FakeRelay) -> None:
    heartbeat.beat()
    run = queued(with_tasks({}, {"to": ["b@example.org"]}))
    assert numbers(client) == {'rootmail_provider_in_force{provider="smtp"}': 1, 'rootmail_runs{state="due"}': 1}
    runs.execute_due()
    assert numbers(client) == {
        'rootmail_provider_in_force{provider="smtp"}': 1,
        'rootmail_deliveries{state="due"}': 2,
    }
    relay.replies = {"RCPT": ["250 2.1.5 ok", "451 4.7.1 later"]}
    delivery.send_due()
    Run.objects.filter(pk=run.pk).update(status="completed", finished_at=clock.now() - timedelta(seconds=6))
    counting.count_new()
    counting.count_new()
    seen = numbers(client)
    assert seen.pop('rootmail_runs_ended_total{status="completed"}', 1) == 1
    assert seen == {
        'rootmail_provider_in_force{provider="smtp"}': 1,
        'rootmail_deliveries{state="later"}': 1,
        'rootmail_attempts_total{outcome="accepted",provider="smtp"}': 1,
        'rootmail_attempts_total{outcome="deferred",provider="smtp"}': 1,
        'rootmail_replies_total{code="2.0.0",provider="smtp"}': 1,
        'rootmail_replies_total{code="4.7.1",provider="smtp"}': 1,
        'rootmail_relay_seconds_count{provider="smtp"}': 2,
        'rootmail_acceptance_seconds_count{provider="smtp"}': 1,
    }


def test_what_waits_is_counted_by_what_it_waits_for(client: Client) -> None:
    queued(with_tasks(*[{}] * 8))
    runs.execute_due()
    now = clock.now()
    ids = list(Delivery.objects.order_by("pk").values_list("pk", flat=True))
    for pk, values in zip(ids, (
        {"next_attempt_at": now - timedelta(seconds=90)},
        {"next_attempt_at": now - timedelta(seconds=30), "state": "unknown"},
        {"next_attempt_at": now + timedelta(hours=1), "state": "deferred"},
        {"next_attempt_at": now - timedelta(hours=1), "state": "sending", "lease": ids[0], "lease_expires_at": now},
        {"next_attempt_at": None, "state": "held"},
        {"next_attempt_at": None, "state": "accepted"},
        {"next_attempt_at": None, "state": "failed"},
        {"next_attempt_at": None, "state": "cancelled"},
    ), strict=True):  # fmt: skip
        Delivery.objects.filter(pk=pk).update(**values)
    Run.objects.update(status="queued", due_at=now - timedelta(seconds=200))
    found = families(client)
    states = {sample.labels["state"]: sample.value for sample in found["rootmail_deliveries"].samples}
    assert states == {"due": 2, "later": 1, "sending": 1, "held": 1}
    assert found["rootmail_deliveries_unknown"].samples[0].value == 1
    assert found["rootmail_delivery_oldest_due_seconds"].samples[0].value == pytest.approx(90, abs=20)
    assert found["rootmail_run_oldest_due_seconds"].samples[0].value == pytest.approx(200, abs=20)


def test_the_ways_out_are_told(client: Client, smtp: SmtpIntegration) -> None:
    refused = TransportError.from_reply(Reply(535, "no", "5.7.8"), stage=Stage.AUTH)
    refused.provider = "smtp"
    pauses.begin("smtp", refused)
    pauses.forget("sendgrid", proven=False)
    until = clock.now() + timedelta(minutes=1)
    SessionSlot.objects.create(provider="smtp", number=0, until=until)
    SessionSlot.objects.create(provider="smtp", number=1, until=clock.now() - timedelta(minutes=1))
    assert numbers(client) == {
        'rootmail_provider_in_force{provider="smtp"}': 1,
        'rootmail_provider_paused{provider="smtp"}': 1,
        'rootmail_sessions_in_use{provider="smtp"}': 1,
    }, "SendGrid was only connected without a check"


def test_a_worker_that_never_was_is_silent_for_ever(client: Client) -> None:
    def age() -> float:
        return families(client)["rootmail_worker_heartbeat_age_seconds"].samples[0].value

    assert age() == float("inf")
    heartbeat.beat()
    assert 0 <= age() < 20


@pytest.mark.usefixtures("begun")
def test_a_bucket_holds_what_the_smaller_ones_hold(client: Client) -> None:
    queued(with_tasks({}))
    runs.execute_due()
    for milliseconds in (40, 60, 60, 200_000):
        usual = {"provider": "smtp", "stage": "data", "outcome": "deferred", "milliseconds": milliseconds}
        Attempt.objects.create(delivery=Delivery.objects.get(), at=clock.now(), **usual)
    samples = families(client)["rootmail_relay_seconds"].samples
    mine = [sample for sample in samples if sample.labels["provider"] == "smtp"]
    seen = {sample.labels.get("le", sample.name.rpartition("_")[2]): sample.value for sample in mine}
    assert seen == {
        "0.05": 1, "0.1": 3, "0.25": 3, "0.5": 3, "1": 3, "2.5": 3, "5": 3, "10": 3, "30": 3, "60": 3, "160": 3,
        "+Inf": 4, "count": 4, "sum": pytest.approx(200.16),
    }  # fmt: skip


def test_every_provider_is_named_from_the_beginning(client: Client) -> None:
    """Prometheus does not see a series grow that appears with its first mail."""
    found = families(client)
    for name in ("rootmail_attempts", "rootmail_relay_seconds", "rootmail_acceptance_seconds"):
        assert {sample.labels["provider"] for sample in found[name].samples} == {"smtp", "sendgrid", "default"}
        assert {sample.value for sample in found[name].samples} == {0}


def test_openmetrics_is_spoken_to_who_asks_for_it(client: Client) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.endswith(b"# EOF\n")


def ask(client: Client, address: str = "203.0.113.9", **headers: str) -> int:
    return client.get("/metrics", headers=headers, REMOTE_ADDR=address).status_code


class TestGuard:
    def test_a_stranger_is_told_what_to_set(self, client: Client) -> None:
        answer = client.get("/metrics", REMOTE_ADDR="203.0.113.9")
        assert (answer.status_code, answer["Content-Type"]) == (403, "text/plain; charset=utf-8")
        assert b"METRICS_TOKEN" in answer.content
        assert b"METRICS_NETWORKS" in answer.content
        assert b"rootmail_" not in answer.content

    @pytest.mark.parametrize(
        ("address", "status"),
        [("127.0.0.1", 200), ("127.8.8.8", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.1", 403), ("", 403)],
    )
    def test_this_machine_may(self, client: Client, address: str, status: int) -> None:
        assert ask(client, address) == status

    def test_networks_may_be_named(self, client: Client, settings: Any) -> None:
        settings.METRICS_NETWORKS = [ipaddress.ip_network(text) for text in ("10.1.0.0/16", "2001:db8::/32")]
        seen = [ask(client, address) for address in ("10.1.2.3", "2001:db8::7", "10.2.0.1", "127.0.0.1")]
        assert seen == [200, 200, 403, 403]

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            ("Bearer the token", 200), ("bearer the token", 200), ("Bearer the toke", 403), ("Bearer", 403),
            ("Basic the token", 403), ("Bearer the tökén", 403), ("the token", 403),
        ],
    )  # fmt: skip
    def test_the_token_opens(self, client: Client, settings: Any, sent: str, status: int) -> None:
        settings.METRICS_TOKEN = "the token"
        assert ask(client, Authorization=sent) == status

    @pytest.mark.parametrize("sent", ["Bearer ", "Bearer", ""])
    def test_no_token_is_no_key(self, client: Client, sent: str) -> None:
        assert ask(client, Authorization=sent) == 403

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via"])
    def test_a_proxy_on_this_machine_brings_nobody_closer(self, client: Client, header: str) -> None:
        assert ask(client, "127.0.0.1", **{header: "127.0.0.1"}) == 403

    def test_the_proxy_in_front_is_believed(self, client: Client, settings: Any) -> None:
        settings.BEHIND_PROXY = True
        forwarded = ("127.0.0.1", "203.0.113.9", "203.0.113.9, 127.0.0.1", "127.0.0.1, 203.0.113.9")
        seen = [ask(client, "127.0.0.1", **{"X-Forwarded-For": text}) for text in forwarded]
        assert seen == [200, 403, 200, 403]
        assert ask(client, "127.0.0.1") == 200, "past the proxy, from this machine"
        assert ask(client, "127.0.0.1", Via="1.1 proxy") == 403, "a proxy that does not say for whom it asks"

    def test_a_scrape_is_not_sent_to_https(self, client: Client, settings: Any) -> None:
        settings.SECURE_SSL_REDIRECT = True
        assert ask(client, "127.0.0.1") == 200
        assert client.get("/login/").status_code == 301


@pytest.mark.usefixtures("begun")
def test_sqlite_reads_no_table_from_end_to_end(client: Client) -> None:
    """The plan of SQLite, which knows no numbers of rows here, is that of a large table."""
    if connection.vendor != "sqlite":
        return  # tests/test_million.py asks PostgreSQL
    plans: list[str] = []

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
                plans.extend(row[3] for row in cursor.fetchall())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        families(client)
        counting.count_new()
    assert any("workflows_attempt" in plan for plan in plans), "it must look, or this proves nothing"
    scans = [plan for plan in plans if plan.startswith("SCAN") and any(table in plan for table in TABLES)]
    assert [plan for plan in scans if not any(index in plan for index in SPARSE)] == []
    assert "USE TEMP B-TREE FOR ORDER BY" not in plans


def exported(client: Client) -> set[str]:
    """Return every name that a query may use."""
    names = set()
    for family in families(client).values():
        kinds = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
        names |= {f"{family.name}{end}" for end in kinds.get(family.type, ("",))}
    return names


def expressions(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        yield from (value for key, value in document.items() if key in ("expr", "query") and isinstance(value, str))
        for value in document.values():
            yield from expressions(value)
    elif isinstance(document, list):
        for value in document:
            yield from expressions(value)


def used(text: str) -> set[str]:
    return set(re.findall(r"\brootmail_\w+", text))


def test_the_dashboard_asks_only_for_what_there_is(client: Client) -> None:
    asked = used("\n".join(expressions(json.loads(DASHBOARD.read_text()))))
    assert asked - exported(client) == set()
    assert exported(client) - asked - {name for name in exported(client) if name.endswith(("_sum", "_count"))} == set()


def test_the_rules_ask_only_for_what_there_is(client: Client) -> None:
    asked = used(re.sub(r"annotations:.*?(?=- alert:|\Z)", "", RULES.read_text(), flags=re.S))
    assert asked
    assert asked - exported(client) == set()


def test_the_manual_names_every_metric(client: Client) -> None:
    text = (project.BASE_DIR / "docs/monitoring.md").read_text()
    assert {name for name in families(client) if f"`{name}" not in text} == set()


def promtool(*arguments: str | Path, stdin: bytes = b"") -> None:
    program = from_environment("TEST_PROMTOOL")
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@pytest.mark.usefixtures("begun")
def test_prometheus_finds_nothing_wrong_with_the_numbers(client: Client) -> None:
    promtool("check", "metrics", stdin=client.get("/metrics").content)


def test_prometheus_takes_the_files() -> None:
    promtool("check", "rules", RULES)
    promtool("check", "config", "--syntax-only", DEPLOY / "prometheus.yml")


def test_each_alert_fires_when_it_should() -> None:
    promtool("test", "rules", project.BASE_DIR / "tests" / "prometheus_rules_test.yaml")
