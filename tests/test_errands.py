"""What a worker does while a person waits, and what the person hears when none does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from integrations import errands, jobs, services, stored, trials
from integrations.models import AuditEvent, Errand, SendGridIntegration, SmtpIntegration

from .damage import lose_key_of
from .fake_relay import FakeRelay
from .fake_sendgrid import FakeSendGrid

pytestmark = pytest.mark.django_db
CHECK: dict[str, Any] = {"kind": "smtp", "values": None}


def on_ring(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], object]) -> None:
    """Let something else happen than a worker's doing the errand."""
    monkeypatch.setattr(errands.tasks.run_errand, "apply_async", lambda arguments, **_: act(*arguments))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TAKEN_WITHIN", "BUSY_FOR", "FINISHED_WITHIN"):
        monkeypatch.setattr(errands, name, 0.3)
    monkeypatch.setattr(errands, "PAUSE", 0.02)


def workers_answer(monkeypatch: pytest.MonkeyPatch, answer: list[Any] | Exception) -> None:
    def ping(**_: Any) -> list[Any]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(errands.current_app.control, "ping", ping)


# The worker's side


def test_a_worker_reports_and_the_request_is_erased(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    report = errands.ask(Errand.Job.CHECK, CHECK, actor="ada")
    assert report["ok"]
    row = Errand.objects.get()
    assert (row.asked_by, row.request, json.loads(row.report or "")) == ("ada", None, report)
    assert row.asked_at <= row.taken_at <= row.finished_at  # type: ignore[operator]


def test_an_errand_is_done_once_however_often_it_is_delivered(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    request = {"kind": "smtp", "to": "eve@x.test", "actor": "ada"}
    errand = errands.leave(Errand.Job.TEST_MAIL, request, actor="ada")
    for _ in range(3):
        jobs.carry_out(str(errand.pk))
    assert len(relay.ledger) == 1


def test_an_errand_that_nobody_waits_for_any_more_is_not_done(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    errand = errands.leave(Errand.Job.CHECK, CHECK, actor="ada")
    Errand.objects.update(asked_at=timezone.now() - timedelta(minutes=11))
    jobs.carry_out(str(errand.pk))
    assert relay.transcript == []
    assert Errand.objects.get().taken_at is None


def test_what_is_asked_and_answered_is_encrypted(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    request = {"kind": "smtp", "values": {"address": "127.0.0.1", "password": "secret-4711"}}
    errands.leave(Errand.Job.CHECK, request, actor="ada")
    Errand.objects.update(report=json.dumps({"said": "secret-4711"}))
    with connection.cursor() as cursor:
        cursor.execute("SELECT request, report FROM integrations_errand")
        stored = b" ".join(bytes(value) for value in cursor.fetchone())
    assert b"secret-4711" not in stored
    assert b"127.0.0.1" not in stored


def test_the_database_refuses_a_finished_errand_with_a_request() -> None:
    errands.leave(Errand.Job.CHECK, CHECK, actor="ada")
    with pytest.raises(IntegrityError), transaction.atomic():
        Errand.objects.update(finished_at=timezone.now())


def test_old_errands_are_forgotten(smtp: SmtpIntegration) -> None:
    errands.leave(Errand.Job.CHECK, CHECK, actor="ada")
    Errand.objects.update(asked_at=timezone.now() - timedelta(hours=2))
    kept = errands.leave(Errand.Job.CHECK, CHECK, actor="ada")
    errands.tasks.forget_errands()
    assert list(Errand.objects.values_list("pk", flat=True)) == [kept.pk]


def test_the_steps_are_seen_as_they_are_taken(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    told: list[int] = []
    done = jobs.check(CHECK, lambda report: told.append(len(report["steps"])))
    assert told == list(range(1, len(done["steps"]) + 1))
    seen: list[str] = []
    services.check("smtp", actor="ada", watch=lambda step: seen.append(step.name))
    assert seen == ["resolve", "connect", "greeting", "ehlo", "auth", "mail", "quit"]


# Where no worker does it


@pytest.mark.usefixtures("impatient")
def test_where_no_worker_answers_that_is_the_finding(smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    on_ring(monkeypatch, lambda pk: None)
    workers_answer(monkeypatch, [])
    found = services.check("smtp", actor="ada")
    assert (found.ok, found.cause, found.field, [step.name for step in found.steps]) == (
        *(False, errands.NO_WORKER, ""),
        ["worker"],
    )
    assert Errand.objects.count() == 0, "a worker that comes later must not do it any more"


@pytest.mark.usefixtures("impatient")
def test_busy_workers_are_told_from_dead_ones(smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    on_ring(monkeypatch, lambda pk: None)
    workers_answer(monkeypatch, [{"celery@here": {"ok": "pong"}}])
    assert services.check("smtp", actor="ada").cause == errands.ALL_BUSY
    workers_answer(monkeypatch, OSError("broker away"))
    assert services.check("smtp", actor="ada").cause == errands.NO_WORKER


def test_a_broker_that_is_down_is_the_finding(smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(pk: str) -> None:
        raise OSError("connection refused")

    on_ring(monkeypatch, fall)
    assert services.check("smtp", actor="ada").cause == errands.NO_BROKER
    assert Errand.objects.count() == 0


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_does_not_finish_is_the_finding(smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    on_ring(monkeypatch, lambda pk: Errand.objects.update(taken_at=timezone.now()))
    assert services.check("smtp", actor="ada").cause == errands.NOT_FINISHED
    assert Errand.objects.get().request is None


@pytest.mark.parametrize("taken", [False, True])
def test_who_stops_waiting_leaves_no_credentials_behind(monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    def interrupt(pk: str) -> None:
        if taken:
            Errand.objects.update(taken_at=timezone.now())
        raise KeyboardInterrupt

    on_ring(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        services.connect("smtp", {"address": "127.0.0.1", "user_name": "u", "password": "secret-4711"}, actor="ada")
    assert list(Errand.objects.values_list("request", flat=True)) == [None] * taken


def test_credentials_do_not_outlive_the_time_in_which_a_worker_would_use_them() -> None:
    errands.leave(Errand.Job.CHECK, CHECK, actor="ada")
    Errand.objects.update(asked_at=timezone.now() - jobs.FRESH - timedelta(seconds=1))
    errands.tasks.forget_errands()
    assert Errand.objects.get().request is None


@pytest.mark.usefixtures("impatient")
def test_a_test_mail_that_nobody_knows_about_is_not_to_be_repeated_blindly(
    smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_ring(monkeypatch, lambda pk: Errand.objects.update(taken_at=timezone.now()))
    with pytest.raises(errands.NoAnswer, match="look into the mailbox before you try again"):
        trials.send_test_mail("smtp", "eve@x.test", actor="ada")


def test_a_defect_is_told_as_such(smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(jobs, "diagnose", defect)

    def work(pk: str) -> None:
        with pytest.raises(ZeroDivisionError):
            jobs.carry_out(pk)

    on_ring(monkeypatch, work)
    assert services.check("smtp", actor="ada").cause == errands.DEFECT


def test_a_worker_with_other_keys_is_the_finding(smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(pk: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE integrations_errand SET request = %s", [b"not for our key"])
        with pytest.raises(Exception, match="decrypted"):
            jobs.carry_out(pk)

    on_ring(monkeypatch, work)
    found = services.check("smtp", actor="ada")
    assert (found.ok, found.cause) == (False, errands.NO_KEY)
    assert Errand.objects.get().finished_at


def test_a_failed_connect_through_a_worker_saves_nothing(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    on_ring(
        monkeypatch,
        lambda pk: Errand.objects.filter(pk=pk).update(
            taken_at=timezone.now(), finished_at=timezone.now(), request=None
        ),
    )
    with pytest.raises(services.CheckFailed):
        services.connect("smtp", {"address": "127.0.0.1", "port": relay.port}, actor="ada")
    assert SmtpIntegration.objects.count() == 0


# Test mail


def test_a_test_mail_is_a_test_at_first_sight(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    report = trials.send_test_mail("smtp", " eve@x.test ", actor="ada")
    [mail] = relay.ledger
    assert (mail.sender, mail.recipients) == ("desk@example.com", ("eve@x.test",))
    text = mail.content.decode()
    assert "\r\nSubject: Test e-mail: rootmail through SMTP\r\n" in text
    assert "This is a test e-mail. Nothing has happened, and there is nothing to do." in text
    assert "ada asked for it at " in text
    assert "\r\nAuto-Submitted: auto-generated\r\n" in text
    assert {**report, "milliseconds": 7, "message_id": ""} == {
        "ok": True,
        "to": "eve@x.test",
        "provider": "smtp",
        "unknown": False,
        "from": "Desk <desk@example.com>",
        "message_id": "",
        "code": 250,
        "enhanced_code": "2.0.0",
        "reply": "queued as 1",
        "tls": "",
        "milliseconds": 7,
        "warning": "",
    }
    assert report["message_id"] in text
    entry = AuditEvent.objects.get()
    assert (entry.actor, entry.action, entry.details) == (
        *("ada", "test mail asked for"),
        {"provider": "smtp", "to": "eve@x.test"},
    )


@pytest.mark.parametrize(
    ("script", "words", "unknown"),
    [
        ({"replies": {"RCPT": "550 5.1.1 no such user"}}, "eve@x.test (550 5.1.1 no such user)", False),
        ({"replies": {".": "554 5.7.1 spam"}}, "The relay answered 554 5.7.1 spam", False),
        ({"replies": {"CONNECT": "421 4.7.0 busy"}}, "The relay answered 421 4.7.0 busy", False),
        ({"drop": ["."]}, "Whether it took the mail is unknown.", True),
    ],
)
def test_a_test_mail_that_is_not_accepted_tells_the_relays_words(
    smtp: SmtpIntegration, relay: FakeRelay, script: dict[str, Any], words: str, unknown: bool
) -> None:
    for name, value in script.items():
        setattr(relay, name, value)
    report = trials.send_test_mail("smtp", "eve@x.test", actor="ada")
    assert (report["ok"], report["unknown"]) == (False, unknown)
    assert words in report["error"]


def test_a_test_mail_takes_the_way_that_was_asked_for(
    smtp: SmtpIntegration,
    relay: FakeRelay,
    sendgrid: SendGridIntegration,
    sendgrid_api: FakeSendGrid,
    live_router: Any,
) -> None:
    assert trials.send_test_mail("sendgrid", "eve@x.test", actor="ada")["code"] == 202
    assert trials.send_test_mail("default", "eve@x.test", actor="ada")["ok"]
    assert (len(relay.ledger), len(sendgrid_api.ledger), len(list(live_router.glob("*.eml")))) == (0, 1, 1)


def test_test_mails_are_limited(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    for _ in range(trials.TEST_MAILS):
        trials.send_test_mail("smtp", "eve@x.test", actor="ada")
    with pytest.raises(ValidationError) as caught:
        trials.send_test_mail("smtp", "eve@x.test", actor="bob")
    assert caught.value.message_dict["to"][0].startswith("5 test mails in 10 minutes are enough. Try again at ")
    assert len(relay.ledger) == 5
    Errand.objects.update(asked_at=timezone.now() - trials.TEST_WINDOW)
    trials.send_test_mail("smtp", "eve@x.test", actor="bob")
    assert len(relay.ledger) == 6


@pytest.mark.parametrize("to", ["", "nobody", "a@x.test, b@x.test", "Eve <eve@x.test>", "a@x.test\r\nBcc: b@x.test"])
def test_a_test_mail_goes_to_one_address(smtp: SmtpIntegration, relay: FakeRelay, to: str) -> None:
    with pytest.raises(ValidationError) as caught:
        trials.send_test_mail("smtp", to, actor="ada")
    assert list(caught.value.message_dict) == ["to"]
    assert relay.transcript == []


def test_what_is_not_connected_sends_no_test_mail() -> None:
    with pytest.raises(stored.NotConnected):
        trials.send_test_mail("smtp", "eve@x.test", actor="ada")


def test_a_lost_key_is_told_in_the_report(sendgrid: SendGridIntegration) -> None:
    request = {"kind": "sendgrid", "to": "eve@x.test", "actor": "ada"}
    lose_key_of(sendgrid, "api_key")
    report = errands.ask(Errand.Job.TEST_MAIL, request, actor="ada")
    assert "cannot be decrypted" in report["error"]


# Detect


@pytest.mark.parametrize("host", ["", "smtp://relay.test", "relay.test:25"])
def test_detect_wants_a_host_name(host: str) -> None:
    with pytest.raises(ValidationError) as caught:
        trials.detect(host, actor="ada")
    assert list(caught.value.message_dict) == ["address"]
