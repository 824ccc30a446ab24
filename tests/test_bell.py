"""The thread that rings: kept, one ring at a time, and nobody waits for it for long."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.installation import ROOT, wait_until
from workflows import bell as bell_module
from workflows.bell import Bell

FORKED = """
import os
from workflows.bell import Bell

rung = []
bell = Bell(rung.append)
bell.ring(1.0, within=10)
child = os.fork()
told = bell.ring(2.0, within=10) and rung == [1.0, 2.0]
if child:
    told = told and os.waitpid(child, 0)[1] == 0
os._exit(not told)
"""


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_one_thread_rings_again_and_again() -> None:
    threads: list[tuple[float, int]] = []
    bell = Bell(lambda until: threads.append((until, threading.get_ident())))
    assert [bell.ring(until, within=10) for until in (1.0, 2.0)] == [True, True]
    (first, one), (second, other) = threads
    assert (first, second, one == other, bell.is_ringing) == (1.0, 2.0, True, False)
    assert one != threading.get_ident()


def test_a_ring_that_hangs_is_waited_for_as_long_as_told() -> None:
    answers = threading.Event()
    bell = Bell(lambda until: answers.wait(30) or None)
    assert (bell.ring(1.0, within=0.01), bell.is_ringing) == (False, True)
    answers.set()
    wait_until(lambda: not bell.is_ringing)
    assert bell.ring(2.0, within=10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_ring_that_fails_leaves_a_bell_for_the_next() -> None:
    rung: list[float] = []

    def ring(until: float) -> None:
        rung.append(until)
        if until == 1.0:
            raise SystemExit  # ends the thread

    bell = Bell(ring)
    bell.ring(1.0, within=10)
    wait_until(lambda: not bell._ringer or not bell._ringer.is_alive())
    assert bell.ring(2.0, within=10)
    assert rung == [1.0, 2.0]


def test_a_ring_that_was_interrupted_before_it_began_leaves_a_bell_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rung: list[float] = []
    bell = Bell(rung.append)
    with monkeypatch.context() as interrupted:
        interrupted.setattr(bell_module._Ringer, "take", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            bell.ring(1.0, within=10)
    assert not bell.is_ringing
    assert (bell.ring(2.0, within=10), rung) == (True, [2.0])


def test_whoever_rings_at_the_same_moment_is_heard_as_well() -> None:
    rung: list[float] = []
    bell, ready = Bell(rung.append), threading.Barrier(8)

    def ring(number: int) -> bool:
        ready.wait(30)
        return bell.ring(float(number), within=10)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ring, range(8)))
    assert sorted(rung) == [float(number) for number in range(8)]


def test_a_process_that_was_forked_has_a_thread_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], cwd=ROOT, timeout=60)
    assert done.returncode == 0
