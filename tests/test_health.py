"""Alive and ready: what counts, what is only told, and that the answer comes in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import MagicMock

import kombu
import pytest
from django.db import OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from integrations import clock
from rootmail import about, health
from tests.test_runs import queued, with_tasks
from workflows import heartbeat
from workflows.models import Run

FINE = {"database": "ok", "migrations": "ok", "broker": "ok", "worker": "ok", "oldest_due": "ok"}
STRANGER = {"REMOTE_ADDR": "203.0.113.9"}


@pytest.fixture(autouse=True)
def _ask_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "GOOD_FOR", 0.0)
    monkeypatch.setattr(health, "MIGRATIONS", health.Migrations())
    monkeypatch.setattr(health, "DATABASE", database(health._ask_database, seconds=20))  # machines are slow sometimes
    monkeypatch.setattr(health, "WORK", work(health._ask_what_waits, seconds=20))
    monkeypatch.setattr(health, "BROKER", broker(lambda: {"broker": "ok"}))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Something that lets everybody connect, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def checks(client: Client) -> tuple[int, dict[str, str]]:
    answer = client.get("/readyz")
    assert answer.json()["ready"] is (answer.status_code == 200)
    return answer.status_code, answer.json()["checks"]


database = partial(health.Question, name="database", grade="fail", seconds=2)
work = partial(health.Question, name="oldest_due", grade="warn", seconds=2)
broker = partial(health.Question, name="broker", grade="warn", seconds=0.8)


def failing(error: Exception) -> Any:
    def ask() -> dict[str, str]:
        raise error

    return ask


class TestAlive:
    def test_it_touches_no_database(self, client: Client) -> None:
        answer = client.get("/healthz", **STRANGER)  # without the mark `django_db`, a query would raise
        assert (answer.status_code, answer.content, answer["Cache-Control"]) == (200, b"ok\n", "no-store")

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_a_load_balancer_may_name_an_address_and_speak_http(
        self, client: Client, settings: Any, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.SECURE_SSL_REDIRECT = True
        monkeypatch.setattr(health, "DATABASE", database(lambda: {"migrations": "ok"}))
        assert client.get(path, headers={"Host": "10.1.2.3:8000"}, **STRANGER).status_code == 200
        assert client.head(path).status_code == 200

    @pytest.mark.django_db
    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_nothing_is_taken_there(self, client: Client, path: str) -> None:
        assert client.post(path).status_code == 404


@pytest.mark.django_db(transaction=True)  # the checks have a connection of their own
class TestReady:
    def test_all_is_well(self, client: Client) -> None:
        heartbeat.beat()
        assert checks(client) == (200, FINE)

    def test_strangers_learn_no_more_than_that(self, client: Client) -> None:
        answer = client.get("/readyz", **STRANGER)
        assert (answer.status_code, answer.json()) == (200, {"ready": True})

    def test_a_site_without_workers_can_take_events(self, client: Client) -> None:
        assert checks(client) == (200, FINE | {"worker": "warn: none has ever been heard of"})
        heartbeat.Heartbeat.objects.create(pk=1, at=clock.now() - timedelta(minutes=7, seconds=5))
        assert checks(client) == (200, FINE | {"worker": "warn: none has been heard of for 7 minutes"})

    def test_work_that_waits_is_told(self, client: Client) -> None:
        heartbeat.beat()
        queued(with_tasks({}))
        Run.objects.update(due_at=clock.now() - timedelta(minutes=9))
        assert checks(client) == (200, FINE)
        Run.objects.update(due_at=clock.now() - timedelta(minutes=12, seconds=5))
        assert checks(client) == (200, FINE | {"oldest_due": "warn: due for 12 minutes"})

    def test_monitoring_sees_which_code_this_process_was_started_on(self, client: Client) -> None:
        """Doctor names it too, and cannot ask web processes itself."""
        assert client.get("/readyz").json()["code"] == about.code()

    def test_missing_migrations_make_it_unready(self, client: Client) -> None:
        heartbeat.beat()
        recorder = MigrationRecorder(connection)
        newest = sorted(name for app, name in recorder.applied_migrations() if app == "workflows")[-2:]
        for name in newest:
            recorder.record_unapplied("workflows", name)
        try:
            status, found = checks(client)
        finally:
            for name in newest:
                recorder.record_applied("workflows", name)
        assert status == 503
        assert found["migrations"] == "fail: 2 are missing. Run 'manage.py migrate'."
        assert checks(client) == (200, FINE), "it is asked for again until all are there"


@pytest.mark.django_db(transaction=True)
class TestTakesNothing:
    """Everything can be read, every event is refused: load balancers and monitoring shall know."""

    def test_a_database_that_can_only_be_read(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        heartbeat.beat()
        monkeypatch.setattr(type(connections["default"]), "why_it_takes_nothing", lambda _: "it can only be read")
        assert checks(client) == (503, FINE | {"database": "fail: it can only be read"})

    def test_a_lock_on_the_mails_keeps_no_event_from_being_taken(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """VACUUM FULL, say: load balancers took the site out, which would have stored every event."""
        monkeypatch.setattr(health, "WORK", work(lambda: time.sleep(1) or {}, seconds=0.1))
        unknown = {"worker": "unknown: the database did not say", "oldest_due": "warn: no answer within 0.1 seconds"}
        assert checks(client) == (200, FINE | unknown)

    def test_a_broker_that_answers_and_takes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With `maxmemory` reached, or as a replica, Redis still answers."""
        channel = MagicMock()
        monkeypatch.setattr("kombu.Connection.channel", lambda _: channel)
        channel.queue_declare.side_effect = OSError("OOM command not allowed")
        channel.__enter__.return_value = channel
        question = broker(health._ask_broker)
        question.ask()
        assert question.answer() == {"broker": "warn: OSError"}


class TestFaults:
    def test_a_database_that_is_away_makes_it_unready(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "DATABASE", database(failing(OperationalError("host=db password=hunter2"))))
        unknown = "unknown: the database did not say"
        told = {"database": "fail: OperationalError", "migrations": unknown, "worker": unknown, "oldest_due": unknown}
        assert checks(client) == (503, told | {"broker": "ok"})
        assert client.get("/readyz", **STRANGER).json() == {"ready": False}

    def test_a_database_that_hangs_does_so_too_and_in_time(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stop, asked = threading.Event(), []

        def hang() -> dict[str, str]:
            asked.append(1)
            stop.wait(10)
            return {}

        monkeypatch.setattr(health, "DATABASE", database(hang, seconds=0.5))
        began = time.monotonic()
        for _ in range(20):
            status, found = checks(client)
            assert (status, found["database"]) == (503, "fail: no answer within 0.5 seconds")
        assert 0.5 < time.monotonic() - began < 5, "only the first one waits"
        assert len(asked) == 1, "it is not asked again while it hangs: threads would pile up"
        stop.set()

    @pytest.mark.django_db(transaction=True)
    def test_a_broker_that_hangs_or_is_away_is_told_and_no_more(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, silent_port: int
    ) -> None:
        heartbeat.beat()
        address = f"redis://127.0.0.1:{silent_port}/0"
        monkeypatch.setattr(
            health.app,
            "connection_for_write",
            lambda **_: kombu.Connection(address, transport_options={"socket_timeout": 3}),
        )
        monkeypatch.setattr(health, "BROKER", broker(health._ask_broker))
        began = time.monotonic()
        assert checks(client) == (200, FINE | {"broker": "warn: no answer within 0.8 seconds"})
        assert time.monotonic() - began < 3
        monkeypatch.setattr(health, "BROKER", broker(failing(ConnectionRefusedError("redis://:secret@broker"))))
        assert checks(client) == (200, FINE | {"broker": "warn: ConnectionRefusedError"})

    def test_whoever_asks_all_the_time_costs_one_look_a_second(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        def ask() -> dict[str, str]:
            asked.append(1)
            return {"migrations": "ok"}

        monkeypatch.setattr(health, "GOOD_FOR", 60.0)
        monkeypatch.setattr(health, "DATABASE", database(ask))
        for _ in range(5):
            client.get("/readyz")
        assert len(asked) == 1


@pytest.mark.django_db(transaction=True)
def test_no_connection_is_left_behind(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[Any] = []

    def ask() -> dict[str, str]:
        found = health._ask_database()
        left.append(connections["default"])
        return found

    monkeypatch.setattr(health, "DATABASE", database(ask, seconds=20))
    checks(client)
    time.sleep(0.1)
    assert left[0].connection is None
