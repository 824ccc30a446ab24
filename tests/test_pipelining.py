"""PIPELINING (RFC 2920): the envelope in one flight, and every outcome the same as without it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations.transports.base import Reply, Scope, Stage, TransportError
from integrations.transports.smtp import SmtpTransport
from integrations.transports.smtp_envelope import FLIGHT_BYTES, TOGETHER
from tests.effort import examples

from .fake_relay import Accepted, FakeRelay
from .test_smtp import CONTENT, MAIL, fail, mail, meaning, send, settings_for

OFFERED = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
NOT_OFFERED = OFFERED[1:]
EHLO = "EHLO me.test"


def test_the_envelope_leaves_in_one_flight() -> None:
    with FakeRelay(extensions=OFFERED, slow={"MAIL": 0.05}) as relay:
        receipt = send(relay, mail("amy@x.test", "bob@x.test"))
    envelope = [MAIL[0], "RCPT TO:<amy@x.test>", "RCPT TO:<bob@x.test>", "DATA"]
    assert relay.flights == [[EHLO], envelope, ["QUIT"]]
    assert relay.transcript == [EHLO, *envelope, MAIL[-1], "QUIT"]
    assert relay.ledger == [Accepted("a@x.test", ("amy@x.test", "bob@x.test"), CONTENT)]
    assert receipt.reply == Reply(250, "queued as 1", "2.0.0")


def test_without_the_offer_every_command_waits_for_its_reply() -> None:
    with FakeRelay(extensions=NOT_OFFERED, slow={"": 0.02}) as relay:
        send(relay, mail("amy@x.test", "bob@x.test"))
    assert [len(flight) for flight in relay.flights] == [1] * 6
    assert not [line for line in relay.transcript if "early" in line]


def test_two_mails_take_two_round_trips_each() -> None:
    with FakeRelay(extensions=OFFERED, slow={"MAIL": 0.02}) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail())
        transport.send(mail())
    assert relay.flights == [[EHLO], MAIL[:3], MAIL[:3]]


def test_a_refused_recipient_does_not_hold_up_the_others() -> None:
    with FakeRelay(extensions=OFFERED, replies={"RCPT TO:<bob@": "550 5.1.1 no such user"}) as relay:
        receipt = send(relay, mail("amy@x.test", "bob@x.test", "cat@x.test"))
    assert receipt.refused == {"bob@x.test": Reply(550, "no such user", "5.1.1")}
    assert relay.ledger == [Accepted("a@x.test", ("amy@x.test", "cat@x.test"), CONTENT)]


def test_where_nobody_is_accepted_no_content_is_sent_and_the_session_goes_on() -> None:
    with FakeRelay(extensions=OFFERED, replies={"RCPT": ["550 5.1.1 unknown"]}) as relay:
        transport = SmtpTransport(settings_for(relay))
        with pytest.raises(TransportError) as caught:
            transport.send(mail())
        transport.send(mail())
    assert meaning(caught.value) == (Stage.RCPT, Scope.RECIPIENT, True)
    assert relay.transcript == [EHLO, *MAIL[:3], "RSET", *MAIL]


def test_a_354_for_nobody_is_answered_with_a_lone_dot() -> None:
    with FakeRelay(extensions=OFFERED, replies={"RCPT": ["550 5.1.1 unknown"], "DATA": ["354 go on"]}) as relay:
        transport = SmtpTransport(settings_for(relay))
        with pytest.raises(TransportError):
            transport.send(mail())
        transport.send(mail())
    assert relay.transcript == [EHLO, *MAIL[:3], "(0 bytes)", "RSET", *MAIL]
    assert [accepted.content for accepted in relay.ledger] == [CONTENT]


def test_a_relay_that_refuses_the_sender_and_takes_the_rest_gets_no_empty_mail() -> None:
    replies: dict[str, str | list[str]] = {"MAIL": "550 5.7.60 no", "RCPT": "250 ok", "DATA": "354 go on"}
    with FakeRelay(extensions=OFFERED, replies=replies) as relay:
        error = fail(relay)
    assert (*meaning(error), error.code) == (Stage.MAIL, Scope.MESSAGE, True, 550)
    assert relay.transcript == [EHLO, *MAIL[:3]]
    assert relay.ledger == []


def test_a_354_to_anything_but_data_gets_no_dot() -> None:
    replies: dict[str, str | list[str]] = {"MAIL": "550 no", "RCPT TO:<amy@": "354 what", "RCPT TO:<bob@": "250 ok"}
    with FakeRelay(extensions=OFFERED, replies=replies | {"DATA": "354 go"}) as relay:
        fail(relay, mail("amy@x.test", "bob@x.test"))
    assert relay.ledger == []
    assert not [line for line in relay.transcript if "bytes" in line]


def test_every_reply_of_a_flight_has_its_own_time() -> None:
    with FakeRelay(extensions=OFFERED, slow={"RCPT": 0.3}) as relay:
        recipients = [f"{name}@x.test" for name in "abcde"]  # together longer than one reply may take
        assert send(relay, mail(*recipients), reply_seconds=1).reply.code == 250


@pytest.mark.parametrize("reply", ["421 4.7.0 too many connections", "530 5.7.0 log in first"])
def test_a_fault_of_the_relay_in_the_middle_of_a_flight_hands_nothing_over(reply: str) -> None:
    with FakeRelay(extensions=OFFERED, replies={"RCPT TO:<bob@": reply}) as relay:
        error = fail(relay, mail("amy@x.test", "bob@x.test", "cat@x.test"))
    assert meaning(error) == (Stage.RCPT, Scope.PROVIDER, False)
    assert not error.outcome_unknown
    assert relay.ledger == []
    assert "(0 bytes)" not in relay.transcript


@pytest.mark.parametrize("death", ["421 4.4.2 idle too long", "421"])
def test_a_kept_session_that_died_is_replaced_once(death: str) -> None:
    with FakeRelay(extensions=OFFERED, replies={"MAIL": ["250 ok", death]}) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail())
        transport.send(mail())
    assert len(relay.ledger) == 2
    assert relay.transcript.count(EHLO) == 2


def test_a_kept_session_that_was_cut_is_replaced_once() -> None:
    with FakeRelay(extensions=OFFERED) as relay:
        transport = SmtpTransport(settings_for(relay))
        transport.send(mail())
        relay.hang_up()
        transport.send(mail())
    assert len(relay.ledger) == 2


@pytest.mark.parametrize(("point", "stage"), [("MAIL", Stage.MAIL), ("RCPT", Stage.RCPT), ("DATA", Stage.DATA)])
@pytest.mark.parametrize("fault", ["drop", "hang", "drip"])
def test_a_connection_lost_before_the_content_is_certainly_not_accepted(point: str, stage: Stage, fault: str) -> None:
    with FakeRelay(extensions=OFFERED, **{fault: [point]}) as relay:
        error = fail(relay, reply_seconds=0.4)
    assert meaning(error) == (stage, Scope.PROVIDER, False)
    assert not error.outcome_unknown
    assert relay.ledger == []


@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_a_connection_lost_in_the_middle_of_the_content_is_certainly_not_accepted(fault: str) -> None:
    more_than_any_buffer = CONTENT + (b"x" * 998 + b"\r\n") * 10_000
    with FakeRelay(extensions=OFFERED, **{fault: ["CONTENT"]}) as relay:
        error = fail(relay, mail(content=more_than_any_buffer), total_seconds=3)
    assert meaning(error) == (Stage.DATA, Scope.PROVIDER, False)
    assert not error.outcome_unknown
    assert relay.ledger == []


def test_a_lost_reply_to_the_final_dot_leaves_the_outcome_unknown() -> None:
    with FakeRelay(extensions=OFFERED, drop=["."]) as relay:
        assert fail(relay).outcome_unknown
    assert len(relay.ledger) == 1


def test_long_recipients_leave_in_flights_that_fit_into_buffers() -> None:
    recipients = [f"{number}@{'.'.join(['quite-a-long-label-of-a-domain'] * 7)}.test" for number in range(TOGETHER)]
    with FakeRelay(extensions=OFFERED) as relay:
        receipt = send(relay, mail(*recipients))
    assert relay.ledger[0].recipients == tuple(recipients)
    assert receipt.refused == {}
    sizes = [sum(len(line) + 2 for line in flight) for flight in relay.flights]
    assert max(sizes) <= 2 * FLIGHT_BYTES, "a flight may arrive together with the one behind it"
    assert len(relay.flights) < 8


def test_those_beyond_fifty_come_in_the_next_attempt() -> None:
    recipients = [f"{number}@x.test" for number in range(TOGETHER + 1)]
    with FakeRelay(extensions=OFFERED) as relay:
        receipt = send(relay, mail(*recipients))
    assert relay.ledger[0].recipients == tuple(recipients[:TOGETHER])
    assert receipt.refused == {recipients[-1]: Reply(None, "Others come first", "4.5.3")}


def test_a_refusal_of_the_mail_says_nothing_of_those_who_would_have_come_next() -> None:
    with FakeRelay(extensions=OFFERED, replies={"RCPT TO:<0@": "550 5.1.1 unknown", ".": "554 5.7.1 spam"}) as relay:
        error = fail(relay, mail(*(f"{number}@x.test" for number in range(TOGETHER + 1))))
    assert (meaning(error), list(error.refused)) == ((Stage.DATA, Scope.MESSAGE, True), ["0@x.test"])


def test_where_the_first_fifty_are_all_refused_the_others_still_come() -> None:
    with FakeRelay(extensions=OFFERED, replies={"RCPT": "550 5.1.1 unknown"}) as relay:
        error = fail(relay, mail(*(f"{number}@x.test" for number in range(TOGETHER + 1))))
    assert meaning(error) == (Stage.RCPT, Scope.RECIPIENT, False)
    assert [address for address, reply in error.refused.items() if not reply.permanent] == [f"{TOGETHER}@x.test"]


def test_recipients_beyond_ascii_are_left_out_of_the_flight() -> None:
    with FakeRelay(extensions=OFFERED) as relay:
        receipt = send(relay, mail("bö@x.test", "amy@x.test"))
        error = fail(relay, mail("bö@x.test"))
    assert list(receipt.refused) == ["bö@x.test"]
    assert relay.ledger[0].recipients == ("amy@x.test",)
    assert meaning(error) == (Stage.RCPT, Scope.RECIPIENT, True)
    assert not [line for line in relay.transcript if "bö" in line]


# The same outcome, whatever the relay answers

USUAL = ["", "", ""]
MAIL_REPLIES = [*USUAL, "250 ok", "451 4.3.0 later", "550 5.7.60 no", "421 4.7.0 busy", "530 5.7.0 log in", "354 what"]
RCPT_REPLIES = [*USUAL, "251 forwarded", "450 4.7.1 greylisted", "550 5.1.1 unknown", "452 4.2.2 full", "421 busy"]
RCPT_REPLIES += ["451 4.3.2 slow down", "535 5.7.8 no", "334 what"]
DATA_REPLIES = [*USUAL, "354 go", "451 4.3.0 later", "554 5.5.1 no", "421 4.3.0 closing", "250 what"]
DOT_REPLIES = [*USUAL, "250 ok", "452 4.3.1 no room", "554 5.7.1 spam", "421 4.3.0 closing", "199 what"]


def outcome(relay: FakeRelay, recipients: list[str]) -> Any:
    """Send one mail as the script has it and one more without it; return all that became of both."""
    transport = SmtpTransport(settings_for(relay, reply_seconds=2, final_reply_seconds=2))
    try:
        receipt = transport.send(mail(*recipients))
        first: Any = replace(receipt, milliseconds=0, reply=counted(receipt.reply))
    except TransportError as error:
        first = (error.text, meaning(error), error.reply, error.refused, error.retry_after, error.outcome_unknown)
    relay.replies = {}
    second = transport.send(mail("zoe@x.test", sender="zed@x.test")).reply.code
    transport.close()
    return first, second, [(one.sender, one.recipients, one.content) for one in relay.ledger]


def counted(reply: Reply) -> Reply:
    return replace(reply, text=re.sub(r"\d+", "N", reply.text))


@settings(max_examples=examples(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(MAIL_REPLIES),
    st.lists(st.sampled_from(RCPT_REPLIES), min_size=1, max_size=4),
    st.sampled_from(DATA_REPLIES),
    st.sampled_from(DOT_REPLIES),
)
def test_the_outcome_is_the_same_with_and_without_pipelining(
    to_mail: str, to_rcpt: list[str], to_data: str, to_dot: str
) -> None:
    recipients = [f"r{number}@x.test" for number in range(len(to_rcpt))]
    script = {"MAIL": to_mail, "DATA": to_data, ".": to_dot}
    script |= {f"RCPT TO:<{address}>": reply for address, reply in zip(recipients, to_rcpt, strict=True)}
    replies: dict[str, str | list[str]] = {point: [reply] for point, reply in script.items() if reply}
    if not any(reply in ("", "251 forwarded") for reply in to_rcpt):
        replies.pop("DATA", None)  # without a recipient, only the one who talks early hears an answer to DATA
        replies.pop(".", None)
    with FakeRelay(extensions=OFFERED, replies=replies) as together, FakeRelay(NOT_OFFERED, replies=replies) as singly:
        assert outcome(together, recipients) == outcome(singly, recipients)
        assert not [line for line in together.transcript + singly.transcript if "early" in line]
