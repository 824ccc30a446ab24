"""The commands of README and quickstart are carried out, in their order, in a fresh copy of the project.

Blocks marked `sh` are run. `console` and `text` show what needs machines of the reader's own, or what comes out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rootmail import state
from tests import manual
from tests.fake_relay import FakeRelay, authority_pem
from tests.installation import ROOT, wait_until

README, QUICKSTART = ROOT / "README.md", ROOT / "docs" / "quickstart.md"
READY = {"make demo": "Log in as 'admin'", "make run": "rootmail runs at"}  # what goes on until Ctrl-C says so
WITHIN_ITSELF = "make test"  # this very test is a part of it
PASSWORD = "right horse"
DEADLINE = 120


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A copy of what git has, with the packages of the present interpreter, so that make has nothing to install."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    copy = tmp_path / "rootmail"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    (copy / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if not entry.name.startswith("installed"):
            (copy / ".venv" / entry.name).symlink_to(entry)
    for name in ("installed", "installed-dev"):
        (copy / ".venv" / name).touch()
    return copy


class Terminal:
    """A shell in the copy. What a block sets is there for the next one; other blocks go on until they are stopped."""

    def __init__(self, folder: Path, *, bind: str = "", replaced: dict[str, str] | None = None) -> None:
        self.folder, self.replaced = folder, replaced or {}
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self.environment |= {"ARGS": f"--bind {bind}"} if bind else {}
        self.replaced |= {"127.0.0.1:8000": bind} if bind else {}

    def run(self, block: str) -> str:
        """Run a block, and return its standard output; every command of it must succeed."""
        kept = self.folder / "environment"
        # Plain variables are kept as well: the reader types all blocks into one shell.
        script = f"set -eau\n{self._ours(block)}\nenv -0 > {kept}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, input=f"{PASSWORD}\n",
            capture_output=True, text=True, timeout=DEADLINE,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        self.environment = dict(line.split("=", 1) for line in kept.read_text().split("\0") if line)
        return done.stdout

    @contextmanager
    def running(self, command: str) -> Iterator[Path]:
        """Start what goes on, wait until it is ready, press Ctrl-C in the end; gives its output."""
        shown = self.folder / "shown"
        with shown.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", command], cwd=self.folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(lambda: READY[command] in shown.read_text() or process.poll() is not None, seconds=DEADLINE)
            assert process.poll() is None, shown.read_text()
            yield shown
        finally:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(timeout=DEADLINE)

    def _ours(self, block: str) -> str:
        for shown, ours in self.replaced.items():
            block = block.replace(shown, ours)
        return block


def to_run(path: Path) -> list[str]:
    return [text.strip() for language, text in manual.blocks(path) if language == "sh"]


@pytest.mark.parametrize("path", [README, QUICKSTART], ids=lambda path: path.name)
def test_no_command_hides_from_being_run(path: Path) -> None:
    """A block without a language, or an indented one, would look like a command and never be tried."""
    assert {language for language, _ in manual.blocks(path)} <= {"sh", "console", "text", "json"}
    unfenced = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^(?:    |\t).*$", unfenced, re.MULTILINE) == []


def test_the_readme_has_two_commands() -> None:
    assert to_run(README) == ["make demo", WITHIN_ITSELF]


def test_make_test_runs_the_tests(fresh: Path) -> None:
    """It cannot be run here, where it is running already; but make can be asked what it would do."""
    told = subprocess.run(["make", "-n", "test"], cwd=fresh, env={"PATH": os.environ["PATH"]}, capture_output=True)
    assert told.stdout.decode().split() == [".venv/bin/python", "-m", "pytest"]


@pytest.mark.processes
def test_the_commands_of_the_readme(fresh: Path) -> None:
    terminal = Terminal(fresh)
    for block in to_run(README):
        if block != WITHIN_ITSELF:
            with terminal.running(block) as shown:
                assert shown.read_text().count("| Subject: ") == 4


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.processes
def test_the_commands_of_the_quickstart(fresh: Path, tmp_path: Path) -> None:
    begin, connect, test_mail, load, post, trigger, deliveries = to_run(QUICKSTART)
    authority = tmp_path / "authority.pem"
    authority.write_text(authority_pem())
    with FakeRelay(tls="starttls", user="mailer", password=PASSWORD) as relay:
        ours = {"--address smtp.example.com": f"--address localhost --port {relay.port} --ca-file {authority}"}
        terminal = Terminal(fresh, bind=f"127.0.0.1:{state.free_port()}", replaced=ours)
        with terminal.running(begin) as shown:
            assert "/first-admin/ with the token" in shown.read_text()
            terminal.run(connect)
            assert "Accepted for you@example.com: 250" in terminal.run(test_mail)
            terminal.run(load)
            assert [run["status"] for run in json.loads(terminal.run(post))["runs"]] == ["queued"]
            assert len(terminal.run(trigger).split()) == 1  # the id of a run
            wait_until(
                lambda: len(relay.ledger) == 1 + 2 * 2, seconds=DEADLINE, what="the test mail and two of each run"
            )
            all_accepted = lambda: terminal.run(deliveries).count("  accepted through smtp  ") == 4  # noqa: E731
            wait_until(all_accepted, seconds=DEADLINE, what="their acceptance")
    assert {mail.tls for mail in relay.ledger} == {True}
