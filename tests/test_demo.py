"""`make demo`: it works, it proves what it says, and it leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rootmail.demo import play
from rootmail.demo.browser import FormReader, _errors
from tests.effort import LONG
from tests.installation import ROOT, Installation, migrated, wait_until

processes = pytest.mark.processes


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "ROOTMAIL_VAR": str(folder)}
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", *options],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@processes
def test_shows_four_mails_two_for_each_provider_and_stops_everything(tmp_path: Path) -> None:
    shown, errors = (process := start(tmp_path, "--once")).communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    lines = [line.strip() for line in shown.splitlines()]
    providers = [line.split()[1].rstrip(",") for line in lines if line.startswith("Provider ")]
    assert providers == ["smtp", "smtp", "default", "default"]
    assert len([line for line in lines if line.startswith("Reply       250 2.0.0 Ok: queued as")]) == 2
    assert len([line for line in lines if line.startswith("Took ") and "ms from trigger to accepted" in line]) == 4
    assert shown.count("| Subject: ") == 4
    assert lines[-1] == "All four mails arrived, each at the server that should have got it."
    assert Installation(tmp_path).processes() == []
    for name in ("secret_key", "fernet_key", "broker_url", "demo_password", "demo_token", "broker/valkey.conf"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name


@LONG
@processes
def test_ctrl_c_leaves_no_process_behind_and_a_second_run_works(tmp_path: Path) -> None:
    process = start(tmp_path)
    assert process.stdout is not None
    line = ""
    while "Log in as 'admin'" not in line:
        line = process.stdout.readline()
        assert line, process.stderr and process.stderr.read()
    assert Installation(tmp_path).processes("gunicorn") != []
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # an impatient person
    process.communicate(timeout=60)
    wait_until(lambda: Installation(tmp_path).processes() == [], seconds=10, what="the end of every process")
    again = start(tmp_path, "--once")
    shown, errors = again.communicate(timeout=120)
    assert (again.returncode, errors) == (0, "")
    assert shown.count("   Provider    ") == 4


@processes
def test_keeps_its_hands_off_an_installation_in_use(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    shutil.copy(migrated(), tmp_path / "rootmail.sqlite3")
    installation.manage("integration", "connect", "smtp", "--address", "smtp.example.com", "--no-check")
    process = start(tmp_path, "--once")
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, said) == (1, ""), "it starts nothing: a worker would send what waits there"
    assert "has an integration connected that is not the demonstration's" in errors
    assert '"address": "smtp.example.com"' in installation.manage("integration", "show", "smtp", "--json")


@processes
def test_keeps_its_hands_off_an_installation_with_accounts(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    shutil.copy(migrated(), tmp_path / "rootmail.sqlite3")
    installation.environment["DJANGO_SUPERUSER_PASSWORD"] = "blue pelican 42"
    installation.manage("createsuperuser", "--noinput", "--username", "grace", "--email", "grace@example.com")
    said, errors = (process := start(tmp_path, "--once")).communicate(timeout=120)
    assert (process.returncode, said) == (1, "")
    assert "has accounts, and none of them is the demonstration's" in errors


MAIL = {
    "task": "Mail", "state": "accepted", "provider": "smtp", "reason": None,
    "recipients": [{"address": "a@example.org"}, {"address": "b@example.org"}],
}  # fmt: skip


def test_a_mail_that_reached_everybody_is_taken_for_arrived() -> None:
    play._demand_arrived(MAIL, ("b@example.org", "a@example.org"), provider="smtp")


@pytest.mark.parametrize(
    ("change", "arrived_for"),
    [
        ({}, ("a@example.org",)),
        ({}, ()),
        ({}, ("a@example.org", "b@example.org", "c@example.org")),
        ({"provider": "default"}, ("a@example.org", "b@example.org")),
        ({"state": "deferred"}, ("a@example.org", "b@example.org")),
    ],
)
def test_anything_else_fails_the_demonstration(change: dict[str, str], arrived_for: tuple[str, ...]) -> None:
    with pytest.raises(play.DemonstrationFailed, match="should have arrived through smtp"):
        play._demand_arrived(MAIL | change, arrived_for, provider="smtp")


PAGE = """
<form method="post" action="/other"><input name="no" value="x"></form>
<form method="post"><input type="hidden" name="token" value="t"><input name="empty">
<input type="checkbox" name="on" checked><input type="checkbox" name="off">
<select name="choice"><option value="a">A<option value="b" selected>B</select>
<select name="first"><option value="c">C<option value="d">D</select><textarea name="text">
lines &amp; more</textarea></form><p class="error"><b>Wrong</b> port</p><p>Fine</p>
"""


def test_reads_a_form_as_a_browser_would() -> None:
    reader = FormReader("/page")
    reader.feed(PAGE)
    assert reader.fields == {
        "token": "t", "empty": "", "on": "on", "choice": "b", "first": "c", "text": "\nlines & more",
    }  # fmt: skip
    assert _errors(PAGE) == "Wrong\nport"
