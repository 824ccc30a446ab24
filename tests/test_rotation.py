"""New keys: every row reads with the new key alone, and a rotation that was killed goes on where it was."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from integrations import rotation
from rootmail import about
from tests.effort import LONG
from tests.fake_relay import FakeRelay
from tests.installation import EXAMPLES, ROOT, Installation, fresh_postgres, wait_until

USER_NAME, PASSWORD = "mailer-4711", "old-horse-4711"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SEND = "from django.core.mail import send_mail as s; s('Hello', 'there', None, ['a@example.org'])"
PREPARE = f"""
from django.core.management import call_command
from integrations.models import SmtpIntegration
call_command("migrate", verbosity=0)
SmtpIntegration(
    connected=True, address="localhost", port=%d, user_name={USER_NAME!r}, password={PASSWORD!r}, ssl=False,
    enable_starttls_auto=False, allow_clear_text_auth=True, default_from="desk@example.com",
).save()
"""
WORKFLOW = f"""
call_command("workflow", "load", {str(EXAMPLES / "workflows.json")!r})
call_command("token", "create", "test", "--scope", "trigger")
"""
MANY = 1500  # and SMTP
MANY_ROWS = f"""
from django.db import transaction
from django.utils import timezone
from integrations.models import Errand
with transaction.atomic():
    for number in range({MANY}):
        Errand(job="check", asked_by="ada", asked_at=timezone.now(), report="{{}}").save(force_insert=True)
"""
LOOK = "from integrations import rotation as r; s = r.survey(); print(s.total, len(s.older), len(s.unreadable))"

pytestmark = pytest.mark.processes


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """An installation of commands alone: nothing runs beside them."""
    return Installation(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """An installation that can be started: web, worker and beat."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh_postgres()) if request.param == "postgresql" else ""
        made = Installation(tmp_path, database_url=url)
        yield made
        if hasattr(made, "process"):
            made.stop()


@contextmanager
def events_meanwhile(installation: Installation, token: str) -> Iterator[list[dict[str, Any]]]:
    """Post one event after another, and give them out."""
    events = [installation.post_event(token)]
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.2):
            events.append(installation.post_event(token))

    (load := threading.Thread(target=go_on)).start()
    try:
        yield events
    finally:
        over.set()
        load.join()


def keys(installation: Installation, *wanted: str) -> None:
    installation.environment["FERNET_KEYS"] = ",".join(wanted)


def prepare(installation: Installation, relay: FakeRelay, and_then: str = "") -> str:
    """Make the tables and connect SMTP under the old key, in one process; return what it printed."""
    keys(installation, OLD)
    return installation.manage("shell", "--verbosity", "0", "-c", PREPARE % relay.port + and_then)


def connect_sendgrid(installation: Installation) -> None:
    installation.manage(
        *("integration", "connect", "sendgrid", "--api-key-stdin", "--no-check", "--default-from", "desk@example.com"),
        stdin="SG.4711",
    )


def test_three_starts_old_key_then_both_with_a_rotation_then_the_new_key_alone(whole: Installation) -> None:
    """(11) After key rotation every row reads with the new key alone; mail leaves all the time."""
    with FakeRelay(user=USER_NAME, password=PASSWORD) as relay:
        token = prepare(whole, relay, SEND + WORKFLOW).split()[-1]
        assert len(relay.ledger) == 1

        keys(whole, NEW, OLD)
        whole.start()
        with events_meanwhile(whole, token) as events:
            assert "The other one can be taken out." in whole.manage("rotate_encryption_keys")
        wait_until(lambda: len(relay.ledger) >= 1 + 2 * len(events), what="the mails of every event")
        whole.stop()

        keys(whole, NEW)
        assert look(whole, and_then=SEND)[1:] == (0, 0), "every row reads with the new key alone"
        assert len(relay.ledger) == 2 + 2 * len(events), "each mail left once"


@pytest.mark.django_db
def test_nothing_is_rotated_before_the_workers_know_the_new_key(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"code": "x", "keys": about.keys()}
    answers = {"a@x": known, "b@x": known | {"keys": "other"}}
    monkeypatch.setattr(about, "of_workers", lambda *, within: answers)
    monkeypatch.setattr(rotation, "rotate", lambda **_: pytest.fail("it was rotated"))
    with pytest.raises(CommandError, match=r"^b@x runs with other keys.* Restart web and workers"):
        call_command("rotate_encryption_keys")


def look(installation: Installation, *, and_then: str = "") -> tuple[int, int, int]:
    """Return how many rows hold something encrypted, how many of them under an older key, how many under none."""
    said = installation.manage("shell", "--verbosity", "0", "-c", f"{LOOK}\n{and_then}")
    total, older, unreadable = map(int, said.split())
    return total, older, unreadable


@LONG
def test_a_rotation_that_was_killed_goes_on_where_it_was(installation: Installation) -> None:
    with FakeRelay(user=USER_NAME, password=PASSWORD) as relay:
        prepare(installation, relay, MANY_ROWS)
        keys(installation, NEW, OLD)
        kill_at_the_first_tenth(installation)
        total, older, unreadable = look(installation)
        assert (total, unreadable) == (MANY + 1, 0)
        assert 0 < older < total, "it was killed in the middle"
        said = installation.manage("rotate_encryption_keys")
        assert f"{older} rows encrypted anew, {total - older} were under the first key already." in said
        assert "#" not in said, "no bar where the output is no terminal"
        keys(installation, NEW)
        assert look(installation, and_then=SEND) == (total, 0, 0)
        assert len(relay.ledger) == 1
        keys(installation, OLD)
        installation.manage("shell", "-c", SEND, ok=False)


def kill_at_the_first_tenth(installation: Installation) -> None:
    """Watch the bar on a terminal, and end the process without a warning while it grows."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "rotate_encryption_keys"],
        cwd=ROOT, env=installation.environment, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""

    def a_tenth() -> bool:
        nonlocal shown
        shown += os.read(ours, 4096)
        return re.search(rb"\[#{4,}\.+\] +1\d % \d+ of 1501\b", shown) is not None

    wait_until(a_tenth, what="a tenth of the bar")
    process.kill()
    os.close(ours)
    assert process.wait() == -signal.SIGKILL


def test_what_no_key_opens_is_named_and_the_rest_is_encrypted_anew(installation: Installation) -> None:
    with FakeRelay(user=USER_NAME, password=PASSWORD) as relay:
        prepare(installation, relay)
        keys(installation, NEW)
        connect_sendgrid(installation)
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
