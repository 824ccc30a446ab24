"""What goes wrong before a command can speak for itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation import ROOT


def manage(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PATH": os.environ["PATH"], "HOME": str(folder), "ROOTMAIL_VAR": str(folder)} | environment
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=own, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["deliveries"], {}, "run 'manage.py migrate' first"),
        (
            ["workflow", "dump"],
            {"DATABASE_URL": "postgres://u:top-secret@[::1]:1/x"},
            "The database does not answer",
        ),
        (
            ["workflow", "dump"],
            {"DATABASE_URL": "postgres://u:top/secret@h:1/x"},
            "DATABASE_URL in the environment has a wrong value",
        ),
        (["check"], {"SWEEP_SECONDS": "often"}, "SWEEP_SECONDS in the environment"),
        (["check"], {"ROOTMAIL_VAR": "/proc/no-such-folder"}, "ROOTMAIL_VAR must name a folder"),
    ],
)
def test_a_wrong_set_up_gets_one_line(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], said: str
) -> None:
    done = manage(tmp_path, *arguments, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_the_state_folder_may_have_any_name(tmp_path: Path) -> None:
    name = "a b+c%20d#e?f=ü"
    folder = tmp_path / name
    folder.mkdir()
    assert manage(tmp_path, "migrate", "-v0", ROOTMAIL_VAR=str(folder)).stderr == ""
    assert (folder / "rootmail.sqlite3").stat().st_mode & 0o077 == 0
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != name and not entry.name.startswith(".")] == []
