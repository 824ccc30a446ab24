"""What a relay says of one recipient holds up nobody else: words of real servers, replayed."""

from __future__ import annotations

from typing import Any

import pytest

from integrations.models import ProviderState, SmtpIntegration
from integrations.transports.base import Reply, Scope, Stage
from workflows import delivery
from workflows.models import Delivery

from .fake_relay import FakeRelay
from .test_delivery import make_due, said, stored
from .test_pipelining import NOT_OFFERED, OFFERED
from .test_smtp import fail, mail, meaning, send

PUT_OFF = ["450 4.7.0 Greylisted for 5 minutes", "451 4.7.0 Temporarily rejected", "451 4.3.2 busy", "454 later"]
DROPPED = "550 Too many bad recipients"  # Exim's verb 'drop'; Haraka's DENYDISCONNECT does the same
HUNG_UP = Reply(None, "The relay hung up when it had refused another one", "4.4.2")
either_way = pytest.mark.parametrize("extensions", [OFFERED, NOT_OFFERED])


@either_way
@pytest.mark.parametrize("reply", PUT_OFF)
@pytest.mark.parametrize("late", ["amy", "bob", "cat"])
def test_who_is_put_off_while_others_are_taken_waits_alone(extensions: tuple[str, ...], reply: str, late: str) -> None:
    with FakeRelay(extensions=extensions, replies={f"RCPT TO:<{late}@": reply}) as relay:
        receipt = send(relay, mail("amy@x.test", "bob@x.test", "cat@x.test"))
    assert [str(words) for words in receipt.refused.values()] == [reply]
    assert list(receipt.refused) == [f"{late}@x.test"]
    assert [one.recipients for one in relay.ledger] == [
        tuple(f"{name}@x.test" for name in ("amy", "bob", "cat") if name != late)
    ]


@either_way
def test_where_nobody_is_taken_it_is_about_us(extensions: tuple[str, ...]) -> None:
    replies: dict[str, str | list[str]] = {"RCPT TO:<amy@": "550 5.1.1 unknown", "RCPT": "450 4.7.0 too much mail"}
    with FakeRelay(extensions=extensions, replies=replies) as relay:
        error = fail(relay, mail("amy@x.test", "bob@x.test", "cat@x.test"))
    assert meaning(error) == (Stage.RCPT, Scope.PROVIDER, False)
    assert error.text == "The relay answered 450 4.7.0 too much mail"
    assert error.refused["amy@x.test"] == Reply(550, "unknown", "5.1.1")
    assert relay.transcript[-1] == "QUIT"


@either_way
@pytest.mark.parametrize("reply", ["450 4.7.0 Greylisted for 5 minutes", "421 4.7.0 Greylisting in action"])
def test_greylisting_of_the_only_recipient_is_no_fault_of_the_relay(extensions: tuple[str, ...], reply: str) -> None:
    with FakeRelay(extensions=extensions, replies={"RCPT": reply}) as relay:
        error = fail(relay, mail("amy@x.test"))
    assert meaning(error) == (Stage.RCPT, Scope.RECIPIENT, False)


BOB: dict[str, Any] = {"replies": {"RCPT TO:<bob@": DROPPED}, "closes": ["RCPT TO:<bob@"]}


@either_way
@pytest.mark.parametrize("names", [("amy", "bob", "cat"), ("bob", "amy"), ("amy", "bob")])
def test_who_is_refused_together_with_the_connection_is_not_named_again(
    extensions: tuple[str, ...], names: tuple[str, ...]
) -> None:
    with FakeRelay(extensions=extensions, **BOB) as relay:
        error = fail(relay, mail(*(f"{name}@x.test" for name in names)))
    assert meaning(error) == (Stage.RCPT, Scope.RECIPIENT, False)
    others = {f"{name}@x.test": HUNG_UP for name in names if name != "bob"}
    assert error.refused == {"bob@x.test": Reply(550, "Too many bad recipients")} | others
    assert relay.ledger == []


@either_way
def test_a_relay_that_hangs_up_without_a_refusal_is_at_fault(extensions: tuple[str, ...]) -> None:
    with FakeRelay(extensions=extensions, replies={"RCPT TO:<amy@": DROPPED}, drop=["DATA"]) as relay:
        error = fail(relay, mail("amy@x.test", "bob@x.test"))
    assert meaning(error) == (Stage.DATA, Scope.PROVIDER, False)
    assert error.refused == {"amy@x.test": Reply(550, "Too many bad recipients")}


@pytest.mark.usefixtures("live_router")
def test_the_others_get_the_mail_in_the_next_attempt_and_no_provider_is_paused(
    smtp: SmtpIntegration, relay: FakeRelay
) -> None:
    relay.replies, relay.closes = BOB["replies"], BOB["closes"]
    stored({"to": ["amy@example.org", "bob@example.org"]})
    delivery.send_due()
    assert Delivery.objects.get().reason == f"amy@example.org deferred: {HUNG_UP}; bob@example.org refused: {DROPPED}"
    make_due()
    delivery.send_due()
    assert [one.recipients for one in relay.ledger] == [("amy@example.org",)]
    assert [row[:2] for row in said()] == [("amy@example.org", "accepted"), ("bob@example.org", "refused")]
    assert not ProviderState.objects.filter(paused_at__isnull=False).exists()
