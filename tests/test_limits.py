"""Limits of an integration, shared by all workers: mails in a time, and simultaneous sessions."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.mail import EmailMessage, get_connection, send_mail
from django.db import InterfaceError, connection
from django.test import Client
from django.utils import timezone

from integrations import limits, pauses
from integrations.limits import Limits, Session
from integrations.models import ProviderState, SessionSlot, SmtpIntegration
from integrations.transports.base import TransportError
from integrations.transports.pool import POOL
from integrations.transports.smtp import SmtpSettings
from tests.fake_relay import FakeRelay
from tests.meanwhile import before_update
from tests.test_runs import queued, with_tasks
from workflows import delivery, runs
from workflows.models import Attempt, Delivery

pytestmark = pytest.mark.usefixtures("live_router")

TWO_AT_ONCE = Limits(sessions=2)


def limit(**values: Any) -> None:
    SmtpIntegration.objects.update(**values)


def mails(number: int) -> None:
    queued(with_tasks(*({"to": [f"r{one}@example.org"]} for one in range(number))))
    runs.execute_due()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Limits()),
        ({"rate_limit": 4}, Limits(interval=timedelta(seconds=0.25))),
        ({"rate_limit": 10, "rate_per": "minute"}, Limits(interval=timedelta(seconds=6))),
        ({"session_limit": 3}, Limits(sessions=3)),
    ],
)
def test_limits_come_from_the_row(values: dict[str, Any], expected: Limits) -> None:
    assert Limits.of(SmtpIntegration(**values)) == expected
    assert Limits.of("smtp://default-sender") == Limits()


@pytest.mark.django_db
class TestRate:
    def test_mails_are_spread_evenly(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        limit(rate_limit=20)
        mails(5)
        began = time.monotonic()
        delivery.send_due()
        assert len(relay.ledger) == 5
        assert time.monotonic() - began >= 4 / 20

    def test_what_would_have_to_wait_long_waits_in_the_database(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        limit(rate_limit=1, rate_per="minute")
        mails(3)
        assert [delivery.send_due() for _ in range(4)] == [False] * 4
        assert len(relay.ledger) == 1
        assert list(Delivery.objects.order_by("pk").values_list("state", "tries")) == [
            ("accepted", 1),
            ("queued", 0),
            ("queued", 0),
        ]
        assert Attempt.objects.count() == 1, "waiting is no attempt"
        ProviderState.objects.update(next_turn_at=timezone.now())
        delivery.send_due()
        assert len(relay.ledger) == 2

    def test_a_turn_that_somebody_else_has_taken_meanwhile_is_not_taken_twice(
        self, db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        second, seen = timedelta(seconds=1), timezone.now() - timedelta(hours=1)
        taken = ProviderState.objects.create(name="smtp", next_turn_at=timezone.now() + second / 4).next_turn_at
        answers, look = [seen], limits._next_turn_at
        monkeypatch.setattr(limits, "_next_turn_at", lambda name: answers.pop() if answers else look(name))
        limits.take_turn("smtp", Limits(interval=second))
        assert ProviderState.objects.get().next_turn_at == (taken or seen) + second

    def test_nothing_is_claimed_before_the_next_turn_is_near(
        self, smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limit(rate_limit=1, rate_per="minute")
        mails(2)
        delivery.send_due()
        monkeypatch.setattr("workflows.leases.Lease.claim", lambda _: 1 / 0)
        assert delivery.send_due() is False

    def test_a_worker_waits_as_long_as_no_sweep_comes_so_that_no_turn_passes_unused(
        self, smtp: SmtpIntegration, settings: Any
    ) -> None:
        state, limit_ = ProviderState.objects.create(name="smtp"), Limits(interval=timedelta(minutes=1))
        for seconds, waits in ((settings.SWEEP_SECONDS - 0.1, True), (settings.SWEEP_SECONDS + 1, False)):
            state.next_turn_at = timezone.now() + timedelta(seconds=seconds)
            state.save()
            with nullcontext() if waits else pytest.raises(TransportError, match="limit of mails"):
                limits.demand_turn("smtp", limit_)

    def test_a_turn_that_a_wrong_clock_took_far_ahead_is_ignored(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        limit(rate_limit=10)
        ProviderState.objects.create(name="smtp", next_turn_at=timezone.now() + timedelta(days=1))
        send_mail("Hello", "World", None, ["a@example.org"])
        assert len(relay.ledger) == 1

    def test_without_a_limit_nothing_is_written(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        mails(2)
        delivery.send_due()
        assert len(relay.ledger) == 2
        assert not ProviderState.objects.exists()
        assert not SessionSlot.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_workers_share_the_rate() -> None:
    interval = Limits(interval=timedelta(seconds=0.05))
    taken: list[float] = []

    def work() -> None:
        for _ in range(5):
            limits.take_turn("smtp", interval)
            taken.append(time.monotonic())
        connection.close()

    began = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 15
    assert max(taken) - began >= 14 * 0.05


@pytest.mark.django_db(transaction=True)
def test_workers_that_come_at_once_share_the_sessions() -> None:
    start, refused = threading.Barrier(6), []

    def work() -> None:
        start.wait()
        try:
            Session().take("smtp", TWO_AT_ONCE)
        except TransportError as error:
            refused.append(error)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(refused), SessionSlot.objects.exclude(holder=None).count()) == (4, 2)


def test_slots_and_probes_outlast_a_mail_and_the_wait_for_its_turn() -> None:
    settings = SmtpSettings("relay")
    mail = timedelta(seconds=settings.total_seconds + settings.final_reply_seconds) + limits.PATIENCE
    assert mail < limits.SLOT
    assert mail < pauses.PROBE


@pytest.mark.django_db
class TestSessions:
    def test_so_many_and_no_more(self) -> None:
        one, two, three = Session(), Session(), Session()
        one.take("smtp", TWO_AT_ONCE)
        two.take("smtp", TWO_AT_ONCE)
        one.take("smtp", TWO_AT_ONCE)
        with pytest.raises(TransportError, match="simultaneous sessions") as caught:
            three.take("smtp", TWO_AT_ONCE)
        assert caught.value.untried
        three.take("sendgrid", TWO_AT_ONCE)
        one.free()
        three.take("smtp", TWO_AT_ONCE)
        assert SessionSlot.objects.filter(provider="sendgrid", holder=None).count() == 2, "it left the other one"

    def test_the_slot_of_a_dead_worker_is_free_after_a_while(self) -> None:
        Session().take("smtp", Limits(sessions=1))
        for until in (timezone.now() - timedelta(seconds=1), timezone.now() + timedelta(days=1)):  # a wrong clock's
            SessionSlot.objects.update(until=until)
            Session().take("smtp", Limits(sessions=1))

    def test_a_slot_that_somebody_else_takes_meanwhile_is_not_taken_twice(self) -> None:
        one, other = Limits(sessions=1), Session()
        with (
            before_update("integrations_sessionslot", lambda: other.take("smtp", one)),
            pytest.raises(TransportError, match="simultaneous sessions"),
        ):
            Session().take("smtp", one)

    def test_each_mail_renews_the_slot(self) -> None:
        session = Session()
        session.take("smtp", Limits(sessions=1))
        SessionSlot.objects.update(until=timezone.now() + timedelta(seconds=1))
        session.take("smtp", Limits(sessions=1))
        with time_machine.travel(timezone.now() + timedelta(seconds=100)), pytest.raises(TransportError):
            Session().take("smtp", Limits(sessions=1))

    def test_a_lower_limit_counts_at_once(self) -> None:
        held = [Session() for _ in range(2)]
        for session in held:
            session.take("smtp", TWO_AT_ONCE)
        held[0].free()
        with pytest.raises(TransportError):
            Session().take("smtp", Limits(sessions=0))

    def test_a_batch_holds_one_and_gives_it_back_with_its_session(
        self, smtp: SmtpIntegration, relay: FakeRelay
    ) -> None:
        limit(session_limit=1)
        mails(3)
        delivery.send_due()
        assert len(relay.ledger) == 3
        assert [line for line in relay.transcript if line in ("EHLO [127.0.0.1]", "QUIT")] == [
            "EHLO [127.0.0.1]",
            "QUIT",
        ]
        assert list(SessionSlot.objects.values_list("holder", flat=True)) == [None]

    def test_where_none_is_free_nothing_is_claimed(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        limit(session_limit=1)
        mails(1)
        other = Session()
        other.take("smtp", Limits(sessions=1))
        assert delivery.send_due() is False
        assert (relay.ledger, Delivery.objects.get().state) == ([], "queued")
        other.free()
        delivery.send_due()
        assert len(relay.ledger) == 1

    def test_a_single_mail_gives_it_back_too(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        limit(session_limit=1)
        for _ in range(2):
            send_mail("Hello", "World", None, ["a@example.org"])
        mailer = get_connection()
        mailer.open()
        EmailMessage("Hello", "World", None, ["a@example.org"], connection=mailer).send()
        assert SessionSlot.objects.exclude(holder=None).count() == 1
        mailer.close()
        assert SessionSlot.objects.exclude(holder=None).count() == 0
        assert len(relay.ledger) == 3

    @pytest.fixture(autouse=True)
    def _no_session_before(self) -> None:
        POOL.close()


@pytest.mark.django_db
class TestForm:
    PAGE = "/configuration/integrations/smtp/"

    def post(self, client: Client, smtp: SmtpIntegration, **values: str) -> Any:
        fixed = {"address": "127.0.0.1", "port": str(smtp.port), "user_name": "user", "authentication": "plain"}
        fixed |= {"openssl_verify_mode": "none", "default_from": "desk@example.com", "allow_clear_text_auth": "on"}
        return client.post(self.PAGE, fixed | values)

    def test_limits_are_saved_without_asking_for_the_password(self, as_admin: Client, smtp: SmtpIntegration) -> None:
        answer = self.post(as_admin, smtp, rate_limit="30", rate_per="minute", session_limit="2")
        assert answer.status_code == 302
        smtp.refresh_from_db()
        assert (smtp.rate_limit, smtp.rate_per, smtp.session_limit) == (30, "minute", 2)
        self.post(as_admin, smtp, rate_limit="", rate_per="second", session_limit="")
        smtp.refresh_from_db()
        assert (smtp.rate_limit, smtp.rate_per, smtp.session_limit) == (None, "second", None)

    @pytest.mark.parametrize(("field", "value"), [("rate_limit", "0"), ("session_limit", "-1"), ("rate_limit", "many")])
    def test_impossible_ones_are_refused_beside_their_field(
        self, as_admin: Client, smtp: SmtpIntegration, field: str, value: str
    ) -> None:
        page = self.post(as_admin, smtp, **{field: value}).content.decode()
        assert f'id="id_{field}_error"' in page
        assert '<details class="more" open>' in page


@pytest.mark.django_db
def test_a_slot_that_cannot_be_freed_does_not_hide_that_the_mail_was_accepted(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(session_limit=1)
    renew = Session._renew

    def stumble(*_: object, **__: object) -> None:
        raise InterfaceError("connection already closed")

    def lose_the_database(self: Session, name: str) -> int:
        monkeypatch.setattr(SessionSlot.objects, "filter", stumble)
        return renew(self, name) if self.provider != name else 1

    mailer = get_connection()
    mailer.open()
    monkeypatch.setattr(Session, "_renew", lose_the_database)
    EmailMessage("Hello", "World", None, ["a@example.org"], connection=mailer).send()
    mailer.close()
    assert len(relay.ledger) == 1
