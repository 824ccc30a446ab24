"""New keys: every row reads with the new key alone, and an interrupted rotation is simply begun again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.fake_relay import FakeRelay
from tests.installation import ROOT, Installation

USER_NAME, PASSWORD = "mailer-4711", "old-horse-4711"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SEND = "from django.core.mail import send_mail as s; s('Hello', 'there', None, ['a@example.org'])"
KILLED_AT_THE_SECOND_ROW = """
import os
from integrations import rotation
real, seen = rotation.encrypt_anew, []
def once(*row):
    if seen:
        os.kill(os.getpid(), 9)
    seen.append(real(*row))
rotation.encrypt_anew = once
from django.core.management import call_command
call_command("rotate_encryption_keys")
"""

pytestmark = pytest.mark.processes


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Its commands alone: nothing runs beside them."""
    made = Installation(tmp_path)
    keys(made, OLD)
    made.manage("migrate", "--verbosity", "0")
    return made


def keys(installation: Installation, *wanted: str) -> None:
    installation.environment["FERNET_KEYS"] = ",".join(wanted)


def connect(installation: Installation, relay: FakeRelay) -> None:
    installation.manage(
        *("integration", "connect", "smtp", "--address", "localhost", "--port", str(relay.port)),
        *("--username", USER_NAME, "--password-stdin", "--no-ssl", "--no-enable-starttls-auto", "--no-check"),
        *("--allow-clear-text-auth", "--default-from", "desk@example.com"),
        stdin=PASSWORD,
    )
    installation.manage(
        *("integration", "connect", "sendgrid", "--api-key-stdin", "--no-check", "--default-from", "desk@example.com"),
        stdin="SG.4711",
    )


def test_three_starts_old_key_then_both_with_a_rotation_then_the_new_key_alone(installation: Installation) -> None:
    """(11) After key rotation every row reads with the new key alone, and an interrupted rotation resumes."""
    with FakeRelay(user=USER_NAME, password=PASSWORD) as relay:
        connect(installation, relay)
        installation.manage("shell", "-c", SEND)

        keys(installation, NEW, OLD)
        killed = subprocess.run(
            [sys.executable, "manage.py", "shell", "-c", KILLED_AT_THE_SECOND_ROW],
            cwd=ROOT, env=installation.environment, capture_output=True, timeout=60,
        )  # fmt: skip
        assert killed.returncode == -9, killed.stderr
        installation.manage("shell", "-c", SEND)
        assert "The other one can be taken out." in installation.manage("rotate_encryption_keys")
        installation.manage("shell", "-c", SEND)

        keys(installation, NEW)
        installation.manage("shell", "-c", SEND)
        assert "There is no other." in installation.manage("rotate_encryption_keys")
        assert len(relay.ledger) == 4
        assert sum(line.startswith("AUTH") for line in relay.transcript) == 4

        keys(installation, OLD)
        installation.manage("shell", "-c", SEND, ok=False)
        assert len(relay.ledger) == 4


def test_what_no_key_opens_is_named_and_the_rest_is_encrypted_anew(installation: Installation) -> None:
    with FakeRelay(user=USER_NAME, password=PASSWORD) as relay:
        connect(installation, relay)
        keys(installation, NEW)
        installation.manage(
            *("integration", "connect", "sendgrid", "--api-key-stdin", "--no-check", "--default-from", "d@example.com"),
            stdin="SG.4712",
        )
        done = subprocess.run(
            [sys.executable, "manage.py", "rotate_encryption_keys"],
            cwd=ROOT, env=installation.environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        assert "Put the key that it was saved with back into FERNET_KEYS" in done.stderr
        assert "Not everything could be decrypted" in done.stderr
        keys(installation, NEW, OLD)
        installation.manage("rotate_encryption_keys")
        keys(installation, NEW)
        installation.manage("shell", "-c", SEND)
        assert len(relay.ledger) == 1
