"""A relay that says too much, too early, or in two voices: nothing it did not take counts as accepted."""

from __future__ import annotations

import pytest

from integrations.transports.base import Scope, Stage, TransportError
from integrations.transports.smtp import SmtpTransport
from integrations.transports.smtp_line import CHUNK

from .fake_relay import FakeRelay
from .test_smtp import CONTENT, fail, mail, meaning, send, settings_for

PIPELINED = ("PIPELINING", "ENHANCEDSTATUSCODES")
LARGE = CONTENT + b"x" * 70 + b"\r\n"
LARGE += (b"y" * 70 + b"\r\n") * (64 * CHUNK // 72)


@pytest.mark.parametrize(
    "reply",
    [
        *("221 4.4.2 idle too long", "220 relay.test ESMTP", "200 ok"),
        *("550-5.7.1 rejected\n250 x", "2500 ok", "250-ok\n550 no"),
    ],
)
def test_what_is_no_acceptance_of_the_mail_leaves_it_unknown(reply: str) -> None:
    with FakeRelay(replies={".": reply}) as relay:
        error = fail(relay)
    assert (error.outcome_unknown, error.scope) == (True, Scope.PROVIDER)
    assert reply.split("\n")[0][4:] in error.text


def test_a_refusal_in_two_codes_of_one_kind_is_a_refusal() -> None:
    with FakeRelay(replies={"MAIL": "550-5.7.1 rejected\n554 5.7.1 indeed"}) as relay:
        assert meaning(fail(relay)) == (Stage.MAIL, Scope.MESSAGE, True)


@pytest.mark.parametrize("extensions", [(), PIPELINED])
@pytest.mark.parametrize("extra", ["250 2.1.5 one too many", "550 5.1.1 one too many"])
def test_a_reply_too_many_blames_no_recipient(extensions: tuple[str, ...], extra: str) -> None:
    replies: dict[str, str | list[str]] = {"MAIL": f"250 ok\n{extra}", "RCPT TO:<gone@": "550 5.1.1 no such user"}
    with FakeRelay(extensions=extensions, replies=replies) as relay:
        error = fail(relay, mail("good@x.test", "gone@x.test"))
    assert (error.scope, error.permanent, error.refused) == (Scope.PROVIDER, False, {})
    assert relay.ledger == []


def test_a_reply_too_many_behind_a_refused_mail_does_not_reach_the_next() -> None:
    replies: dict[str, str | list[str]] = {
        ".": ["554 5.7.1 spam\n250 one too many"],
        "RCPT TO:<gone@": "550 5.1.1 no such user",
    }
    with FakeRelay(replies=replies, slow={"RSET": 0.1}) as relay:
        transport = SmtpTransport(settings_for(relay))
        with pytest.raises(TransportError) as caught:
            transport.send(mail())
        receipt = transport.send(mail("gone@x.test", "good@x.test"))
        transport.close()
    assert (caught.value.permanent, caught.value.code) == (True, 554)
    assert list(receipt.refused) == ["gone@x.test"]
    assert relay.transcript.count("EHLO me.test") == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("552 5.3.4 too big for this relay", (Scope.MESSAGE, True, 552)),
        ("451 4.3.0 no room just now", (Scope.MESSAGE, False, 451)),
        ("421 4.3.2 going down", (Scope.PROVIDER, False, 421)),
        ("250 2.0.0 early", (Scope.PROVIDER, False, None)),
    ],
)
def test_what_a_relay_says_before_it_has_the_whole_mail_is_heard(
    words: str, expected: tuple[Scope, bool, int | None]
) -> None:
    with FakeRelay(interrupts=words) as relay:
        error = fail(relay, mail(content=LARGE))
    assert (error.scope, error.permanent, error.code) == expected
    assert words[10:] in error.text
    assert not error.outcome_unknown
    assert "* The message was broken off." in error.transcript
    assert "octets of message" not in error.transcript


def test_a_slow_relay_gets_the_mail_for_those_whom_it_took() -> None:
    people = [f"{number}@x.test" for number in range(50)]
    with FakeRelay(slow={"RCPT": 0.1}) as relay:
        receipt = send(relay, mail(*people), total_seconds=2.0)
    [taken] = relay.ledger
    assert 0 < len(taken.recipients) < 50
    assert sorted([*taken.recipients, *receipt.refused]) == sorted(people)
    assert {(reply.enhanced, reply.permanent) for reply in receipt.refused.values()} == {("4.5.3", False)}
