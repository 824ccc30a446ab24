"""The daily check of what is connected: when it is due, what it writes down, and what its card says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from integrations import jobs, pauses, rechecks, services, trials
from integrations.catalogue import cards
from integrations.models import KINDS, AuditEvent, SendGridIntegration, SmtpIntegration
from integrations.transports.base import Scope, Stage, TransportError

from .fake_relay import FakeRelay
from .fake_sendgrid import FakeSendGrid, message_id

pytestmark = pytest.mark.django_db

TASK = "integrations.tasks.recheck_integrations"


def make_due() -> None:
    for model in KINDS.values():
        model._default_manager.update(next_check_at=timezone.now() - timedelta(seconds=1))


def recheck() -> None:
    make_due()
    jobs.recheck_due()


def problem_of(kind: str) -> str:
    return str(KINDS[kind]._default_manager.get().check_problem)


def actions() -> list[str]:
    return list(AuditEvent.objects.filter(action__contains="check").order_by("pk").values_list("action", flat=True))


def test_beat_asks_every_few_minutes_what_is_due() -> None:
    assert settings.CELERY_BEAT_SCHEDULE["recheck"]["task"] == TASK


def test_a_check_that_passes_leaves_no_trace_but_the_next_one(sendgrid: SendGridIntegration, sendgrid_api: Any) -> None:
    recheck()
    assert sendgrid_api.requests == ["GET /v3/scopes"]
    sendgrid.refresh_from_db()
    assert (sendgrid.check_problem, sendgrid.check_failed_at, actions()) == ("", None, [])
    assert sendgrid.next_check_at
    assert timedelta(hours=19) < sendgrid.next_check_at - timezone.now() < timedelta(hours=28)


def test_the_first_check_comes_at_some_time_within_the_day(sendgrid: SendGridIntegration, sendgrid_api: Any) -> None:
    jobs.recheck_due()
    sendgrid.refresh_from_db()
    assert sendgrid.next_check_at
    assert sendgrid_api.requests == []
    assert timezone.now() - timedelta(seconds=1) < sendgrid.next_check_at < timezone.now() + timedelta(hours=8)


def test_what_is_due_is_checked_once_however_many_beats_ring(
    smtp: SmtpIntegration, sendgrid: SendGridIntegration, relay: FakeRelay, sendgrid_api: FakeSendGrid
) -> None:
    recheck()
    for _ in range(3):
        jobs.recheck_due()
    assert sendgrid_api.requests == ["GET /v3/scopes"]
    assert sum(line.startswith("AUTH") for line in relay.transcript) == 1


def test_connect_sets_the_time_and_forgets_what_was_found(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    sendgrid_api.scopes = ()
    recheck()
    services.connect("sendgrid", {"default_from": "new@example.com"}, actor="ada", check=False)
    sendgrid.refresh_from_db()
    assert (sendgrid.check_problem, sendgrid.check_failed_at) == ("", None)
    assert sendgrid.next_check_at
    assert sendgrid.next_check_at > timezone.now() + timedelta(hours=19)


def test_disconnect_forgets_it_too(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    sendgrid_api.scopes = ()
    recheck()
    services.disconnect("sendgrid", actor="ada")
    sendgrid.refresh_from_db()
    assert (sendgrid.check_problem, sendgrid.check_failed_at, sendgrid.next_check_at) == ("", None, None)


def test_a_key_that_lost_its_permission_turns_the_card_red_and_green_again(
    as_admin: Client, sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    sendgrid_api.scopes = ("alerts.read",)
    recheck()
    why = "The API key is valid but may not send mail: give it the permission &#x27;Mail Send&#x27;."
    page = as_admin.get("/configuration/integrations/").content.decode()
    assert "Check failed" in page
    assert why in page
    sendgrid_api.scopes = ("mail.send",)
    recheck()
    page = as_admin.get("/configuration/integrations/").content.decode()
    assert "Check failed" not in page
    assert why not in page
    assert actions() == ["sendgrid check failed", "sendgrid passes its check again"]


def test_what_fails_twice_is_one_entry_of_the_audit_log(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    sendgrid_api.scopes = ()
    recheck()
    recheck()
    assert actions() == ["sendgrid check failed"]


def test_what_may_mend_itself_is_looked_at_again_within_the_hour(sendgrid: SendGridIntegration) -> None:
    sendgrid.base_url = "http://127.0.0.1:1"
    sendgrid.save()
    recheck()
    sendgrid.refresh_from_db()
    assert sendgrid.next_check_at
    assert sendgrid.next_check_at <= timezone.now() + timedelta(hours=1)


def test_refused_credentials_are_shown_once_a_day(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.password = "another horse"
    recheck()
    jobs.recheck_due()
    smtp.refresh_from_db()
    assert sum(line.startswith("AUTH") for line in relay.transcript) == 1
    assert smtp.next_check_at
    assert smtp.next_check_at > timezone.now() + timedelta(hours=19)
    assert smtp.check_problem


def test_a_refused_key_is_shown_once_a_day(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    sendgrid_api.api_key = "SG.another"
    recheck()
    jobs.recheck_due()
    sendgrid.refresh_from_db()
    assert sendgrid_api.requests == ["GET /v3/scopes"]
    assert sendgrid.next_check_at
    assert sendgrid.next_check_at > timezone.now() + timedelta(hours=19)


def test_what_is_stored_encrypted_is_not_in_the_reason(smtp: SmtpIntegration) -> None:
    smtp.address, smtp.port = "localhost", 1
    smtp.save()
    recheck()
    reason = problem_of("smtp")
    assert reason
    assert "localhost" not in reason + str([event.details for event in AuditEvent.objects.all()])


def test_nothing_is_checked_while_mail_is_paused(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    pauses.begin("sendgrid", TransportError("busy", stage=Stage.HTTP, scope=Scope.PROVIDER))
    recheck()
    assert sendgrid_api.requests == []
    pauses.lift("sendgrid", version=pauses.version_of("sendgrid"))
    jobs.recheck_due()
    assert sendgrid_api.requests == ["GET /v3/scopes"], "it is still due"


def test_what_is_not_connected_is_not_checked(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    services.disconnect("sendgrid", actor="ada")
    recheck()
    assert sendgrid_api.requests == []


def test_what_was_found_under_other_settings_counts_for_nothing(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    sendgrid_api.scopes = ()
    found = jobs.diagnose(sendgrid)
    version = pauses.version_of("sendgrid")
    pauses.forget("sendgrid", proven=True)
    rechecks.note(sendgrid, found, kind="sendgrid", version=version)
    assert problem_of("sendgrid") == ""


@pytest.mark.usefixtures("live_router")
def test_a_mail_that_is_accepted_ends_the_alarm(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    SendGridIntegration.objects.update(check_problem="SendGrid answered 503", check_failed_at=timezone.now())
    EmailMessage("S", "T", "a@example.com", ["b@x.test"]).send()
    assert (len(sendgrid_api.ledger), problem_of("sendgrid")) == (1, "")


def test_a_test_mail_that_is_accepted_ends_it_as_well(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    SendGridIntegration.objects.update(check_problem="SendGrid answered 503", check_failed_at=timezone.now())
    sent = trials.send_test_mail("sendgrid", "eve@x.test", actor="ada")
    assert (sent["ok"], sent["code"], sent["reply"]) == (True, 202, f"queued as {message_id(1)}")
    assert problem_of("sendgrid") == ""
    assert sendgrid_api.ledger[0]["custom_args"] == {"rootmail_message_id": sent["message_id"]}


@pytest.mark.usefixtures("live_router")
def test_a_mail_stays_accepted_where_that_cannot_be_noted(
    sendgrid: SendGridIntegration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    SendGridIntegration.objects.update(check_problem="SendGrid answered 503")
    monkeypatch.setattr(rechecks, "_clear", fail)
    assert EmailMessage("S", "T", "a@example.com", ["b@x.test"]).send() == 1


def test_a_check_by_hand_is_written_down_as_well(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    sendgrid_api.scopes = ()
    assert not services.check("sendgrid", actor="ada").ok
    assert problem_of("sendgrid")
    sendgrid_api.scopes = ("mail.send",)
    assert services.check("sendgrid", actor="ada").ok
    assert problem_of("sendgrid") == ""


def test_a_pause_says_it_instead(sendgrid: SendGridIntegration) -> None:
    SendGridIntegration.objects.update(check_problem="SendGrid answered 503", check_failed_at=timezone.now())
    pauses.begin("sendgrid", TransportError("busy", stage=Stage.HTTP, scope=Scope.PROVIDER))
    state = pauses.paused("sendgrid")
    assert state
    assert [card.problem for card in cards({"sendgrid": state})] == ["", "", ""]
    assert [card.problem for card in cards()] == ["", "SendGrid answered 503", ""]
