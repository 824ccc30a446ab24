"""Settings that stand in files: Docker secrets and systemd credentials."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from rootmail.environment import Env

ROOT = Path(__file__).resolve().parent.parent


def test_a_setting_is_read_from_the_file_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("new,old\n")
    monkeypatch.setenv("KEYS_OF_A_TEST_FILE", str(tmp_path / "keys"))
    assert Env().list("KEYS_OF_A_TEST", default=[]) == ["new", "old"]


def test_a_file_that_is_not_there_is_no_missing_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD_OF_A_TEST_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match="WORD_OF_A_TEST_FILE names a file that cannot be read"):
        Env().str("WORD_OF_A_TEST", default="")


def test_without_a_file_it_is_read_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOURS_OF_A_TEST", "7")
    assert Env().int("HOURS_OF_A_TEST", default=12) == 7
    assert Env().int("DAYS_OF_A_TEST", default=12) == 12


def test_the_settings_are_read_so(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("signs\n")
    (tmp_path / "fernet").write_text("first,second\n")
    (tmp_path / "database").write_text("postgres://rootmail:word@db/rootmail\n")
    files = {name: str(tmp_path / file) for name, file in (("SECRET_KEY_FILE", "secret"),
             ("FERNET_KEYS_FILE", "fernet"), ("DATABASE_URL_FILE", "database"))}  # fmt: skip
    code = "from rootmail import settings as s; print(s.SECRET_KEY, s.FERNET_KEYS, s.DATABASES['default']['NAME'])"
    environment = {"PATH": os.environ["PATH"], "ROOTMAIL_VAR": str(tmp_path), "BROKER_URL": "redis://127.0.0.1/0"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment | files, capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "signs ['first', 'second'] rootmail\n", done.stderr
    assert not (tmp_path / "fernet_key").exists()
