"""One fault at every step of the road (an error, a hang beyond the lease, SIGKILL), then the invariants.

Real workers, broker and database; the relay's ledger is believed. `make chaos` is the long form.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, repeat
from pathlib import Path

import pytest

from tests.fake_relay import FakeRelay
from tests.installation import fresh_postgres, from_environment, wait_until
from tests.lab import PASSWORD, USER_NAME, Lab
from tests.lab_faults import DONE, ERROR, FREEZE, HANG, KILL
from tests.lab_invariants import broken
from tests.lab_steps import CAN_BE_DONE

pytestmark = pytest.mark.processes

# The steps of one line strike in one scenario, each of them once.
STEPS = {
    "before the relay": (
        *("ring", "rung"),
        *("run.claim", "run.claimed", "run.render", "run.store", "run.storing", "run.stored"),
        *("mailer.open", "claim", "claimed", "may_send", "may_send.said", "look-up", "slot", "hand_over"),
    ),
    "at the relay": (
        *("smtp.connect", "smtp.ehlo", "smtp.auth", "pause", "lift", "give_back", "gave_back"),
        *("smtp.mail", "smtp.rcpt", "smtp.data", "smtp.dot", "smtp.reply", "handed_over"),
    ),
    "after the relay": (
        *("record", "record.begin", "recording", "record.done", "settle", "settled"),
        *("sweep", "sweep.runs", "take_over", "took_over", "sweep.ending", "record.error", "sweep.ended", "swept"),
    ),
    "after the relay, for a run of one mail": ("accept", "accept.begin", "accept.done", "settling"),
}


def nothing(lab: Lab) -> None:
    """Do nothing."""


def let_the_relay_be_busy(lab: Lab) -> None:
    """Have the provider paused and probed, when nothing else is left to strike: a pause takes its time."""
    if not any(step.startswith("smtp.") for step in lab.faults.armed()):
        lab.relay.replies = {"RCPT": ["421 4.3.2 not now"]}


def lose_a_worker(lab: Lab) -> None:
    """Have something to take over."""
    if "run.stored kill" not in lab.faults.armed():
        lab.faults.arm("run.stored", KILL)


NUDGES = {"at the relay": let_the_relay_be_busy, "after the relay": lose_a_worker}


@contextmanager
def a_lab(kind: str, folder: Path, **options: object) -> Iterator[Lab]:
    with ExitStack() as stack:
        urls = {"database_url": "", "broker_url": ""}
        if kind != "embedded":
            urls["broker_url"] = from_environment("TEST_REDIS_URL" if kind.endswith("redis") else "TEST_RABBITMQ_URL")
            urls["database_url"] = stack.enter_context(fresh_postgres())
        yield stack.enter_context(Lab(folder, **urls, **options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def kept_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with a_lab(request.param, tmp_path_factory.mktemp("lab"), tls="starttls") as running:
        yield running
        running.assert_no_late_copies()
        running.assert_no_secret_anywhere()


@pytest.fixture
def lab(kept_lab: Lab) -> Iterator[Lab]:
    """The same workers for every scenario of a database."""
    kept_lab.begin()
    yield kept_lab
    kept_lab.recover()


KINDS = [
    pytest.param("embedded", marks=pytest.mark.xdist_group("lab: embedded")),
    pytest.param("postgresql+redis", marks=pytest.mark.xdist_group("lab: postgresql")),
]
every_lab = pytest.mark.parametrize("kept_lab", KINDS, indirect=True)
embedded = pytest.mark.parametrize("kept_lab", KINDS[:1], indirect=True)
postgresql = pytest.mark.parametrize("kept_lab", KINDS[1:], indirect=True)


@every_lab
@pytest.mark.parametrize("mode", [ERROR, HANG, KILL, DONE])
@pytest.mark.parametrize("place", STEPS)
def test_a_fault_at_any_step_loses_nothing_and_doubles_nothing(lab: Lab, place: str, mode: str) -> None:
    lab.load(actions=1 if "one mail" in place else 2)
    if place == "at the relay":
        lab.relay.hang_up()  # so that sessions are opened again
    steps = [step for step in STEPS[place] if mode != DONE or step in CAN_BE_DONE]
    for step in steps:
        lab.faults.arm(step, mode)
    lab.trigger_until_all_struck(at_least=6, again=NUDGES.get(place, nothing))
    lab.wait_for_the_end()
    lab.assert_invariants()


@every_lab
def test_with_hold_no_fault_in_flight_makes_a_second_copy(lab: Lab) -> None:
    lab.load(actions=1, hold=True)
    for step in ("run.stored", "smtp.dot", "smtp.reply", "handed_over", "accept.begin"):
        lab.faults.arm(step, KILL)
    lab.faults.arm("smtp.reply", ERROR)
    lab.trigger_until_all_struck(at_least=8, again=nothing)
    lab.wait_for_the_end()
    story = lab.assert_invariants()
    assert sum(one["state"] == "held" for one in story.deliveries) >= 3, "several of the faults may strike one mail"


@embedded
def test_a_broker_that_is_wiped_or_killed_at_any_moment_loses_nothing(lab: Lab) -> None:
    """(12) Wiping the broker at any time loses nothing."""
    lab.load()
    for _ in range(5):
        lab.trigger(2)
        lab.wipe_broker()
    lab.wait_for_the_end()
    lab.kill_broker()
    lab.trigger(3)
    lab.start_broker()
    lab.trigger(1)
    lab.wait_for_the_end()
    lab.assert_invariants()


@postgresql
def test_connections_to_the_database_that_are_cut_lose_nothing_and_double_nothing(lab: Lab) -> None:
    lab.load(actions=1, recipients=3)
    lab.relay.slow = {".": 0.02}
    lab.trigger(30)
    cut = 0
    for _ in range(8):
        cut += lab.cut_database()
        time.sleep(0.1)
    lab.wait_for_the_end()
    lab.assert_invariants()
    assert cut > 8


@every_lab
@pytest.mark.parametrize("step", ["may_send.said", "smtp.dot", "smtp.reply", "handed_over", "recording"])
def test_a_worker_that_was_frozen_beyond_its_lease_changes_nothing_afterwards(lab: Lab, step: str) -> None:
    lab.load(actions=6)
    lab.faults.arm(step, FREEZE)
    lab.trigger()
    lab.wait_for_faults()
    lab.wait_until_frozen()
    if step == "recording" and not lab.database_url:
        lab.thaw()  # it holds the lock of the whole SQLite file: nobody else can write meanwhile
    lab.wait_for_the_end()
    before = lab.story().deliveries
    lab.thaw()
    time.sleep(0.5)
    assert lab.assert_invariants().deliveries == before


@postgresql
def test_a_worker_whose_clock_is_wrong_by_a_day_ends_no_mail_and_takes_no_lease(lab: Lab) -> None:
    """It goes by the database's clock. On SQLite all of them have the same one."""
    lab.load()
    lab.programs["worker2"].stop()
    lab.start_worker("worker2", LAB_CLOCK=str(86_400))
    lab.wait_until_ready()
    lab.relay.slow = {".": 0.02}
    lab.relay.replies = {"RCPT person2": ["450 4.2.1 later"] * 5}
    lab.trigger(10)
    lab.wait_for_the_end()
    story = lab.story()
    lab.replace_workers()
    assert broken(story) == []
    assert {one["state"] for one in story.deliveries} == {"accepted"}
    assert story.unknown == 0


@embedded
def test_no_worker_connects_to_a_refused_address_also_when_the_name_changes_meanwhile(lab: Lab) -> None:
    """(8) No connection to a refused address, also when DNS changes between check and use."""
    lab.load()
    named = {"LAB_REBINDS": "relay.lab"}
    lab.replace_workers(SMTP_ALLOW_PRIVATE_NETWORKS="off", **named)
    lab.connect(address="relay.lab", openssl_verify_mode="none")
    before = lab.relay.connections
    lab.trigger(2)
    refused = "loopback and private addresses are switched off"
    wait_until(lambda: refused in lab.ask("provider").get("reason", ""), what="the refusal")
    time.sleep(1.0)  # several probes
    assert lab.relay.connections == before
    lab.replace_workers(**named)  # the same name leads there where it may
    lab.ask("try_now")
    lab.wait_for_the_end()
    assert lab.relay.connections > before
    lab.connect()
    assert {one["state"] for one in lab.assert_invariants().deliveries} == {"accepted"}


@embedded
def test_two_beats_are_no_more_than_one(lab: Lab) -> None:
    lab.load()
    lab.start_beat("beat2")
    lab.trigger(5)
    wait_until(lambda: "Sending due task" in lab.programs["beat2"].output, what="the second beat")
    lab.wait_for_the_end()
    lab.programs.pop("beat2").stop()
    lab.assert_invariants()


@every_lab
def test_settings_that_change_in_mid_batch_hold_for_the_next_mail_of_every_worker(lab: Lab) -> None:
    """(9) After a settings change no mail leaves with the old settings."""
    lab.load()
    lab.relay.slow = {".": 0.03}
    with FakeRelay(user=USER_NAME, password=PASSWORD, tls="starttls") as other:
        lab.trigger(15)
        wait_until(lambda: len(lab.relay.ledger) > lab.ledger_from + 3, what="the first mails")
        lab.connect(other)
        changed = time.time()
        lab.wait_for_the_end()
        lab.connect()
        late = [mail for mail in lab.relay.ledger if mail.began > changed]
        lab.assert_invariants(ledger=[*lab.relay.ledger[lab.ledger_from :], *other.ledger])
    assert len(late) <= 6, "those in flight, one for each process"
    assert [mail for mail in late if mail.began > changed + 0.5] == []
    assert other.ledger


@every_lab
def test_a_wrong_password_is_tried_once_however_many_workers_and_mails_wait(lab: Lab) -> None:
    """(10) One wrong password is one AUTH attempt."""
    lab.load()
    began = len(lab.relay.transcript)
    lab.connect(proven=False, password="wrong horse 0815")
    lab.trigger(25)
    wait_until(lambda: lab.ask("provider").get("failures"), what="the refusal")
    time.sleep(1.0)  # five sweeps
    assert sum(line.startswith("AUTH") for line in lab.relay.transcript[began:]) == 1
    lab.connect()
    lab.wait_for_the_end()
    lab.assert_invariants()


@every_lab
def test_a_stop_in_mid_batch_finishes_the_mail_in_hand_and_gives_the_rest_back_at_once(lab: Lab) -> None:
    lab.load()
    lab.relay.slow = {".": 0.08}
    lab.trigger(15)
    wait_until(lambda: len(lab.relay.ledger) > lab.ledger_from + 3, what="the first mails")
    for name in lab.worker_names:
        lab.programs[name].process.terminate()
    for name in lab.worker_names:
        lab.programs[name].stop()
    states = lab.ask("states", since=lab.since)
    assert "sending" not in states
    taken, unheard = len(lab.relay.ledger) - lab.ledger_from, states.get("unknown", 0)  # on a busy machine
    assert states["accepted"] <= taken <= states["accepted"] + unheard, states
    for name in lab.worker_names:
        lab.start_worker(name)
    lab.wait_for_the_end()
    lab.assert_invariants()


@every_lab
@pytest.mark.parametrize("mode", [ERROR, HANG, KILL])
def test_what_is_overdue_while_the_provider_is_down_fails_and_is_never_sent(lab: Lab, mode: str) -> None:
    """(3) Nothing after cancel or expiry."""
    lab.load(give_up_after="1 minute")
    lab.relay.drop = ["CONNECT"]
    lab.relay.hang_up()
    for step in ("overdue", "overdue.done"):
        lab.faults.arm(step, mode)
    lab.trigger(3)
    lab.wait_for_the_end()
    lab.relay.drop = ()
    lab.ask("try_now")
    time.sleep(0.5)
    story = lab.assert_invariants()
    assert {one["state"] for one in story.deliveries} == {"failed"}
    assert story.ledger == []


@every_lab
def test_what_is_cancelled_is_never_handed_over_afterwards(lab: Lab) -> None:
    """(3) Nothing after cancel or expiry."""
    lab.load(actions=4)
    lab.relay.replies = {"RCPT person2": ["450 4.2.1 later"] * 4000}
    lab.faults.arm("claimed", KILL)
    lab.trigger(8)
    cancelled: dict[str, float] = {}
    wait_until(
        lambda: cancelled.update(lab.ask("cancel", since=lab.since)) or len(cancelled) > 8, what="mails that wait"
    )
    lab.relay.replies = {}
    lab.wait_for_the_end()
    story = lab.assert_invariants()
    assert {one["state"] for one in story.deliveries if one["message_id"] in cancelled} == {"cancelled"}
    late = [mail for number, at in cancelled.items() for mail in story.by_id.get(number, []) if mail.began > at]
    assert late == []


@every_lab
def test_a_relay_that_refuses_what_it_took_is_believed_and_gets_one_copy_for_each_of_its_answers(lab: Lab) -> None:
    lab.load()
    lab.relay.lies = True
    lab.relay.replies = {".": ["451 4.3.0 later", "554 5.6.0 never", "421 4.3.2 not now"]}
    lab.trigger(3)
    lab.wait_for_the_end()
    story = lab.assert_invariants(lied=True)
    copies = len(story.ledger) - len(story.deliveries)
    assert 2 <= copies <= 2 + story.unknown, "on a busy machine a worker may lose its lease"
    assert sum(one["state"] == "failed" for one in story.deliveries) == 1


@pytest.fixture
def told_lab(tmp_path: Path) -> Iterator[Lab]:
    """One without programs, whose states a test tells."""
    lab = Lab(tmp_path, workers=0)
    lab.scale = 1.0
    with lab.relay:
        yield lab


def tell(monkeypatch: pytest.MonkeyPatch, lab: Lab, states: Iterable[dict[str, int]]) -> None:
    told = iter(states)
    monkeypatch.setattr(lab, "ask", lambda wish, **_: next(told) if wish == "states" else {"name": "smtp"})


def test_the_end_is_waited_for_as_long_as_mails_go_out(told_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where others came to want the processors, chaos failed for it."""
    made = ({"queued": number, "open runs": 20 - number} for number in range(1, 20))
    ended = ({"accepted": number, "queued": 20 - number, "open runs": 1} for number in range(20))
    tell(monkeypatch, told_lab, [*made, *ended, {"accepted": 20, "open runs": 1}, {"accepted": 20, "open runs": 0}])
    told_lab.wait_for_the_end(seconds=0.5)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (repeat({"queued": 7, "open runs": 7}), "not over, and nothing has moved for 0.3 s: .*'queued': 7.*'smtp'"),
        (({"deferred": 7 - n % 2, "sending": n % 2, "open runs": 7} for n in count()), "nothing has moved for 0.3 s"),
        (({"accepted": n, "queued": 1, "open runs": 1} for n in count()), "not over after 3 s"),
    ],
)
def test_where_nothing_moves_or_without_an_end_the_end_is_not_waited_for(
    told_lab: Lab, monkeypatch: pytest.MonkeyPatch, states: Iterable[dict[str, int]], told: str
) -> None:
    tell(monkeypatch, told_lab, states)
    with pytest.raises(AssertionError, match=told):
        told_lab.wait_for_the_end(seconds=0.3)


def test_what_a_killed_process_had_taken_from_rabbitmq_comes_back_and_doubles_nothing(tmp_path: Path) -> None:
    """Acks are late: the task of a killed pool process is delivered again, and finds nothing to do."""
    with a_lab("postgresql+rabbitmq", tmp_path) as lab:
        lab.load()
        for step in ("run.stored", "claimed", "smtp.reply", "record.done", "settled"):
            lab.faults.arm(step, KILL)
        lab.trigger_until_all_struck(at_least=8, again=nothing)
        lab.kill_worker("worker1")
        lab.trigger(2)
        lab.start_worker("worker1")
        lab.wait_for_the_end()
        lab.assert_invariants()
