"""From a stored delivery to a recorded outcome, over real sockets."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.mail import get_connection
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from integrations import pauses, standing
from integrations import services as integrations
from integrations.models import SendGridIntegration, SmtpIntegration
from integrations.transports.base import Scope, Stage, TransportError
from tests.fake_relay import FakeRelay
from tests.fake_sendgrid import FakeSendGrid, message_id
from tests.test_runs import queued, with_tasks
from workflows import delivery, delivery_documents, interventions, leases, outcomes, runs, story, stubborn
from workflows.ids import new_id
from workflows.models import Attempt, Delivery, Recipient, Run
from workflows.outlook import Outlook

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router")]

TO = {"to": ["a@example.org"], "cc": ["b@example.org"], "bcc": ["c@example.org"]}


def stored(*tasks: dict[str, Any]) -> Run:
    run = queued(with_tasks(*(tasks or (TO,))))
    runs.execute_due()
    return run


def said() -> list[tuple[str, str, int | None, str]]:
    return list(Recipient.objects.order_by("pk").values_list("address", "state", "code", "enhanced_code"))


def make_due() -> None:
    Delivery.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now())


def test_an_accepted_mail_completes_its_run(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    run = stored()
    assert delivery.send_due() is False
    run.refresh_from_db()
    assert run.status == "completed"
    mail = relay.ledger[0]
    assert (mail.sender, mail.recipients) == ("desk@example.com", ("a@example.org", "b@example.org", "c@example.org"))
    row = Delivery.objects.get()
    assert mail.content == b"From: Desk <desk@example.com>\r\n" + bytes(row.content)
    document = delivery_documents.deliveries(Delivery.objects.all())[0]
    attempt = document["attempts"][0]
    assert attempt | {"at": 0, "milliseconds": 0} == {
        "at": 0,
        "provider": "smtp",
        "stage": "data",
        "outcome": "accepted",
        "code": 250,
        "enhanced_code": "2.0.0",
        "reply": "queued as 1",
        "tls": None,
        "milliseconds": 0,
    }
    assert document | {"attempts": 0, "triggered_at": 0, "accepted_at": 0} == {
        "id": str(row.pk),
        "run": str(run.pk),
        "workflow": "tell",
        "task": "Mail",
        "test": False,
        "state": "accepted",
        "provider": "smtp",
        "message_id": row.message_id,
        "from": "Desk <desk@example.com>",
        "subject": "Hello",
        "triggered_at": 0,
        "next_attempt_at": None,
        "accepted_at": 0,
        "bounced_at": None,
        "reason": None,
        "warnings": [],
        "recipients": [
            {"address": f"{one}@example.org", "kind": kind, "state": "accepted"}
            | {"code": 250, "enhanced_code": "2.0.0", "reply": "queued as 1", "told": []}
            for one, kind in (("a", "to"), ("b", "cc"), ("c", "bcc"))
        ],
        "attempts": 0,
    }
    assert (row.next_attempt_at, row.lease, row.tries) == (None, None, 1)
    assert row.accepted_at is not None
    assert row.triggered_at <= row.accepted_at


def test_a_batch_goes_over_one_session(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored(TO, {"to": ["x@example.org"]}, {"to": ["y@example.org"]})
    delivery.send_due()
    assert [line for line in relay.transcript if line.startswith(("EHLO", "QUIT"))] == ["EHLO [127.0.0.1]"]
    assert [mail.recipients[-1] for mail in relay.ledger] == ["c@example.org", "x@example.org", "y@example.org"]


def test_a_refused_recipient_does_not_hold_up_the_others(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"RCPT TO:<b@": "550 5.1.1 no such user"}
    run = stored()
    delivery.send_due()
    run.refresh_from_db()
    assert said() == [
        ("a@example.org", "accepted", 250, "2.0.0"),
        ("b@example.org", "refused", 550, "5.1.1"),
        ("c@example.org", "accepted", 250, "2.0.0"),
    ]
    row = Delivery.objects.get()
    assert (row.state, row.reason) == ("accepted", "b@example.org refused: 550 5.1.1 no such user")
    assert (run.status, run.status_message) == (
        "completed_with_errors",
        "Mail: b@example.org refused: 550 5.1.1 no such user",
    )


def test_an_address_that_sendgrid_refuses_does_not_hold_up_the_others(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    """SendGrid refuses the whole request for its sake, so the others get theirs in the next attempt."""
    rows = [{"message": "Does not contain a valid address.", "field": "personalizations.0.cc.0.email", "help": None}]
    sendgrid_api.answer = 400, json.dumps({"errors": rows}), {}
    stored()
    delivery.send_due()
    sendgrid_api.answer = None
    assert Delivery.objects.get().state == "deferred"
    make_due()
    delivery.send_due()
    assert said() == [
        ("a@example.org", "accepted", 202, ""),
        ("b@example.org", "refused", 400, "5.1.3"),
        ("c@example.org", "accepted", 202, ""),
    ]
    assert [one["personalizations"] for one in sendgrid_api.ledger] == [
        [{"to": [{"email": "a@example.org"}], "bcc": [{"email": "c@example.org"}]}]
    ]


def test_a_mail_is_found_by_the_number_that_its_provider_gave_it(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    stored(TO, TO)
    delivery.send_due()
    rows = Delivery.objects.order_by("pk")
    assert list(rows.values_list("provider_id", flat=True)) == [message_id(1), message_id(2)]
    arguments = [one["custom_args"] for one in sendgrid_api.ledger]
    assert arguments == [{"rootmail_delivery": str(row.pk), "rootmail_message_id": row.message_id} for row in rows]


def test_a_mail_through_smtp_has_no_such_number(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored()
    delivery.send_due()
    assert Delivery.objects.get().provider_id == ""


def test_only_the_deferred_recipient_gets_the_next_attempt(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"RCPT TO:<b@": ["450 4.7.1 greylisted, try again in 5 minutes"]}
    stored()
    now = timezone.now()
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.state, row.reason) == (
        "deferred",
        "b@example.org deferred: 450 4.7.1 greylisted, try again in 5 minutes",
    )
    assert row.next_attempt_at is not None
    assert timedelta(minutes=4.9) < row.next_attempt_at - now < timedelta(minutes=5.1)
    make_due()
    delivery.send_due()
    assert [mail.recipients for mail in relay.ledger] == [("a@example.org", "c@example.org"), ("b@example.org",)]
    assert relay.ledger[0].content == relay.ledger[1].content
    assert {state for _, state, _, _ in said()} == {"accepted"}
    assert (Delivery.objects.get().state, Run.objects.get().status) == ("accepted", "completed")


@pytest.mark.parametrize("reply", ["452 4.5.3 too many recipients", "552 too many recipients", "550 5.5.3 enough"])
def test_those_who_are_too_many_for_one_transaction_come_at_once(
    smtp: SmtpIntegration, relay: FakeRelay, reply: str
) -> None:
    stored({"to": ["a@example.org", "b@example.org"]})
    relay.replies = {"RCPT TO:<b@": [reply]}
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.state, row.tries) == ("deferred", 0)
    assert row.next_attempt_at
    assert row.next_attempt_at <= timezone.now()
    delivery.send_due()
    assert [mail.recipients for mail in relay.ledger] == [("a@example.org",), ("b@example.org",)]
    assert Delivery.objects.get().state == "accepted"


def test_a_hundred_and_twenty_recipients_get_it_once_each(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    people = [f"r{n}@example.org" for n in range(120)]
    stored({"to": people[:1], "cc": people[1:60], "bcc": people[60:]})
    assert delivery.send_due(), "it goes on at once"
    row = Delivery.objects.get()
    assert (row.state, row.tries, row.reason) == ("deferred", 0, "70 more come next")
    found = story.of(story.with_counts(Delivery.objects.all()).get())
    assert found.explanation.sentence == (
        "The relay has taken it over, but for 70 of 120 recipients: they come next, by themselves."
    )
    assert [delivery.send_due(), delivery.send_due()] == [True, False]
    assert [len(mail.recipients) for mail in relay.ledger] == [50, 50, 20]
    assert sorted(address for mail in relay.ledger for address in mail.recipients) == sorted(people)
    assert len({mail.content for mail in relay.ledger}) == 1
    row = Delivery.objects.get()
    assert (row.state, row.tries, row.reason, row.run.status) == ("accepted", 1, "", "completed")
    assert {recipient.state for recipient in row.recipients.all()} == {"accepted"}
    assert [attempt.outcome for attempt in row.attempts.all()] == ["accepted"] * 3


def test_whom_a_dead_worker_may_have_named_is_not_said_to_have_been_left_out(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    stored({"to": [f"r{n}@example.org" for n in range(60)]})
    Delivery.objects.update(hold_unknown=True)
    delivery.send_due()
    assert Recipient.objects.filter(Recipient.NOT_NAMED).count() == 10
    assert leases.Lease().claim()  # another worker has the other ten in flight, and dies
    Delivery.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    delivery.free_expired_leases()
    row = Delivery.objects.get()
    assert (row.state, row.recipients.filter(Recipient.NOT_NAMED).count()) == ("held", 0)
    interventions.intervene("consider-delivered", [row.pk], actor="ada")
    assert {recipient.state for recipient in row.recipients.all()} == {"accepted"}


def test_a_mail_for_hidden_recipients_alone_goes_to_all_of_them(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    people = [f"r{n}@example.org" for n in range(60)]
    stored({"to": ["nobody@example.org"], "bcc": people})
    Recipient.objects.filter(kind="to").update(state="suppressed")
    delivery.send_due()
    delivery.send_due()
    assert sorted(address for mail in relay.ledger for address in mail.recipients) == sorted(people)
    assert Delivery.objects.get().state == "accepted"


def test_whom_the_relay_puts_off_holds_up_nobody(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored({"to": [f"r{n}@example.org" for n in range(60)]})
    relay.replies = {"RCPT TO:<r0@": "450 4.7.1 greylisted, try again in 5 minutes"}
    delivery.send_due()
    delivery.send_due()
    assert [len(mail.recipients) for mail in relay.ledger] == [49, 10]
    row = Delivery.objects.get()
    assert (row.state, row.tries) == ("deferred", 1)
    assert row.next_attempt_at > timezone.now() + timedelta(minutes=4)  # type: ignore[operator]
    assert row.reason == "r0@example.org deferred: 450 4.7.1 greylisted, try again in 5 minutes"


def test_fifty_who_are_all_put_off_hold_up_nobody(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored({"to": [f"r{n}@example.org" for n in range(60)]})
    relay.replies = {"RCPT": ["450 4.2.2 full"] * 50}
    delivery.send_due()
    make_due()
    delivery.send_due()
    [first] = relay.ledger
    assert first.recipients[:10] == tuple(f"r{n}@example.org" for n in range(50, 60))


def test_who_was_not_named_is_not_considered_delivered(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored({"to": [f"r{n}@example.org" for n in range(110)]})
    Delivery.objects.update(hold_unknown=True)
    relay.replies = {".": ["250 ok", "221 2.0.0 bye"]}
    delivery.send_due()
    delivery.send_due()
    assert Delivery.objects.get().state == "held"
    interventions.intervene("consider-delivered", [Delivery.objects.get().pk], actor="ada")
    states = list(Recipient.objects.order_by("pk").values_list("state", flat=True))
    assert states == ["accepted"] * 100 + ["failed"] * 10


@pytest.mark.parametrize(
    ("reply", "state", "said_of_b", "reason"),
    [
        ("554 5.7.1 spam", "failed", "554 5.7.1 spam", "The relay answered 554 5.7.1 spam"),
        ("221 2.0.0 bye", "unknown", "", "The relay answered the final dot with 221 2.0.0 bye. Whether it took"),
    ],
)
def test_the_words_to_all_are_kept_beside_those_to_one(
    smtp: SmtpIntegration, relay: FakeRelay, reply: str, state: str, said_of_b: str, reason: str
) -> None:
    stored({"to": ["a@example.org", "b@example.org"]})
    relay.replies = {"RCPT TO:<a@": "550 5.1.1 no such user", ".": reply}
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.state, reason in row.reason) == (state, True)
    replies = [recipient.said for recipient in Recipient.objects.order_by("pk")]
    assert replies == ["550 5.1.1 no such user", said_of_b]


@pytest.mark.parametrize("point", ["RCPT", "."])
def test_a_quota_that_is_used_up_ends_no_mail(smtp: SmtpIntegration, relay: FakeRelay, point: str) -> None:
    stored()
    relay.replies = {point: "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; the quota was"}
    delivery.send_due()
    assert Delivery.objects.get().state == "deferred"
    state = pauses.paused("smtp")
    assert state is not None
    assert state.next_try_at is not None


@pytest.mark.parametrize("reply", ["503 5.5.1 authenticate first", "500 what", "502 5.5.1 not here"])
def test_an_answer_about_our_commands_ends_no_mail(smtp: SmtpIntegration, relay: FakeRelay, reply: str) -> None:
    stored()
    relay.replies = {"MAIL": reply}
    delivery.send_due()
    assert Delivery.objects.get().state == "deferred"
    assert pauses.paused("smtp")


def test_a_wait_beyond_the_deadline_leaves_one_last_chance(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored({"to": ["a@example.org"]})
    relay.replies = {".": "451 4.3.0 try again in 24 hours"}
    delivery.send_due()
    row = Delivery.objects.get()
    assert row.state == "deferred"
    assert row.next_attempt_at
    assert row.give_up_at - timedelta(seconds=90) < row.next_attempt_at < row.give_up_at


def test_a_message_that_is_refused_for_good_fails(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"DATA": "554 5.7.1 looks like spam"}
    run = stored(TO, {"to": ["x@example.org"]})
    delivery.send_due()
    run.refresh_from_db()
    assert run.status == "failed"
    row = Delivery.objects.order_by("position")[0]
    assert (row.state, row.next_attempt_at) == ("failed", None)
    assert "554 5.7.1 looks like spam" in row.reason
    assert said()[0] == ("a@example.org", "failed", 554, "5.7.1")
    assert relay.ledger == []


def test_all_recipients_refused_fails_with_each_reply(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"RCPT TO:<a@": "550 5.1.1 a is gone", "RCPT TO:<b@": "550 5.1.2 b too", "RCPT TO:<c@": "551 no"}
    stored()
    delivery.send_due()
    assert Delivery.objects.get().state == "failed"
    assert said() == [
        ("a@example.org", "refused", 550, "5.1.1"),
        ("b@example.org", "refused", 550, "5.1.2"),
        ("c@example.org", "refused", 551, ""),
    ]


def test_a_wrong_password_is_tried_once_and_nobody_spends_an_attempt(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.password = "another one"
    stored(TO, {"to": ["x@example.org"]}, {"to": ["y@example.org"]})
    for _ in range(3):
        assert delivery.send_due() is False
    assert len([line for line in relay.transcript if line.startswith("AUTH")]) == 1
    assert list(Delivery.objects.order_by("pk").values_list("state", "tries")) == [
        ("deferred", 0),
        ("queued", 0),
        ("queued", 0),
    ]
    assert {state for _, state, _, _ in said()} == {"queued"}
    attempt = Attempt.objects.get()
    assert (attempt.provider, attempt.stage, attempt.outcome, attempt.code) == ("smtp", "auth", "deferred", 535)
    relay.password = "right horse"
    assert pauses.try_now("smtp", actor="ada")
    delivery.send_due()
    assert {state for (state,) in Delivery.objects.values_list("state")} == {"accepted"}
    assert len(relay.ledger) == 3


def test_a_relay_that_fails_within_the_mail_spends_an_attempt_of_that_mail(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    """Or a mail that always breaks the session would be the first to try after each pause, and hold up all others."""
    relay.replies = {"DATA": "421 4.3.0 shutting down"}
    stored(TO, {"to": ["x@example.org"]})
    before = timezone.now()
    delivery.send_due()
    first, second = Delivery.objects.order_by("pk")
    assert (first.state, first.tries, second.state, second.tries) == ("deferred", 1, "queued", 0)
    assert first.next_attempt_at is not None
    assert first.next_attempt_at >= before + timedelta(seconds=30)
    assert second.next_attempt_at is not None
    assert second.next_attempt_at <= timezone.now()


def test_no_answer_after_the_final_dot_is_unknown_and_repeated_with_the_same_bytes(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    relay.drop = ["."]
    stored()
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.state, Attempt.objects.get().outcome) == ("unknown", "unknown")
    assert {state for _, state, _, _ in said()} == {"queued"}
    relay.drop = []
    pauses.try_now("smtp", actor="ada")
    make_due()
    delivery.send_due()
    assert Delivery.objects.get().state == "accepted"
    assert len(relay.ledger) == 2
    assert relay.ledger[0] == relay.ledger[1]


def test_a_workflow_may_have_it_held_for_a_person(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.drop = ["."]
    stored()
    Delivery.objects.update(hold_unknown=True)
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.state, row.next_attempt_at, row.lease) == ("held", None, None)
    assert "unknown" in row.reason
    assert Run.objects.get().status == "started"
    relay.drop = []
    delivery.send_due()
    assert len(relay.ledger) == 1


def test_what_may_have_been_accepted_still_may_when_its_time_is_over(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored()
    row = Delivery.objects.get()
    past = timezone.now() - timedelta(seconds=1)
    Attempt.objects.create(delivery=row, at=past, provider="smtp", stage="data", outcome="unknown")
    Delivery.objects.update(state="unknown", reason="Nobody heard.", give_up_at=past)
    delivery.send_due()
    row.refresh_from_db()
    text = "Given up: its time was over before it could be sent. Nobody heard."
    assert (row.state, row.reason, [one.outcome for one in row.attempts.all()]) == ("failed", text, ["unknown"])
    assert interventions.intervene("consider-delivered", [row.pk], actor="ada").done == 1


def test_it_is_given_up_after_its_deadline(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"MAIL": "451 4.3.0 try later"}
    stored()
    Delivery.objects.update(give_up_at=timezone.now() + timedelta(seconds=5))
    delivery.send_due()
    row = Delivery.objects.get()
    assert row.state == "failed"
    assert "451 4.3.0 try later" in row.reason
    assert {state for _, state, _, _ in said()} == {"failed"}
    assert Run.objects.get().status == "failed"


def test_connect_and_disconnect_act_on_the_next_mail_without_a_fall_through(
    smtp: SmtpIntegration, sendgrid: SendGridIntegration, relay: FakeRelay, sendgrid_api: FakeSendGrid, live_router: Any
) -> None:
    stored(TO, TO, TO)
    waiting = list(Delivery.objects.order_by("pk").values_list("pk", flat=True))

    def send(pk: Any) -> str:
        Delivery.objects.filter(state="queued").update(next_attempt_at=timezone.now() + timedelta(hours=1))
        Delivery.objects.filter(pk=pk).update(next_attempt_at=timezone.now())
        delivery.send_due()
        return Delivery.objects.get(pk=pk).provider

    assert send(waiting[0]) == "smtp"
    integrations.disconnect("smtp", actor="a test")
    assert send(waiting[1]) == "sendgrid"
    integrations.disconnect("sendgrid", actor="a test")
    assert send(waiting[2]) == "default"
    assert (len(relay.ledger), len(sendgrid_api.ledger), len(list(live_router.glob("*.eml")))) == (1, 1, 1)
    assert Delivery.objects.get(pk=waiting[2]).sent_from == "Rootmail <workflows@rootmail.example>"


def test_without_any_from_the_delivery_fails_and_names_the_field(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    SmtpIntegration.objects.update(default_from="")
    stored()
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.state, relay.ledger) == ("failed", [])
    assert "fill in 'Default From' in Configuration → Integrations → SMTP" in row.reason


def test_under_the_default_sender_another_from_becomes_reply_to(live_router: Any) -> None:
    stored(TO | {"from": "Anna <anna@example.com>"})
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.provider, row.sent_from, row.requested_from) == (
        "default",
        "Anna <workflows@rootmail.example>",
        "Anna <anna@example.com>",
    )
    head = next(live_router.glob("*.eml")).read_bytes().split(b"\r\n\r\n")[0]
    assert b"\r\nFrom: Anna <workflows@rootmail.example>\r\nReply-To: Anna <anna@example.com>\r\n" in head


def test_a_reply_address_with_letters_beyond_ascii_leaves_the_headers_in_ascii(live_router: Any) -> None:
    stored(TO | {"from": "Jörg <jörg@example.com>"})
    delivery.send_due()
    head = next(live_router.glob("*.eml")).read_bytes().split(b"\r\n\r\n")[0]
    assert b"\r\nReply-To: =?utf-8?" in head
    assert head.isascii()


def test_a_defect_leaves_that_mail_unknown_and_sends_the_others(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(TO, {"to": ["x@example.org"]})
    send, calls = delivery.StoredMail.send, []

    def stumble(self: Any, *args: Any) -> int:
        calls.append(self)
        if len(calls) == 1:
            raise ZeroDivisionError("a secret may stand here")
        return send(self, *args)

    monkeypatch.setattr(delivery.StoredMail, "send", stumble)
    delivery.send_due()
    first, second = Delivery.objects.order_by("pk")
    assert (first.state, second.state) == ("unknown", "accepted")
    assert "secret" not in first.reason


def test_an_outcome_is_recorded_although_the_database_was_away_for_a_moment(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored()
    write, failures = outcomes._write, [OperationalError("gone"), InterfaceError("closed")]

    def stumble(row: Delivery, values: dict[str, Any], **rows: Any) -> None:
        if failures:
            raise failures.pop()
        write(row, values, **rows)

    monkeypatch.setattr(outcomes, "_write", stumble)
    monkeypatch.setattr(stubborn, "PAUSES", (0, 0, 0))
    monkeypatch.setattr(stubborn.connection, "close", lambda: None)  # it would end the test's own transaction
    delivery.send_due()
    assert (Delivery.objects.get().state, len(relay.ledger), Attempt.objects.count()) == ("accepted", 1, 1)


@pytest.mark.parametrize("failure", [OperationalError("gone"), InterfaceError("closed")])
def test_a_database_that_fails_before_the_mail_is_handed_over_leaves_nothing_unknown(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    stored()
    in_force, answers = standing.in_force, [True, False]  # while the way out is opened it is there

    def stumble() -> Any:
        if answers.pop(0):
            return in_force()
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(standing, "in_force", stumble)
        assert delivery.send_due() is False
    row = Delivery.objects.get()
    assert (row.state, row.tries, relay.ledger) == ("queued", 0, [])
    assert row.next_attempt_at is not None
    assert row.next_attempt_at > timezone.now() + timedelta(seconds=25)
    make_due()
    delivery.send_due()
    assert (Delivery.objects.get().state, len(relay.ledger)) == ("accepted", 1)


@pytest.mark.parametrize(
    "reply", ["HTTP/1.1 400 Bad Request", "999 what", "250 2.0.0 queued\x00 as\x1b 1", "550 no\x00"]
)
@pytest.mark.parametrize("point", ["CONNECT", "MAIL", "RCPT", "DATA", "."])
def test_no_reply_however_odd_keeps_an_outcome_from_being_recorded(
    smtp: SmtpIntegration, relay: FakeRelay, reply: str, point: str
) -> None:
    relay.replies = {point: reply}
    stored(TO, {"to": ["x@example.org"]})
    delivery.send_due()
    assert not Delivery.objects.filter(state="sending").exists()
    first = Delivery.objects.order_by("pk")[0]
    assert first.attempts.count() == 1
    assert "\x00" not in first.reason + first.attempts.get().reply


def test_what_is_past_its_deadline_is_not_sent_any_more(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    run = stored()
    Delivery.objects.update(give_up_at=timezone.now() - timedelta(days=3), reason="450 busy")
    delivery.send_due()
    run.refresh_from_db()
    row = Delivery.objects.get()
    assert (row.state, row.reason) == ("failed", "Given up: its time was over before it could be sent. 450 busy")
    assert (relay.ledger, run.status) == ([], "failed")


def test_thousands_of_recipients_are_recorded_in_a_few_statements(
    smtp: SmtpIntegration, relay: FakeRelay, django_assert_max_num_queries: Any
) -> None:
    stored()
    row = Delivery.objects.get()
    Recipient.objects.bulk_create([Recipient(delivery=row, address=f"r{n}@example.org", kind="to") for n in range(200)])
    with django_assert_max_num_queries(30):
        delivery.send_due()
    assert Recipient.objects.filter(state="accepted", reply="queued as 1").count() == 50
    assert Recipient.objects.filter(state="deferred", reply="Others come first").count() == 153


class TestLeases:
    def test_two_workers_never_hold_the_same_mail(self) -> None:
        stored(*[TO] * 5)
        one, other = leases.Lease(), leases.Lease()
        assert (len(one.claim()), len(other.claim())) == (5, 0)

    def test_a_batch_has_a_limit_and_there_may_be_more(
        self, smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "BATCH", 2)
        monkeypatch.setattr(delivery, "BATCH", 2)
        stored(TO, TO, TO)
        assert [delivery.send_due(), delivery.send_due(), delivery.send_due()] == [True, False, False]
        assert Delivery.objects.filter(state="accepted").count() == 3

    def test_an_outcome_without_the_lease_is_not_recorded(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        stored()
        row = leases.Lease().claim()[0]
        Delivery.objects.update(lease=new_id())  # somebody took it over
        before = Delivery.objects.values().get()
        delivery._send_one(row, delivery.StoredMail(row, connection=get_connection()), outlook=Outlook([row]))
        assert len(relay.ledger) == 1
        assert Delivery.objects.values().get() == before
        assert {state for _, state, _, _ in said()} == {"queued"}
        assert not Attempt.objects.exists()

    def test_of_a_dead_workers_batch_only_the_first_without_an_outcome_is_unknown(self) -> None:
        stored(*[TO] * 4)
        batch = leases.Lease().claim()
        outcomes.record_error(batch[0], outcomes.unknown("x"))  # has an outcome already
        Delivery.objects.filter(state="sending").update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        delivery.free_expired_leases()
        delivery.free_expired_leases()
        assert list(Delivery.objects.order_by("pk").values_list("state", "lease", "tries")) == [
            ("unknown", None, 1),
            ("unknown", None, 1),
            ("queued", None, 0),
            ("queued", None, 0),
        ]
        assert Attempt.objects.filter(delivery=batch[1]).get().reply.startswith("The worker ended before")

    def test_what_a_dead_worker_may_have_sent_is_held_where_the_workflow_wants_that(self) -> None:
        stored(*[TO] * 2)
        Delivery.objects.update(hold_unknown=True)
        leases.Lease().claim()
        Delivery.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        delivery.free_expired_leases()
        assert list(Delivery.objects.order_by("pk").values_list("state", flat=True)) == ["held", "queued"]

    def test_what_is_given_back_keeps_its_place_in_the_row(self) -> None:
        stored(*[TO] * 3)
        due = dict(Delivery.objects.values_list("pk", "next_attempt_at"))
        lease = leases.Lease()
        lease.claim()
        lease.give_back()
        assert dict(Delivery.objects.values_list("pk", "next_attempt_at")) == due

    def test_what_is_given_back_is_in_the_state_that_it_was_claimed_in(self) -> None:
        stored(*[TO] * 3)
        batch = leases.Lease().claim()
        outcomes.record_error(batch[1], TransportError("later", stage=Stage.DATA, scope=Scope.MESSAGE))
        outcomes.record_error(batch[2], outcomes.unknown("lost"))
        make_due()
        Delivery.objects.filter(state="sending").update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        again = leases.Lease()
        again.take_over(batch[0].lease or new_id())
        again.give_back()
        again = leases.Lease()
        assert len(again.claim()) == 3
        again.give_back()
        assert list(Delivery.objects.order_by("pk").values_list("state", "lease")) == [
            ("queued", None),
            ("deferred", None),
            ("unknown", None),
        ]

    def test_a_lease_that_was_renewed_is_not_taken_over(self) -> None:
        stored()
        dead = leases.Lease()
        dead.claim()
        assert leases.Lease().take_over(dead.id) == 0

    def test_an_aged_lease_is_renewed_and_a_lost_one_noticed_before_the_next_mail(self) -> None:
        stored()
        lease = leases.Lease()
        [row] = lease.claim()
        before = Delivery.objects.get().lease_expires_at
        lease._renewed -= leases.RENEW_AFTER + 1
        lease._sure_at -= leases.RENEW_AFTER + 1
        assert lease.may_send(row) is True
        after = Delivery.objects.get().lease_expires_at
        assert before is not None
        assert after is not None
        assert after > before
        Delivery.objects.update(lease=new_id())
        lease._sure_at -= leases.SURE_FOR
        assert lease.may_send(row) is False

    def test_a_worker_that_loses_its_lease_in_mid_batch_sends_nothing_more(
        self, smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored(*[TO] * 4)
        write = outcomes._write

        def robbed(row: Delivery, values: dict[str, Any], **rows: Any) -> None:
            write(row, values, **rows)
            Delivery.objects.filter(state="sending").update(lease=new_id())

        monkeypatch.setattr(outcomes, "_write", robbed)
        delivery.send_due()
        assert len(relay.ledger) == 1

    def test_a_worker_that_is_told_to_stop_gives_back_what_it_has_not_begun(
        self, smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored(*[TO] * 3)
        monkeypatch.setattr("workflows.stopping.requested", lambda: len(relay.ledger) == 1)
        delivery.send_due()
        assert list(Delivery.objects.order_by("pk").values_list("state", "lease")) == [
            ("accepted", None),
            ("queued", None),
            ("queued", None),
        ]

    def test_a_batch_that_takes_too_long_is_given_back(
        self, smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "BATCH_SECONDS", -1.0)
        stored()
        delivery.send_due()
        assert (Delivery.objects.get().state, relay.ledger) == ("queued", [])
