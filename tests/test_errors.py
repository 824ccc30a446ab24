"""What goes wrong before a command can speak for itself."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import IntegrityError, OperationalError
from django.test import Client

from rootmail import errors
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
        (["check"], {"SWEEP_SECONDS": "0"}, "SWEEP_SECONDS in the environment"),
        (["check"], {"TIME_ZONE": "Europe/Berlni"}, "TIME_ZONE in the environment"),
        (["check"], {"LOG_LEVEL": "loud"}, "LOG_LEVEL in the environment"),
        (["check"], {"BROKER_URL": "localhost:6379"}, "BROKER_URL in the environment has to begin with redis://"),
        (["check"], {"SESSION_HOURS": "-1"}, "SESSION_HOURS in the environment has to be 1 or more."),
        (["check"], {"MAX_EVENT_BYTES": "0"}, "MAX_EVENT_BYTES in the environment has to be 1 or more."),
        (["check"], {"SECURE_HSTS_SECONDS": "-1"}, "SECURE_HSTS_SECONDS in the environment has to be 0 or more."),
        (["check"], {"BROKER_URL": "foo://secret@h"}, "BROKER_URL in the environment has to begin with redis://"),
        (["check"], {"LOG_FORMAT": "xml"}, "LOG_FORMAT in the environment"),
        (["check"], {"DATABASE_URL": "mysql://u:secret@h/x"}, "DATABASE_URL in the environment"),
        (
            ["check"],
            {"FERNET_KEYS_FILE": "/no/such"},
            "FERNET_KEYS_FILE names a file that cannot be read: No such file",
        ),
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


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            'connection failed: FATAL:  database "nosuch" does not exist',
            "The database does not answer: connection failed",
        ),
        ('connection failed: FATAL:  role "who" does not exist', "The database does not answer: connection failed"),
        ('relation "workflows_run" does not exist\nLINE 1: SELECT', "run 'manage.py migrate' first"),
        ("column workflows_run.new does not exist", "run 'manage.py migrate' first"),
        ("no such table: workflows_run", "run 'manage.py migrate' first"),
        ("database disk image is malformed", "restore the last backup"),
        ("database or disk is full", "The disk is full: no space is left where ROOTMAIL_VAR lies. Make room"),
        ("deadlock detected\nDETAIL:  Process 7 waits", "try again when they are done (deadlock detected)."),
        ("canceling statement due to lock timeout", "Others are at work on the same tables"),
        ('could not obtain lock on relation "workflows_run"', "Others are at work on the same tables"),
        ("attempt to write a readonly database", "The database takes nothing: attempt to write a readonly database"),
        ('could not extend file "base/5/1": No space left on device\nHINT:', "takes nothing: could not extend file"),
    ],
)
def test_what_the_database_says_is_told_apart(said: str, meant: str) -> None:
    assert meant in errors.explain(OperationalError(said))


def test_a_defect_of_ours_is_no_fault_of_the_database() -> None:
    assert errors.explain(IntegrityError("UNIQUE constraint failed: workflows_run.id")) == ""


def test_names_may_be_in_small_letters_or_capitals(tmp_path: Path) -> None:
    assert manage(tmp_path, "check", LOG_LEVEL="info", LOG_FORMAT="JSON", TIME_ZONE="Europe/Berlin").returncode == 0


def test_a_damaged_database_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "rootmail.sqlite3").write_bytes(b"no database" * 1000)
    done = manage(tmp_path, "deliveries")
    assert (done.returncode, "is damaged" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_a_file_of_another_account_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "fernet_key").touch()
    error = PermissionError(errno.EACCES, "Permission denied", str(file))
    assert "chown" not in errors.explain(error)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + 1)
    assert f"belongs to user {file.stat().st_uid}: give it to this account (chown)" in errors.explain(error)


def test_code_that_cannot_be_read_is_not_to_be_given_away() -> None:
    said = errors.explain(PermissionError(errno.EACCES, "Permission denied", "/opt/rootmail/app/workflows/samples.py"))
    assert said.startswith(
        "/opt/rootmail/app/workflows/samples.py: Permission denied. This account may not read the code"
    )
    assert f"chmod -R a+rX {ROOT}" in said
    assert "chown" not in said


def test_a_disk_that_is_full_or_read_only_is_told_in_a_line() -> None:
    assert "The disk is full" in errors.explain(OSError(errno.ENOSPC, "No space left on device"))
    assert "this account may write to" in errors.explain(OSError(errno.EROFS, "Read-only file system", "/x/up.lock"))


def test_the_state_folder_may_have_any_name(tmp_path: Path) -> None:
    name = "a b+c%20d#e?f=ü"
    folder = tmp_path / name
    folder.mkdir()
    assert manage(tmp_path, "migrate", "-v0", ROOTMAIL_VAR=str(folder)).stderr == ""
    assert (folder / "rootmail.sqlite3").stat().st_mode & 0o077 == 0
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != name and not entry.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OperationalError("connection to server at 10.1.2.3 failed"), 503, "The database does not answer"),
        (OperationalError("database or disk is full"), 503, "Or it takes nothing just now"),
        (RuntimeError("a defect"), 500, "Something went wrong"),
    ],
)
def test_a_page_says_whether_the_database_is_at_fault_and_no_more(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    client.raise_request_exception = False
    monkeypatch.setattr("django.contrib.sessions.backends.db.SessionStore.load", fail)
    client.cookies["sessionid"] = "x" * 32
    answer = client.get("/")
    assert (answer.status_code, said in answer.text, "10.1.2.3" in answer.text) == (status, True, False)
