"""A provider that fails is paused for every worker; one mail tries it again, and people are told."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.mail import get_connection, send_mail
from django.db import DatabaseError, InterfaceError
from django.test import Client
from django.utils import timezone

from integrations import alerts, jobs, pauses, services
from integrations.models import AuditEvent, ProviderState, SendGridIntegration, SmtpIntegration
from integrations.transports.base import Reply, Scope, Stage, TransportError
from rootmail.celery import try_default_sender_again
from tests.damage import lose_key_of
from tests.fake_relay import FakeRelay
from tests.fake_sendgrid import FakeSendGrid, refuse
from tests.meanwhile import before_update
from tests.test_search import made
from tests.test_services import SMTP
from workflows import heartbeat

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router")]


def send(to: str = "a@example.org") -> None:
    send_mail("Hello", "World", None, [to])


def fail() -> TransportError:
    with pytest.raises(TransportError) as caught:
        send()
    return caught.value


def let_time_pass() -> None:
    ProviderState.objects.filter(next_try_at__isnull=False).update(next_try_at=timezone.now())


def state() -> ProviderState:
    return ProviderState.objects.get()


def auth_attempts(relay: FakeRelay) -> int:
    return len([line for line in relay.transcript if line.startswith("AUTH")])


def fault(code: int, stage: Stage, *, enhanced: str = "", text: str = "") -> TransportError:
    return TransportError.from_reply(Reply(code, text, enhanced), stage=stage)


@pytest.mark.parametrize(
    ("error", "failures", "delay"),
    [
        (TransportError("no answer", stage=Stage.CONNECT, scope=Scope.PROVIDER), 0, 10),
        (TransportError("no answer", stage=Stage.CONNECT, scope=Scope.PROVIDER), 2, 60),
        (TransportError("no answer", stage=Stage.CONNECT, scope=Scope.PROVIDER), 99, 600),
        (TransportError("the certificate", stage=Stage.TLS, scope=Scope.PROVIDER), 0, 10),
        (fault(421, Stage.MAIL, enhanced="4.7.0"), 1, 30),
        (fault(421, Stage.MAIL, text="try again in 20 minutes"), 1, 1200),
        (fault(421, Stage.MAIL, text="try again in 90 hours"), 1, 86400),
        (fault(454, Stage.AUTH, enhanced="4.7.0"), 0, 10),
        (fault(432, Stage.MAIL, enhanced="4.3.2"), 0, 10),
        (fault(550, Stage.MAIL, enhanced="5.4.5"), 0, 10),
        (fault(535, Stage.AUTH, enhanced="5.7.8"), 0, None),
        (fault(535, Stage.AUTH, enhanced="5.7.139"), 0, None),
        (fault(534, Stage.AUTH), 5, None),
        (fault(504, Stage.AUTH), 0, None),
        (fault(530, Stage.MAIL, enhanced="5.7.0"), 0, None),
        (fault(530, Stage.MAIL, enhanced="5.7.57"), 0, None),
    ],
)
def test_how_long_a_fault_pauses(error: TransportError, failures: int, delay: int | None) -> None:
    assert pauses.next_delay(error, failures=failures) == delay


def test_greylisting_of_a_whole_mail_pauses_nobody_else(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {".": ["451 4.7.1 Try again in 5 minutes"]}
    error = fail()
    assert (error.scope, error.retry_after) == (Scope.MESSAGE, 300)
    send("b@example.org")
    assert [mail.recipients for mail in relay.ledger] == [("b@example.org",)]


def test_waits_are_scattered() -> None:
    error = TransportError("no answer", stage=Stage.CONNECT, scope=Scope.PROVIDER)
    assert [pauses.next_delay(error, failures=9, scatter=part) for part in (0, 0.5, 1)] == [600, 660, 720]


def test_a_wrong_password_is_tried_once_until_a_person_says_so(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.password = "another one"
    assert fail().code == 535
    for _ in range(3):
        error = fail()
        assert (error.untried, error.retry_after, error.scope) == (True, None, Scope.PROVIDER)
        assert "535" in error.text
    let_time_pass()
    assert fail().untried
    assert auth_attempts(relay) == 1
    relay.password = "right horse"
    assert pauses.try_now("smtp", actor="ada")
    send()
    assert (len(relay.ledger), state().paused_at, state().failures) == (1, None, 0)
    actions = list(AuditEvent.objects.order_by("pk").values_list("actor", "action"))
    assert actions == [
        ("rootmail itself", "smtp paused"),
        ("ada", "smtp to be tried now"),
        ("rootmail itself", "smtp open again"),
    ]


def test_a_relay_that_breaks_off_again_and_again_does_not_fill_the_audit_log(smtp: SmtpIntegration) -> None:
    error = TransportError("421 too many", stage=Stage.MAIL, scope=Scope.PROVIDER)
    for _ in range(20):
        pauses.begin("smtp", error)
        pauses.lift("smtp", version=pauses.version_of("smtp"))
    recorded = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert [*recorded] == ["smtp paused", "smtp open again"]
    pauses.begin("smtp", error)
    assert len(recorded.all()) == 2, "it may pass"
    let_time_pass()
    pauses.begin("smtp", error)
    pauses.begin("smtp", error)
    pauses.lift("smtp", version=pauses.version_of("smtp"))
    assert [*recorded.all()][2:] == ["smtp paused", "smtp open again"], "it has not"


def test_a_relay_that_is_down_is_tried_by_one_mail_at_a_time_with_growing_waits(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    relay.replies = {"CONNECT": "421 4.3.2 no service"}
    waits, since = [], set()
    for _ in range(4):
        before = timezone.now()
        assert not fail().untried
        assert fail().untried, "nobody else tries meanwhile"
        assert state().next_try_at is not None
        waits.append(round((state().next_try_at - before).total_seconds()))  # type: ignore[operator]
        since.add(state().paused_at)
        let_time_pass()
    for seen, expected in zip(waits, pauses.DELAYS, strict=False):
        assert expected <= seen <= expected * 1.2 + 1
    assert (AuditEvent.objects.count(), len(since)) == (1, 1), "one pause, however often it was tried"
    relay.replies = {}
    send()
    send("b@example.org")
    assert len(relay.ledger) == 2


def test_while_a_probe_is_under_way_everybody_else_waits(smtp: SmtpIntegration) -> None:
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    let_time_pass()
    assert pauses.admit("smtp") == pauses.Admission(probing=True)
    with pytest.raises(TransportError, match="smtp is paused: down"):
        pauses.admit("smtp")
    with pytest.raises(TransportError, match="smtp is paused: down"):
        get_connection().open()
    ProviderState.objects.update(probe_until=timezone.now() - timedelta(seconds=1))  # it died
    assert pauses.admit("smtp").probing


def test_a_mail_is_no_probe_where_the_settings_change_or_another_one_is_meanwhile(smtp: SmtpIntegration) -> None:
    for meanwhile in (lambda: pauses.forget("smtp", proven=False), lambda: pauses.admit("smtp")):
        pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
        let_time_pass()
        with before_update("integrations_providerstate", meanwhile), pytest.raises(TransportError, match="is paused"):
            pauses.admit("smtp")


def test_a_straggler_does_not_lengthen_the_pause(smtp: SmtpIntegration) -> None:
    error = TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER)
    pauses.begin("smtp", error)
    seen = state().next_try_at
    for _ in range(3):
        pauses.begin("smtp", error)
    assert (state().failures, state().next_try_at) == (1, seen)


def test_a_probe_that_took_too_long_lengthens_the_pause_all_the_same(smtp: SmtpIntegration) -> None:
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    let_time_pass()
    pauses.admit("smtp")
    ProviderState.objects.update(probe_until=timezone.now() - timedelta(seconds=1))
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    assert (state().failures, state().probe_until) == (2, None)


def test_a_straggler_whose_credentials_were_refused_ends_the_trying(smtp: SmtpIntegration) -> None:
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    pauses.begin("smtp", fault(535, Stage.AUTH))
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    assert (state().failures, state().next_try_at) == (2, None)
    assert "535" in state().reason


def test_a_refusal_of_the_mail_itself_shows_that_the_provider_works(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"CONNECT": "421 busy"}
    fail()
    relay.replies = {"DATA": "554 5.7.1 spam"}
    let_time_pass()
    assert fail().scope == Scope.MESSAGE
    assert state().paused_at is None


def test_a_mail_that_never_came_to_the_provider_proves_nothing_and_leaves_the_probe_to_another(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    services.connect("smtp", {"domain": "mail.example.com"}, actor="ada", check=False)
    with pytest.raises(TransportError, match="belongs to this installation") as caught:
        send_mail("Hello", "World", "x@rootmail.example", ["a@example.org"])
    assert caught.value.scope == Scope.MESSAGE
    assert (state().paused_at is None, state().probe_until, relay.transcript) == (False, None, [])
    assert pauses.admit("smtp").probing


def test_a_defect_of_ours_leaves_the_probe_to_another(smtp: SmtpIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    let_time_pass()
    with monkeypatch.context() as patch:
        patch.setattr("integrations.backends.hand_over", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            send()
    assert pauses.admit("smtp").probing


def test_what_was_accepted_under_old_settings_does_not_prove_the_new_ones(smtp: SmtpIntegration) -> None:
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    let_time_pass()
    old = pauses.admit("smtp")
    assert old.probing
    services.connect("smtp", {"domain": "mail.example.com"}, actor="ada", check=False)
    pauses.note_success("smtp", old)
    pauses.note_error(_by_smtp(fault(554, Stage.DATA)), old)
    assert state().paused_at is not None
    assert pauses.admit("smtp").probing


def test_a_mail_that_waited_for_its_turn_while_the_settings_changed_leaves_with_the_new_ones(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    smtp.password, smtp.rate_limit = "of yesterday", 100
    smtp.save()

    def wait(name: str, _: object) -> None:
        monkeypatch.undo()
        services.connect(name, {"password": "right horse"}, actor="ada", check=False)

    monkeypatch.setattr("integrations.limits.take_turn", wait)
    send()
    assert (len(relay.ledger), auth_attempts(relay), state().paused_at) == (1, 1, None)


def test_a_probe_whose_answer_was_not_heard_has_shown_nothing(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"CONNECT": "421 busy"}
    fail()
    relay.replies, relay.drop = {}, ["."]
    let_time_pass()
    assert fail().outcome_unknown
    assert (state().failures, state().paused_at is None) == (2, False)


def test_an_unheard_answer_pauses_too_so_that_the_next_mail_does_not_meet_the_same(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    relay.drop = ["."]
    assert fail().outcome_unknown
    assert fail().untried
    assert len(relay.ledger) == 1


def test_other_settings_end_the_pause_and_what_fails_under_the_old_ones_counts_no_more(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    refused = fault(535, Stage.AUTH)
    old = pauses.admit("smtp")
    pauses.note_error(_by_smtp(refused), old)
    assert state().paused_at is not None
    values = {**SMTP, "address": "127.0.0.1", "port": relay.port, "user_name": "user", "password": "right horse"}
    values |= {"ssl": False, "enable_starttls": False, "allow_clear_text_auth": True, "openssl_verify_mode": "none"}
    services.connect("smtp", values, actor="ada")
    assert state().paused_at is None
    pauses.note_error(_by_smtp(refused), old)  # a worker that had begun before
    assert state().paused_at is None


def _by_smtp(error: TransportError) -> TransportError:
    error.provider = "smtp"
    return error


def test_connected_without_a_check_one_mail_alone_tries_it(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.password = "another one"
    services.connect("smtp", {"domain": "mail.example.com"}, actor="ada", check=False)
    assert pauses.admit("smtp").probing
    with pytest.raises(TransportError, match="Connected without a check"):
        pauses.admit("smtp")
    ProviderState.objects.update(probe_until=None)
    assert fail().code == 535
    assert fail().untried
    assert auth_attempts(relay) == 1


def test_a_restart_tries_the_default_sender_again_since_its_settings_may_be_others(
    relay: FakeRelay, settings: Any, db: None
) -> None:
    url = "smtp://user:{}@127.0.0.1:" + f"{relay.port}?starttls=off&allow_clear_text_auth=1"
    settings.DEFAULT_SENDER_URL = url.format("wrong")
    assert fail().code == 535
    settings.DEFAULT_SENDER_URL = url.format("right%20horse")
    assert fail().untried
    try_default_sender_again()
    send()
    assert (len(relay.ledger), state().paused_at) == (1, None)


def test_disconnecting_ends_the_pause_and_mail_leaves_through_the_next(
    smtp: SmtpIntegration, sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid, relay: FakeRelay
) -> None:
    relay.password = "another one"
    fail()
    assert sendgrid_api.ledger == [], "no fall-through"
    services.disconnect("smtp", actor="ada")
    send()
    assert len(sendgrid_api.ledger) == 1
    assert ProviderState.objects.get(pk="smtp").paused_at is None


@pytest.mark.parametrize(
    ("status", "words", "until_changed"),
    [
        (401, "wrong credentials", True),
        (403, "access forbidden", True),
        (401, "Maximum credits exceeded", False),
        (403, "You are temporarily blocked", False),
        (429, "too many requests", False),
    ],
)
def test_sendgrid_pauses_too(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid, status: int, words: str, until_changed: bool
) -> None:
    sendgrid_api.answer = refuse(status, words)
    assert fail().code == status
    assert (state().next_try_at is None) == until_changed
    assert fail().untried


def test_credentials_that_cannot_be_read_pause_and_are_looked_at_again(smtp: SmtpIntegration) -> None:
    lose_key_of(smtp, "password")
    assert "cannot be decrypted" in fail().text
    assert state().next_try_at is not None


@pytest.mark.parametrize("trouble", [DatabaseError("away"), InterfaceError("connection already closed")])
def test_a_fault_that_cannot_be_noted_does_not_hide_the_error(
    smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def stumble(*_: object, **__: object) -> None:
        raise trouble

    relay.password = "another one"
    with monkeypatch.context() as patch:
        patch.setattr(pauses, "begin", stumble)
        assert fail().code == 535
    relay.password = "right horse"
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    let_time_pass()
    monkeypatch.setattr(pauses, "lift", stumble)
    send()
    assert len(relay.ledger) == 1, "accepted is accepted"


def test_a_clock_that_was_wrong_for_a_moment_does_not_stop_the_mail(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    pauses.begin("smtp", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
    year = timezone.now() + timedelta(days=365)
    ProviderState.objects.update(paused_at=year, next_try_at=year, probe_until=year)
    send()
    assert len(relay.ledger) == 1


@pytest.mark.parametrize(("code", "mails"), [(421, 1), (535, 0)])
def test_a_pause_that_begins_in_the_future_is_over_unless_only_people_can_end_it(
    smtp: SmtpIntegration, relay: FakeRelay, code: int, mails: int
) -> None:
    """A clock that was ahead has noted it."""
    soon = timezone.now() + timedelta(hours=2)
    pauses.begin("smtp", _by_smtp(fault(code, Stage.AUTH, text="not now")))
    ProviderState.objects.update(paused_at=soon)
    ProviderState.objects.filter(next_try_at__isnull=False).update(next_try_at=soon)
    with suppress(TransportError):
        send()
    assert len(relay.ledger) == mails


def test_a_fault_after_a_pause_from_the_future_waits_as_always(smtp: SmtpIntegration) -> None:
    down = TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER)
    pauses.begin("smtp", down)
    soon = timezone.now() + timedelta(hours=2)
    ProviderState.objects.update(paused_at=soon, next_try_at=soon)
    assert pauses.admit("smtp").probing
    pauses.begin("smtp", down)
    assert state().paused_at <= timezone.now() < state().next_try_at < soon
    with pytest.raises(TransportError, match="smtp is paused: down"):
        pauses.admit("smtp")


def test_a_test_mail_and_a_check_end_the_wait(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    down = TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER)
    pauses.begin("smtp", down)
    jobs.check({"kind": "smtp", "values": None}, lambda report: None)
    assert state().next_try_at is not None
    assert state().next_try_at <= timezone.now()  # type: ignore[operator]
    sent = jobs.send_test_mail({"kind": "smtp", "to": "a@example.org", "actor": "ada"}, lambda report: None)
    assert sent["ok"]
    assert state().paused_at is None


def test_a_check_that_fails_ends_no_wait(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.password = "another one"
    fail()
    assert not jobs.check({"kind": "smtp", "values": None}, lambda report: None)["ok"]
    assert state().next_try_at is None


class TestPages:
    CATALOGUE, TRY = "/configuration/integrations/", "/configuration/integrations/smtp/try/"

    @pytest.fixture(autouse=True)
    def _a_worker(self) -> None:
        heartbeat.beat()

    def pause(self, **changes: Any) -> None:
        pauses.begin("smtp", _by_smtp(fault(535, Stage.AUTH, enhanced="5.7.8", text="no <b>such</b> user")))
        ProviderState.objects.update(**changes)

    def test_card_and_banner_say_why_mail_waits(self, as_admin: Client, smtp: SmtpIntegration) -> None:
        assert "Paused" not in as_admin.get(self.CATALOGUE).content.decode()
        self.pause()
        page = as_admin.get(self.CATALOGUE).content.decode()
        assert ">Paused</span>" in page
        assert "Mail waits for SMTP. Paused since" in page
        assert "535 5.7.8 no &lt;b&gt;such&lt;/b&gt; user" in page
        assert "0 deliveries wait; none is lost, and none goes another way." in page
        assert "not tried again before its settings are changed" in page

    def test_everybody_sees_the_banner(self, client: Client, member: User, smtp: SmtpIntegration) -> None:
        self.pause()
        client.force_login(member)
        assert "Mail waits for SMTP." in client.get("/").content.decode()

    def test_a_mail_that_is_due_waits_for_the_provider(self, as_admin: Client, smtp: SmtpIntegration) -> None:
        row = made("due", next_attempt_at=timezone.now() - timedelta(minutes=5))
        assert "It waits for a worker." in as_admin.get(f"/deliveries/{row.pk}/").content.decode()
        self.pause()
        page = as_admin.get(f"/deliveries/{row.pk}/").content.decode()
        assert "It waits for its provider" in page
        assert "It waits for a worker." not in page
        assert "<dt>Due since</dt>" in page, "no attempt comes at a time that is over"
        assert "<dt>Next attempt</dt>" not in page

    def test_try_now(self, as_admin: Client, smtp: SmtpIntegration) -> None:
        self.pause()
        page = as_admin.post(self.TRY, follow=True).content.decode()
        assert "The next mail tries SMTP again." in page
        assert as_admin.post("/configuration/integrations/nothing/try/").status_code == 404
        assert pauses.admit("smtp").probing

    def test_what_is_not_in_force_holds_up_nothing(
        self, as_admin: Client, smtp: SmtpIntegration, sendgrid: SendGridIntegration
    ) -> None:
        self.pause(name="sendgrid")
        ProviderState.objects.filter(pk="smtp").delete()
        page = as_admin.get(self.CATALOGUE).content.decode()
        assert "Mail waits for" not in page
        assert ">Paused</span>" in page

    def test_connected_without_a_check_is_no_alarm(self, as_admin: Client, smtp: SmtpIntegration) -> None:
        services.connect("smtp", {"domain": "mail.example.com"}, actor="ada", check=False)
        page = as_admin.get(self.CATALOGUE).content.decode()
        assert "the next mail will show whether it works" in page
        assert ">Paused</span>" not in page
        assert "Mail waits for" not in page

    @pytest.mark.parametrize(
        ("next_try", "words"),
        [(timedelta(seconds=90), "The next try is at"), (timedelta(seconds=-1), "The next mail tries it again.")],
    )
    def test_it_says_when_it_goes_on(self, next_try: timedelta, words: str) -> None:
        now = timezone.now()
        row = ProviderState(name="smtp", paused_at=now, next_try_at=now + next_try, failures=1, reason="Down.")
        assert words in pauses.in_words(row)

    def test_long_words_of_a_server_do_not_fill_every_page(self, as_admin: Client, smtp: SmtpIntegration) -> None:
        self.pause(reason="no " * 500)
        page = as_admin.get("/").content.decode()
        banner = re.search(r'class="banner".*?<span>(.*?)</span>', page, re.S)
        assert banner
        assert 200 < len(banner[1]) < 400
        assert "… It is not tried again" in banner[1]

    def test_an_old_pause_has_its_date(self) -> None:
        at = datetime(2026, 3, 4, 5, 6, tzinfo=timezone.get_default_timezone())
        row = ProviderState(name="smtp", paused_at=at, failures=1, reason="Down.")
        assert pauses.in_words(row).startswith("Paused since 4 March, 05:06. Down. It is not tried again before")


class TestAlerts:
    @pytest.fixture
    def outbox(self, live_router: Any, team: dict[str, User]) -> Any:
        return live_router

    def mails(self, outbox: Any) -> list[str]:
        """Return each mail's headers and its text, decoded: versions of Django fold and encode differently."""
        found = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in outbox.glob("*.eml")]
        return sorted("\n".join([*map(": ".join, one.items()), one.get_content()]) for one in found)

    def pause(self, *, ago: timedelta = timedelta(minutes=2), code: int = 421) -> None:
        pauses.begin("smtp", _by_smtp(fault(code, Stage.AUTH, text="not now")))
        ProviderState.objects.update(paused_at=timezone.now() - ago)

    def test_two_workers_at_once_tell_once(self, smtp: SmtpIntegration, outbox: Any) -> None:
        self.pause()
        with before_update("integrations_providerstate", alerts.tell_admins):
            alerts.tell_admins()
        assert len(self.mails(outbox)) == 1

    def test_an_alert_is_marked_as_automatic_and_names_no_machine(self, smtp: SmtpIntegration, outbox: Any) -> None:
        self.pause()
        alerts.tell_admins()
        [told] = self.mails(outbox)
        assert "\nAuto-Submitted: auto-generated\n" in told
        assert re.search(r"\nMessage-ID: <\S+@rootmail\.example>\n", told, re.IGNORECASE)

    def test_connected_without_a_check_is_no_news(self, smtp: SmtpIntegration, outbox: Any) -> None:
        services.connect("smtp", {"domain": "mail.example.com"}, actor="ada", check=False)
        ProviderState.objects.update(paused_at=timezone.now() - timedelta(days=1))
        alerts.tell_admins()
        assert self.mails(outbox) == []

    def test_what_is_not_in_force_is_no_news(
        self, smtp: SmtpIntegration, sendgrid: SendGridIntegration, outbox: Any
    ) -> None:
        self.pause()
        ProviderState.objects.update(name="sendgrid")
        alerts.tell_admins()
        assert self.mails(outbox) == []
        SmtpIntegration.objects.all().delete()
        lose_key_of(sendgrid, "api_key")
        alerts.tell_admins()
        assert len(self.mails(outbox)) == 1

    def test_the_admins_are_told_once_through_the_default_sender(self, smtp: SmtpIntegration, outbox: Any) -> None:
        User.objects.create_superuser("gone", "gone@example.com", "x", is_active=False)
        self.pause()
        for _ in range(3):
            alerts.tell_admins()
        [mail] = self.mails(outbox)
        assert "To: admin@example.com" in mail
        assert "Subject: rootmail: SMTP is paused, mail waits" in mail
        assert "421 not now" in mail
        assert "configuration/integrations/" in mail
        assert "example.com" not in mail.replace("admin@example.com", "")

    def test_a_moment_wakes_nobody_but_refused_credentials_do(self, smtp: SmtpIntegration, outbox: Any) -> None:
        self.pause(ago=timedelta(seconds=5))
        alerts.tell_admins()
        assert self.mails(outbox) == []
        ProviderState.objects.all().delete()
        self.pause(ago=timedelta(seconds=5), code=535)
        alerts.tell_admins()
        assert len(self.mails(outbox)) == 1

    @pytest.mark.parametrize(
        ("told", "paused", "again"),
        [
            (timedelta(minutes=50), timedelta(minutes=2), False),
            (timedelta(minutes=70), timedelta(minutes=2), True),
            (timedelta(hours=20), timedelta(hours=21), False),
            (timedelta(hours=25), timedelta(hours=26), True),
            (timedelta(seconds=-5), timedelta(minutes=2), False),
            (timedelta(days=-365), timedelta(minutes=2), True),  # by a clock that was ahead
            (timedelta(days=-365), timedelta(days=-365), True),
        ],
    )
    def test_at_most_one_mail_an_hour_and_one_a_day_for_the_same_pause(
        self, smtp: SmtpIntegration, outbox: Any, told: timedelta, paused: timedelta, again: bool
    ) -> None:
        self.pause(ago=paused)
        ProviderState.objects.update(told_at=timezone.now() - told)
        alerts.tell_admins()
        assert len(self.mails(outbox)) == again

    def test_the_default_sender_cannot_tell_of_its_own_pause(self, outbox: Any) -> None:
        pauses.begin("default", TransportError("down", stage=Stage.CONNECT, scope=Scope.PROVIDER))
        ProviderState.objects.update(paused_at=timezone.now() - timedelta(hours=1))
        alerts.tell_admins()
        assert self.mails(outbox) == []

    def test_where_it_cannot_be_told_it_is_tried_again(self, smtp: SmtpIntegration, outbox: Any, settings: Any) -> None:
        self.pause()
        good, settings.DEFAULT_SENDER_URL = settings.DEFAULT_SENDER_URL, "smtp://127.0.0.1:1"
        alerts.tell_admins()
        assert state().told_at is None
        settings.DEFAULT_SENDER_URL = good
        alerts.tell_admins()
        assert len(self.mails(outbox)) == 1

    @pytest.fixture
    def crowd(self, smtp: SmtpIntegration, relay: FakeRelay, settings: Any) -> set[str]:
        """More Admins than are named in one transaction; the way out for news about SMTP is the same relay."""
        new = [User(username=f"admin{number}", email=f"admin{number}@example.com") for number in range(120)]
        Group.objects.get(name="Admin").user_set.add(*User.objects.bulk_create(new))
        settings.DEFAULT_SENDER_URL = (
            f"smtp://user:right%20horse@127.0.0.1:{relay.port}?starttls=off&allow_clear_text_auth=1"
        )
        self.pause()
        return {one.email for one in new}

    def test_each_of_many_admins_is_told_once(self, crowd: set[str], relay: FakeRelay) -> None:
        relay.replies = {"RCPT admin7@": ["452 4.5.3 too many recipients"]}
        alerts.tell_admins()
        told = [address for mail in relay.ledger for address in mail.recipients]
        assert len(told) == 120
        assert set(told) == crowd
        assert AuditEvent.objects.get(action="admins told of a pause").details["people"] == 120
        alerts.tell_admins()
        assert len(relay.ledger) == 3

    def test_where_some_could_not_be_told_the_others_are_not_told_again(
        self, crowd: set[str], relay: FakeRelay, caplog: pytest.LogCaptureFixture
    ) -> None:
        relay.replies = {"MAIL": ["250 2.1.0 fine", "451 4.3.0 later"]}
        for _ in range(2):
            alerts.tell_admins()
        assert [len(mail.recipients) for mail in relay.ledger] == [50]
        assert "70 of the admins could not be told" in caplog.text
        assert AuditEvent.objects.get(action="admins told of a pause").details["people"] == 50
