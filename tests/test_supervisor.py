"""Several processes as one."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rootmail.supervisor import StartFailed, Supervisor
from tests.installation import ROOT, wait_until

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(60)
"""


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str], tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(say=said.append, environment=os.environ | {"PYTHONPATH": str(ROOT)}, folder=tmp_path)
    yield made
    made.stop()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_starts_again_what_died_and_says_so(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start("sleeper", SLEEP)
    child = supervisor.children[0]
    first = child.process
    assert first is not None
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: child.process and child.process.pid != first.pid, seconds=10)
    supervisor.stopping = True
    thread.join()
    assert said == ["sleeper ended (exit code -9), starting it again in 1 s"]


def test_pauses_grow_while_it_dies_again_and_again(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start("broken", [sys.executable, "-c", "raise SystemExit(3)"])
    child = supervisor.children[0]
    for _ in range(3):
        wait_until(lambda: child.process and child.process.poll() is not None)
        supervisor._look_after(child)
        child.restart_at = 0
        supervisor._look_after(child)
    assert [line.rpartition(" in ")[2] for line in said] == ["1 s", "2 s", "4 s"]


def test_a_child_that_never_runs_fails_the_start(supervisor: Supervisor) -> None:
    supervisor.start("broken", [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(StartFailed, match="broken ended at once"):
        supervisor.wait_until(lambda: False, seconds=10, what="It")


def test_what_does_not_answer_in_time_fails_the_start(supervisor: Supervisor) -> None:
    supervisor.start("sleeper", SLEEP)
    with pytest.raises(StartFailed, match="The site did not answer within 0 seconds"):
        supervisor.wait_until(lambda: False, seconds=0.2, what="The site")


def test_stopping_ends_even_what_does_not_listen_and_what_that_had_started(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rootmail.supervisor.STOP_SECONDS", 0.5)
    note = tmp_path / "pids"
    supervisor.start("first", SLEEP)
    supervisor.start("stubborn", [sys.executable, "-c", STUBBORN, str(note)])
    wait_until(lambda: note.exists() and len(note.read_text().split()) == 2)
    pids = [int(pid) for pid in note.read_text().split()]
    first = supervisor.children[0].process
    supervisor.stop()
    assert first is not None
    wait_until(lambda: not any(alive(pid) for pid in (*pids, first.pid)), seconds=5, what="the end of all three")


@pytest.fixture
def note(supervisor: Supervisor, tmp_path: Path) -> Path:
    """Start what writes down when it begins and when it is told to end, and something that is not replaced."""
    note = tmp_path / "terms"
    supervisor.start("kept", SLEEP, replaceable=False)
    supervisor.start("polite", [sys.executable, "-c", POLITE, str(note), "{start}"])
    wait_until(lambda: note.exists() and note.read_text() == "begun 1\n")
    return note


@pytest.fixture
def replacing(supervisor: Supervisor, note: Path) -> Iterator[None]:
    """Replace what runs while the test looks on."""
    supervisor.replacing = True
    (thread := threading.Thread(target=supervisor.run)).start()
    yield
    supervisor.stopping = True
    thread.join()


@pytest.mark.usefixtures("replacing")
def test_a_new_one_starts_beside_the_old_one_which_is_told_to_end_once_and_not_before_that_is_ready(
    note: Path, supervisor: Supervisor, said: list[str]
) -> None:
    kept, polite = supervisor.children
    first = kept.process
    wait_until(lambda: note.read_text() == "begun 1\nbegun 2\n", what="the new one")
    time.sleep(0.7)  # several rounds
    assert said == ["polite: a new one starts beside it"]
    note.with_name("go").touch()
    wait_until(lambda: polite.starts == 2 and not polite.leaving, what="the end of the old one")
    assert note.read_text() == "begun 1\nbegun 2\nTERM 1\n"
    assert kept.process is first
    assert said[1:] == ["polite: the new one is ready, the old one is told to end"]


@pytest.mark.usefixtures("replacing")
def test_one_that_tells_nothing_replaces_the_old_one_later(
    note: Path, supervisor: Supervisor, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    polite = supervisor.children[1]
    wait_until(lambda: note.read_text() == "begun 1\nbegun 2\n", what="the new one")
    monkeypatch.setattr("rootmail.supervisor.BESIDE_SECONDS", 0.3)
    wait_until(lambda: polite.starts == 2 and not polite.leaving, what="the end of the old one")
    assert said[1:] == ["polite: the new one has run for 0 s without a word, the old one is told to end"]


def test_what_does_not_come_up_replaces_nothing_and_stopping_ends_the_old_one_as_well(
    supervisor: Supervisor,
) -> None:
    works_once = "import sys, time; time.sleep(60 if sys.argv[1] == '1' else 0)"
    supervisor.start("broken", [sys.executable, "-c", works_once, "{start}"])
    [child] = supervisor.children
    old = child.process
    assert old is not None
    supervisor.replacing = True
    (thread := threading.Thread(target=supervisor.run)).start()
    wait_until(lambda: child.starts >= 3, seconds=10, what="another try")
    supervisor.stopping = True
    thread.join()
    assert (old.poll(), list(child.leaving)) == (None, [old])
    supervisor.stop()
    assert not alive(old.pid)


POLITE = """
import signal, sys, time
from pathlib import Path
from rootmail import ready
def say(word):
    with open(sys.argv[1], "a") as note:
        print(word, sys.argv[2], file=note)
def on_term(*_):
    say("TERM")
    time.sleep(0.7)
    sys.exit()
signal.signal(signal.SIGTERM, on_term)
say("begun")
while not Path(sys.argv[1]).with_name("go").exists():
    time.sleep(0.05)
ready.tell()
time.sleep(60)
"""
