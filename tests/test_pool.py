"""The session pool: which transport a mail gets, and when an idle one is closed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from integrations.transports import smtp
from integrations.transports.base import Receipt, Submission, TransportError
from integrations.transports.pool import POOL, TransportPool
from integrations.transports.smtp import SmtpSettings, SmtpTransport

from .fake_relay import FakeRelay
from .installation import ROOT, wait_until
from .test_smtp import MAIL, mail, settings_for

EHLO = "EHLO me.test"


@pytest.fixture
def open_pool() -> Any:
    """Return what makes a pool; each is closed at the end."""
    pools: list[TransportPool[SmtpSettings]] = []

    def make(**options: Any) -> TransportPool[SmtpSettings]:
        pools.append(TransportPool(SmtpTransport, **options))
        return pools[-1]

    yield make
    for one in pools:
        one.close()


Open = Callable[..., TransportPool[SmtpSettings]]


def send(pool: TransportPool[SmtpSettings], settings: SmtpSettings) -> None:
    with pool.lend(settings) as transport:
        transport.send(mail())


def reapers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "session pool"]


def test_the_next_mail_uses_the_same_session(open_pool: Open) -> None:
    with FakeRelay() as relay:
        pool = open_pool()
        for _ in range(3):
            send(pool, settings_for(relay))
        assert relay.transcript == [EHLO, *MAIL, *MAIL, *MAIL]
        pool.close()
        assert relay.transcript[-1] == "QUIT"


def test_an_idle_session_is_ended_politely(open_pool: Open) -> None:
    with FakeRelay() as relay:
        pool = open_pool(idle_seconds=0.2)
        send(pool, settings_for(relay))
        assert relay.transcript == [EHLO, *MAIL]
        wait_until(lambda: relay.transcript[-1] == "QUIT", what="QUIT after idling")
        wait_until(lambda: not reapers(), what="the end of the thread")
        send(pool, settings_for(relay))
    assert relay.transcript == [EHLO, *MAIL, "QUIT", EHLO, *MAIL]


def test_other_settings_end_the_session_of_the_old_ones(open_pool: Open) -> None:
    with FakeRelay() as old, FakeRelay() as new:
        pool = open_pool()
        send(pool, settings_for(old))
        send(pool, settings_for(new))
        wait_until(lambda: old.transcript[-1] == "QUIT", what="the end of the old session")
        assert new.transcript == [EHLO, *MAIL]


def test_a_relay_that_does_not_answer_quit_holds_up_nobody(open_pool: Open) -> None:
    with FakeRelay(hang=["QUIT"]) as old, FakeRelay() as new:
        pool = open_pool()
        send(pool, settings_for(old))
        started = time.monotonic()
        send(pool, settings_for(new))
        assert time.monotonic() - started < 2, "QUIT is waited for up to 5 seconds"


def test_two_threads_never_share_a_session(open_pool: Open) -> None:
    with FakeRelay() as relay:
        pool = open_pool()
        with pool.lend(settings_for(relay)) as one, pool.lend(settings_for(relay)) as two:
            assert one is not two
            one.send(mail())
            two.send(mail())
        wait_until(lambda: relay.transcript.count("QUIT") == 1, what="the end of the surplus session")
        send(pool, settings_for(relay))
    assert relay.transcript.count(EHLO) == 2


def test_an_error_does_not_cost_the_session(open_pool: Open) -> None:
    with FakeRelay(replies={"MAIL": ["550 5.7.60 not your sender"]}) as relay:
        pool = open_pool()
        with pytest.raises(TransportError):
            send(pool, settings_for(relay))
        send(pool, settings_for(relay))
    assert relay.transcript == [EHLO, MAIL[0], "RSET", *MAIL]


def test_a_forked_process_leaves_the_sessions_of_its_parent_alone() -> None:
    with FakeRelay() as relay:
        send(POOL, settings_for(relay))  # type: ignore[arg-type]
        child = os.fork()
        if child == 0:  # nothing of the test may run twice
            send(POOL, settings_for(relay))  # type: ignore[arg-type]
            POOL.close()
            os._exit(0)
        ended = wait_until(lambda: os.waitpid(child, os.WNOHANG)[0], what="the end of the child")
        assert ended == child
        send(POOL, settings_for(relay))  # type: ignore[arg-type]
    assert relay.transcript == [EHLO, *MAIL, EHLO, *MAIL, "QUIT", *MAIL]


def test_a_process_that_ends_says_quit() -> None:
    with FakeRelay() as relay:
        script = f"""
from integrations.transports.base import Submission
from integrations.transports.pool import POOL
from integrations.transports.smtp import SmtpSettings
settings = SmtpSettings("127.0.0.1", {relay.port}, domain="me.test", ssl=False, starttls_auto=False)
with POOL.lend(settings) as transport:
    transport.send(Submission("a@x.test", ("b@x.test",), b"A: b"))
"""
        subprocess.run([sys.executable, "-c", script], check=True, timeout=60, cwd=ROOT)
        assert relay.transcript[-1] == "QUIT"


# How long a session lives (the transport itself)


def test_a_session_is_tried_before_it_is_used_again_after_idling() -> None:
    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay, noop_seconds=0.1))
        transport.send(mail())
        transport.send(mail())
        time.sleep(0.2)
        transport.send(mail())
    assert relay.transcript == [EHLO, *MAIL, *MAIL, "NOOP", *MAIL]


@pytest.mark.parametrize("noop", ["421 4.4.2 idle too long", "500 what?", "451 later"])
def test_a_session_that_does_not_answer_noop_well_is_replaced(noop: str) -> None:
    with FakeRelay(replies={"NOOP": noop}) as relay:
        transport = SmtpTransport(settings_for(relay, noop_seconds=0))
        transport.send(mail())
        transport.send(mail())
    assert relay.transcript == [EHLO, *MAIL, "NOOP", EHLO, *MAIL]
    assert len(relay.ledger) == 2


@pytest.mark.parametrize("point", ["NOOP", "QUIT"])
def test_nobody_waits_long_for_an_answer_that_does_not_matter(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    assert smtp.BRIEF_SECONDS == 5
    monkeypatch.setattr(smtp, "BRIEF_SECONDS", 0.3)
    with FakeRelay(hang=[point]) as relay:
        transport = SmtpTransport(settings_for(relay, noop_seconds=0, reply_seconds=30, session_mails=1))
        if point == "NOOP":
            transport = SmtpTransport(settings_for(relay, noop_seconds=0, reply_seconds=30))
        transport.send(mail())
        assert transport.send(mail()).milliseconds < 5000
    assert len(relay.ledger) == 2


class Stubborn:
    """A transport whose close() breaks its promise."""

    closed = 0

    def send(self, submission: Submission) -> Receipt:
        raise NotImplementedError

    def close(self) -> None:
        Stubborn.closed += 1
        raise RuntimeError("not to be closed")


def test_a_close_that_fails_stops_nobody() -> None:
    pool: TransportPool[str] = TransportPool(lambda _: Stubborn(), idle_seconds=0.1)
    for settings in ("one", "two", "three"):
        with pool.lend(settings):
            pass
    wait_until(lambda: Stubborn.closed == 3, what="the closing of all three")
    wait_until(lambda: not reapers(), what="the end of the thread")


def test_without_a_thread_nothing_is_kept_and_nothing_fails(monkeypatch: pytest.MonkeyPatch, open_pool: Open) -> None:
    start = threading.Thread.start

    def no_reaper(thread: threading.Thread) -> None:
        if thread.name == "session pool":
            raise RuntimeError("can't start new thread")
        start(thread)

    with FakeRelay() as relay:
        pool = open_pool()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_reaper)
            send(pool, settings_for(relay))
        assert relay.transcript[-1] == "QUIT"
        send(pool, settings_for(relay))
        assert reapers()
    assert len(relay.ledger) == 2


def test_a_session_carries_so_many_mails_and_no_more() -> None:
    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay, session_mails=2))
        for _ in range(4):
            transport.send(mail())
    assert relay.transcript == [EHLO, *MAIL, *MAIL, "QUIT", EHLO, *MAIL, *MAIL]


def test_a_session_lives_so_long_and_no_longer() -> None:
    with FakeRelay() as relay:
        transport = SmtpTransport(settings_for(relay, session_seconds=0.2))
        transport.send(mail())
        time.sleep(0.3)
        transport.send(mail())
    assert relay.transcript == [EHLO, *MAIL, "QUIT", EHLO, *MAIL]
