"""The envelope that leaves behind the content of the mail before: a round trip less, and every outcome the same."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.models import SmtpIntegration
from integrations.transports import smtp as transports_smtp
from integrations.transports import smtp_line
from integrations.transports.base import Receipt, Scope, Stage, Submission, TransportError
from integrations.transports.network import Clock
from integrations.transports.smtp import SmtpSettings, SmtpTransport
from integrations.transports.smtp_envelope import TOGETHER
from integrations.transports.smtp_transaction import Transaction
from tests.effort import examples
from tests.test_runs import queued, with_tasks
from workflows import delivery, leases, runs
from workflows.models import Attempt, Delivery
from workflows.told_models import Suppression

from .fake_relay import FakeRelay
from .installation import wait_until
from .test_pipelining import DATA_REPLIES, DOT_REPLIES, EHLO, MAIL_REPLIES, NOT_OFFERED, OFFERED, RCPT_REPLIES, counted
from .test_smtp import CONTENT, mail, meaning, settings_for

LINGERING = {".": 0.02}  # so long that whatever left ahead has come


def mails(*names: str) -> list[Submission]:
    """Return a batch in which each mail names the one that follows it."""
    batch = [mail(f"{name}@x.test") for name in names]
    return [*(replace(one, following=following) for one, following in pairwise(batch)), batch[-1]]


def envelope(name: str) -> list[str]:
    return ["MAIL FROM:<a@x.test>", f"RCPT TO:<{name}@x.test>", "DATA"]


def sent(transport: SmtpTransport, batch: list[Submission]) -> list[Receipt | TransportError]:
    return [outcome_of(transport, submission) for submission in batch]


def outcome_of(transport: SmtpTransport, submission: Submission) -> Receipt | TransportError:
    try:
        return transport.send(submission)
    except TransportError as error:
        return error


def codes(outcomes: list[Receipt | TransportError]) -> list[int | None]:
    return [outcome.reply.code if outcome.reply else None for outcome in outcomes]


def takers(relay: FakeRelay) -> list[str]:
    return [address for accepted in relay.ledger for address in accepted.recipients]


def test_the_next_envelope_leaves_behind_the_content() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        transport = SmtpTransport(settings_for(relay))
        outcomes = sent(transport, mails("amy", "bob", "cat"))
        transport.close()
    assert (relay.ahead, codes(outcomes)) == ([3, 3, 0], [250] * 3)
    assert takers(relay) == ["amy@x.test", "bob@x.test", "cat@x.test"]
    assert relay.flights == [[EHLO], envelope("amy"), envelope("bob"), envelope("cat"), ["QUIT"]]


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="this system cannot hold back what is sent")
def test_it_comes_together_with_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """In two pieces it is answered in two; the second waited for an acknowledgement that our system put off: 40 ms."""
    leave = Transaction.leave_ahead
    monkeypatch.setattr(Transaction, "leave_ahead", lambda ahead: (time.sleep(0.005), leave(ahead)))
    names = [f"person-{number}" for number in range(30)]
    with FakeRelay(extensions=OFFERED) as relay:
        outcomes = sent(SmtpTransport(settings_for(relay)), mails(*names))
    assert (relay.ahead, codes(outcomes)) == ([3] * 29 + [0], [250] * 30)


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="this system does not put off what it acknowledges")
def test_what_a_relay_says_is_acknowledged_at_once() -> None:
    """Content whose length lets the relay read it in two pieces is answered in two all the same."""
    with FakeRelay(extensions=OFFERED) as relay:
        transport = SmtpTransport(settings_for(relay))
        sent(transport, mails(*"abcdefgh"))
        assert transport._session
        sock = transport._session._socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK) == 1
        transport.close()


def test_each_transcript_has_its_own_mail() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        first, second = sent(SmtpTransport(settings_for(relay)), mails("amy", "bob"))
    assert "bob" not in first.transcript
    assert second.transcript.splitlines()[-9:] == [
        "> MAIL FROM:<a@x.test>",
        "> RCPT TO:<bob@x.test>",
        "> DATA",
        "< 250 2.1.0 ok",
        "< 250 2.1.5 ok",
        "< 354 go ahead",
        f"> [{len(CONTENT)} octets of message]",
        "> .",
        "< 250 2.0.0 queued as 2",
    ]


def test_without_pipelining_nothing_leaves_ahead() -> None:
    with FakeRelay(extensions=NOT_OFFERED, slow=LINGERING) as relay:
        outcomes = sent(SmtpTransport(settings_for(relay)), mails("amy", "bob"))
    assert (relay.ahead, codes(outcomes)) == ([0, 0], [250, 250])


def test_an_envelope_of_more_than_one_flight_does_not_leave_ahead() -> None:
    long = mail(*(f"{number}@{'.'.join(['quite-a-long-label-of-a-domain'] * 7)}.test" for number in range(TOGETHER)))
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        outcomes = sent(SmtpTransport(settings_for(relay)), [replace(mail("amy@x.test"), following=long), long])
    assert (relay.ahead, codes(outcomes), len(takers(relay))) == ([0, 0], [250, 250], TOGETHER + 1)


def test_a_mail_that_is_not_sent_after_all_is_not_delivered_either() -> None:
    """It was cancelled meanwhile, or settings have changed: its DATA gets neither content nor dot."""
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        transport = SmtpTransport(settings_for(relay))
        first, _ = mails("amy", "bob")
        transport.send(first)
        transport.close()
    assert (relay.ahead, takers(relay)) == ([3], ["amy@x.test"])


def test_another_mail_than_was_expected_takes_a_fresh_session() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mails("amy", "bob")[0])
        transport.send(mail("zoe@x.test"))
    assert takers(relay) == ["amy@x.test", "zoe@x.test"]
    assert relay.connections == 2


def test_where_it_had_to_wait_for_long_a_fresh_session_is_taken() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        transport = SmtpTransport(settings_for(relay, noop_seconds=0))
        outcomes = sent(transport, mails("amy", "bob"))
    assert (codes(outcomes), relay.connections) == ([250, 250], 2)
    assert takers(relay) == ["amy@x.test", "bob@x.test"]


def test_a_session_that_ends_behind_a_mail_announces_no_other() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        transport = SmtpTransport(settings_for(relay, session_mails=2))
        sent(transport, mails("amy", "bob", "cat", "dan"))
    assert relay.ahead == [3, 0, 3, 0]
    assert relay.transcript.count("QUIT") == 1


def test_a_refused_mail_does_not_end_the_session_of_the_next() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING, replies={".": ["554 5.7.1 spam"]}) as relay:
        outcomes = sent(SmtpTransport(settings_for(relay)), mails("amy", "bob"))
    assert (codes(outcomes), takers(relay), relay.connections) == ([554, 250], ["bob@x.test"], 1)
    assert "RSET" not in relay.transcript


def test_a_refused_recipient_does_not_end_the_session_either() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING, replies={"RCPT TO:<bob@": "550 5.1.1 unknown"}) as relay:
        outcomes = sent(SmtpTransport(settings_for(relay)), mails("amy", "bob", "cat"))
    assert (codes(outcomes), relay.connections) == ([250, 550, 250], 1)
    assert takers(relay) == ["amy@x.test", "cat@x.test"]
    assert meaning(outcomes[1]) == (Stage.RCPT, Scope.RECIPIENT, True)  # type: ignore[arg-type]


def test_a_relay_that_ends_the_session_in_order_is_asked_again() -> None:
    replies: dict[str, str | list[str]] = {"MAIL": ["250 ok", "421 4.7.0 enough for one session"]}
    with FakeRelay(extensions=OFFERED, slow=LINGERING, replies=replies) as relay:
        outcomes = sent(SmtpTransport(settings_for(relay)), mails("amy", "bob", "cat"))
    assert (codes(outcomes), relay.connections, relay.ahead) == ([250] * 3, 2, [3, 3, 0])


@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_a_relay_that_does_not_understand_it_is_spared_from_then_on(fault: str) -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING, **{fault: ["MAIL FROM:<odd@"]}) as relay:
        transport = SmtpTransport(settings_for(relay, reply_seconds=0.4))
        first, odd = mail("amy@x.test"), mail("bob@x.test", sender="odd@x.test")
        transport.send(replace(first, following=odd))
        assert outcome_of(transport, odd).stage is Stage.MAIL  # type: ignore[union-attr]
        sent(transport, mails("cat", "dan"))
    assert relay.ahead == [3, 0, 0]
    assert takers(relay) == ["amy@x.test", "cat@x.test", "dan@x.test"]


def test_a_relay_that_refuses_what_left_ahead_is_asked_once_more_over_the_same_session() -> None:
    """Haraka does so since 3.3.4, for fear of smuggled mails, and goes on; so it need not be paused."""
    ahead = "503 Bad sequence of commands - pipelined after end of DATA"
    replies: dict[str, str | list[str]] = {verb: ["250 ok", ahead] for verb in ("MAIL", "RCPT")}
    replies["DATA"] = ["354 go ahead", ahead]
    with FakeRelay(extensions=OFFERED, slow=LINGERING, replies=replies) as relay:
        outcomes = sent(SmtpTransport(settings_for(relay)), mails("amy", "bob", "cat"))
    assert (codes(outcomes), relay.connections, relay.ahead) == ([250] * 3, 1, [3, 0, 0])
    assert takers(relay) == ["amy@x.test", "bob@x.test", "cat@x.test"]


def test_a_sender_that_the_relay_refuses_is_refused_all_the_same() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING, replies={"MAIL FROM:<odd@": "550 5.7.1 not you"}) as relay:
        first, odd = mail("amy@x.test"), mail("bob@x.test", sender="odd@x.test")
        outcomes = sent(SmtpTransport(settings_for(relay)), [replace(first, following=odd), odd, mail("cat@x.test")])
    assert (codes(outcomes), relay.connections) == ([250, 550, 250], 1)
    assert meaning(outcomes[1]) == (Stage.MAIL, Scope.MESSAGE, True)  # type: ignore[arg-type]


def test_a_relay_that_does_not_wait_for_the_content_is_asked_over_a_fresh_session() -> None:
    """Ours may take its time, for the database: Postfix and Exim hang up with 421, behind a 354 that still fits."""
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        transport = SmtpTransport(settings_for(relay))
        first, second = mails("amy", "bob")
        outcomes = [outcome_of(transport, first)]
        wait_until(lambda: relay.transcript.count("DATA") == 2, what="the envelope")
        time.sleep(0.05)  # its replies are on their way
        relay.hang_up()
        outcomes.append(outcome_of(transport, second))
    assert (codes(outcomes), relay.connections) == ([250, 250], 2)
    assert takers(relay) == ["amy@x.test", "bob@x.test"]


def test_a_relay_is_spared_for_a_while_by_every_session_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING, drop=["MAIL FROM:<odd@"]) as relay:
        odd = mail("bob@x.test", sender="odd@x.test")
        sent(SmtpTransport(settings_for(relay)), [replace(mail("amy@x.test"), following=odd), odd])
        sent(SmtpTransport(settings_for(relay)), mails("cat", "dan"))
        monkeypatch.setattr(transports_smtp, "SPARED_SECONDS", 0.0)
        sent(SmtpTransport(settings_for(relay)), mails("eve", "fay"))
    assert relay.ahead == [3, 0, 0, 3, 0]


def test_a_relay_that_does_not_see_the_final_dot_with_something_behind_it_costs_one_known_outcome() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING, hang=["."]) as relay:
        lost = outcome_of(SmtpTransport(settings_for(relay, final_reply_seconds=0.2)), mails("amy", "bob")[0])
        relay.hang = []
        outcomes = sent(SmtpTransport(settings_for(relay)), mails("cat", "dan"))
    assert lost.outcome_unknown  # type: ignore[union-attr]
    assert (codes(outcomes), relay.ahead[-2:]) == ([250, 250], [0, 0])


def test_the_reply_to_the_final_dot_is_none_that_came_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the dot ends a chunk, the relay may have answered it before the next thing leaves."""
    has_unheard = smtp_line.SmtpLine.has_unheard.fget
    assert has_unheard

    def look_later(self: Any) -> bool:
        time.sleep(0.05)
        return has_unheard(self)

    monkeypatch.setattr(smtp_line, "CHUNK", len(CONTENT) + len(".\r\n"))
    with FakeRelay(extensions=OFFERED) as relay:
        transport = SmtpTransport(settings_for(relay))
        first, second = mails("amy", "bob")
        transport.send(replace(first, following=None))
        monkeypatch.setattr(smtp_line.SmtpLine, "has_unheard", property(look_later))
        outcomes = sent(transport, [replace(second, following=first), first])
    assert codes(outcomes) == [250, 250]
    assert takers(relay) == ["amy@x.test", "bob@x.test", "amy@x.test"]


def test_what_cannot_leave_behind_the_final_dot_hides_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    tell_ahead = smtp_line.SmtpLine.tell_ahead

    def broken(self: Any, *commands: str) -> None:
        self.clock = Clock(0)  # the content took all the time
        tell_ahead(self, *commands)

    monkeypatch.setattr(smtp_line.SmtpLine, "tell_ahead", broken)
    with FakeRelay(extensions=OFFERED, slow=LINGERING) as relay:
        outcomes = sent(SmtpTransport(settings_for(relay)), mails("amy", "bob"))
    assert (codes(outcomes), relay.connections) == ([250, 250], 2)
    assert takers(relay) == ["amy@x.test", "bob@x.test"]


def test_a_relay_that_hangs_up_with_its_acceptance_leaves_no_doubt() -> None:
    """It has not read what came behind, so its system resets the connection; the reply lies there all the same."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=take_one_mail_each, args=(server,), daemon=True).start()
        transport = SmtpTransport(SmtpSettings("127.0.0.1", server.getsockname()[1], domain="me.test", ssl=False))
        outcomes = sent(transport, mails("amy", "bob", "cat"))
        transport.close()
    assert codes(outcomes) == [250] * 3


def take_one_mail_each(server: socket.socket) -> None:
    """Be a relay that closes after each mail, without a word and without reading on."""
    with suppress(OSError):
        while True:
            wire, _ = server.accept()
            with wire, suppress(OSError):
                wire.sendall(b"220 relay.test ESMTP\r\n")
                for end, reply in (
                    (b"test\r\n", b"250-relay.test\r\n250 PIPELINING\r\n"),
                    (b"DATA\r\n", b"250 ok\r\n250 ok\r\n354 go ahead\r\n"),
                    (b"\r\n.\r\n", b"250 queued\r\n"),
                ):
                    said = b""
                    while not said.endswith(end):
                        said += wire.recv(1) or end
                    time.sleep(0.02)
                    wire.sendall(reply)


@pytest.mark.parametrize("extra", ["250 by the way", "550 5.1.1 no such user", "220 relay.test ESMTP"])
@pytest.mark.parametrize("pause", [0, 0.1])
def test_a_reply_too_many_shifts_no_other(extra: str, pause: float) -> None:
    replies: dict[str, str | list[str]] = {".": [f"250 2.0.0 queued\n{extra}"], "RCPT TO:<eve@": "550 5.1.1 unknown"}
    two = mail("eve@x.test", "bob@x.test")
    with FakeRelay(extensions=OFFERED, slow=LINGERING | {"DATA": pause}, replies=replies) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(replace(mail("amy@x.test"), following=two))
        receipt = transport.send(two)
    assert list(receipt.refused) == ["eve@x.test"]
    assert takers(relay) == ["amy@x.test", "bob@x.test"]


def test_a_lost_reply_to_the_final_dot_is_unknown_for_that_mail_alone() -> None:
    with FakeRelay(extensions=OFFERED, slow=LINGERING, drop=["."]) as relay:
        transport = SmtpTransport(settings_for(relay))
        first, second = mails("amy", "bob")
        lost = outcome_of(transport, first)
        relay.drop = []
        assert codes([outcome_of(transport, second)]) == [250]
    assert lost.outcome_unknown  # type: ignore[union-attr]
    assert takers(relay) == ["amy@x.test", "bob@x.test"]


def all_of(relay: FakeRelay, batch: list[Submission]) -> Any:
    """Send a batch; return all that became of it."""
    transport = SmtpTransport(settings_for(relay, reply_seconds=2, final_reply_seconds=2))
    outcomes = [said(outcome) for outcome in sent(transport, batch)]
    relay.replies = {}
    outcomes.append(said(outcome_of(transport, mail("zoe@x.test"))))
    transport.close()
    return outcomes, [(one.sender, one.recipients, one.content) for one in relay.ledger]


def said(outcome: Receipt | TransportError) -> Any:
    if isinstance(outcome, Receipt):
        return counted(outcome.reply), outcome.refused
    return outcome.text, meaning(outcome), outcome.reply, outcome.refused, outcome.retry_after, outcome.outcome_unknown


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(MAIL_REPLIES),
    st.lists(st.sampled_from(RCPT_REPLIES), min_size=1, max_size=3),
    st.sampled_from(DATA_REPLIES),
    st.lists(st.sampled_from(DOT_REPLIES), min_size=3, max_size=3),
)
def test_the_outcome_is_the_same_whether_it_left_ahead_or_not(
    to_mail: str, to_rcpt: list[str], to_data: str, to_dots: list[str]
) -> None:
    """Whatever is said to the second of three mails is said each time, and to DATA of the third as well."""
    recipients = [f"r{number}@x.test" for number in range(len(to_rcpt))]
    second = mail(*recipients, sender="second@x.test")
    replies: dict[str, str | list[str]] = {"MAIL FROM:<second@": to_mail, ".": [dot or "250 ok" for dot in to_dots]}
    if to_data and to_mail in ("", "250 ok") and any(reply in ("", "251 forwarded") for reply in to_rcpt):
        replies["DATA"] = ["354 go ahead", *[to_data] * 9]  # without a recipient, a dot for nobody would use up a reply
    replies |= {f"RCPT TO:<{address}>": reply for address, reply in zip(recipients, to_rcpt, strict=True)}
    replies = {point: reply for point, reply in replies.items() if reply}
    plain = [mail("amy@x.test"), second, mail("cat@x.test")]
    named = [replace(plain[0], following=second), replace(second, following=plain[2]), plain[2]]
    with FakeRelay(OFFERED, replies=replies) as ahead, FakeRelay(OFFERED, replies=replies) as usual:
        assert all_of(ahead, named) == all_of(usual, plain)
        assert not [line for line in ahead.transcript if "early" in line]


# In a batch


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay(extensions=OFFERED, slow=LINGERING, user="user", password="right horse") as server:
        yield server


def batch_of(*names: str) -> list[Delivery]:
    run = queued(with_tasks(*({"to": [f"{name}@example.org"]} for name in names)))
    runs.execute_due()
    return list(run.deliveries.order_by("pk"))


@pytest.mark.django_db
@pytest.mark.usefixtures("live_router")
class TestBatch:
    def test_the_mails_of_a_batch_follow_one_another(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        batch_of("amy", "bob", "cat")
        delivery.send_due()
        assert (relay.ahead, relay.connections) == ([3, 3, 0], 1)
        assert [row.state for row in Delivery.objects.all()] == ["accepted"] * 3
        assert [one.sender for one in relay.ledger] == ["desk@example.com"] * 3

    def test_whoever_is_suppressed_or_cancelled_meanwhile_gets_nothing(
        self, smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Their names have left with the first mail's content, and theirs stays here."""
        _, bob, _, dan = batch_of("amy", "bob", "cat", "dan")
        record = delivery.record_receipt

        def meanwhile(*args: Any, **kwargs: Any) -> None:
            record(*args, **kwargs)
            Delivery.objects.filter(pk=bob.pk).update(lease=None, lease_expires_at=None, state="cancelled")
            Suppression.objects.update_or_create({"kind": "bounce", "since": timezone.now()}, address="dan@example.org")

        monkeypatch.setattr(delivery, "record_receipt", meanwhile)
        delivery.send_due()  # ends where a mail is not ours any more
        delivery.send_due()
        assert takers(relay) == ["amy@example.org", "cat@example.org"]
        assert not Attempt.objects.filter(delivery__in=[bob, dan], outcome="accepted").exists()

    def test_who_is_known_to_be_suppressed_is_not_announced(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        """Each would cost the session, and tell the relay a name for nothing."""
        batch_of("amy", "bob", "cat", "dan")
        Suppression.objects.create(address="bob@example.org", kind="bounce", since=timezone.now())
        delivery.send_due()
        assert takers(relay) == ["amy@example.org", "cat@example.org", "dan@example.org"]
        assert (relay.ahead, relay.connections) == ([0, 3, 0], 1)

    def test_with_a_rate_limit_nothing_leaves_ahead(self, smtp: SmtpIntegration, relay: FakeRelay) -> None:
        SmtpIntegration.objects.update(rate_limit=100)
        batch_of("amy", "bob")
        delivery.send_due()
        assert (relay.ahead, relay.connections) == ([0, 0], 1)

    def test_a_large_mail_is_read_in_its_turn(
        self, smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "SMALL", 10)
        batch_of("amy", "bob")
        delivery.send_due()
        assert (relay.ahead, len(relay.ledger)) == ([0, 0], 2)

    def test_settings_that_change_meanwhile_act_on_the_next_mail(
        self, smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch_of("amy", "bob")
        record = delivery.record_receipt

        def meanwhile(*args: Any, **kwargs: Any) -> None:
            record(*args, **kwargs)
            SmtpIntegration.objects.update(default_from="Other <other@example.com>")

        monkeypatch.setattr(delivery, "record_receipt", meanwhile)
        delivery.send_due()
        assert relay.ahead[0] == 3
        assert [one.sender for one in relay.ledger] == ["desk@example.com", "other@example.com"]
        assert relay.ledger[1].content.startswith(b"From: Other <other@example.com>")

    def test_a_defect_in_the_next_mail_is_told_in_its_turn(
        self, smtp: SmtpIntegration, relay: FakeRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, bob, _ = batch_of("amy", "bob", "cat")
        message = delivery.StoredMail.message

        def stumble(self: delivery.StoredMail, **options: Any) -> Any:
            return message(self, **options) if self.delivery.pk != bob.pk else 1 // 0

        monkeypatch.setattr(delivery.StoredMail, "message", stumble)
        delivery.send_due()
        assert [row.state for row in Delivery.objects.order_by("pk")] == ["accepted", "unknown", "accepted"]
        assert takers(relay) == ["amy@example.org", "cat@example.org"]
