"""The whole road with real processes: web, worker, beat, broker, SMTP server."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.effort import LONG
from tests.fake_relay import FakeRelay, authority_pem
from tests.fake_sendgrid import FakeSendGrid, authority_file
from tests.installation import EXAMPLES, ROOT, Installation, fresh_postgres, from_environment, wait_until

pytestmark = pytest.mark.processes

USER_NAME, PASSWORD, API_KEY = "mailer-4711", "correct-horse-4711", "SG.key-4711"
DESK = "desk@example.com"
TRUSTING = {"SSL_CERT_FILE": authority_file()}


@pytest.fixture(params=["embedded", "postgresql+redis", "postgresql+rabbitmq"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with ExitStack() as stack:
        database = broker = ""
        if request.param != "embedded":
            broker = from_environment("TEST_REDIS_URL" if request.param.endswith("redis") else "TEST_RABBITMQ_URL")
            database = stack.enter_context(fresh_postgres())
        places = {"database_url": database, "broker_url": broker}
        yield stack.enter_context(Installation(tmp_path, **places, environment=TRUSTING))


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path, environment=TRUSTING) as running:
        yield running


def connect_smtp(installation: Installation, relay: FakeRelay, *options: str) -> None:
    installation.manage(
        "integration", "connect", "smtp", "--address", "localhost", "--port", str(relay.port),
        "--username", USER_NAME, "--password-stdin", "--no-ssl", "--default-from", DESK, *options,
        stdin=PASSWORD + "\n",
    )  # fmt: skip


def connect_sendgrid(installation: Installation, api: FakeSendGrid) -> None:
    installation.manage(
        "integration", "connect", "sendgrid", "--api-key-stdin", "--base-url", api.base_url, "--default-from", DESK,
        stdin=API_KEY + "\n",
    )  # fmt: skip


def test_mail_follows_the_priority_of_what_is_connected_without_a_restart(
    installation: Installation, tmp_path: Path
) -> None:
    """SMTP beats SendGrid beats the default sender; nothing secret is stored or logged in clear."""
    (tmp_path / "ca.pem").write_text(authority_pem())
    installation.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
    token = installation.token()
    with FakeRelay(user=USER_NAME, password=PASSWORD, tls="starttls") as relay, FakeSendGrid(api_key=API_KEY) as api:
        verified = ("--enable-starttls", "--openssl-verify-mode", "peer", "--ca-file", str(tmp_path / "ca.pem"))
        connect_smtp(installation, relay, *verified)
        connect_sendgrid(installation, api)
        event = installation.post_event(token)
        first = installation.mails_of(event)
        assert [mail["provider"] for mail in first] == ["smtp", "smtp"]
        assert [mail.tls for mail in relay.ledger] == [True, True]
        assert sorted(one for mail in relay.ledger for one in mail.recipients) == sorted(
            person["address"] for mail in first for person in mail["recipients"]
        )
        assert api.ledger == []
        wait_until(lambda: installation.run_of(event, token)["status"] == "completed", what="the end of the run")
        assert installation.run_of(event, token)["deliveries"] == first

        installation.manage("integration", "disconnect", "smtp")
        second = installation.mails_of(installation.post_event(token))
        assert [mail["provider"] for mail in second] == ["sendgrid", "sendgrid"]
        by_sendgrid = {one["custom_args"]["rootmail_message_id"] for one in api.ledger}
        assert by_sendgrid == {one["message_id"] for one in second}

        installation.manage("integration", "disconnect", "sendgrid")
        third = installation.mails_of(installation.post_event(token))
        assert [mail["provider"] for mail in third] == ["default", "default"]
        assert len(list(installation.outbox.glob("*.eml"))) == 2
        assert (len(relay.ledger), len(api.ledger)) == (2, 2)

        connect_smtp(installation, relay, *verified)
        connect_sendgrid(installation, api)
    assert_nothing_secret_in(installation, [USER_NAME, PASSWORD, API_KEY])


def test_an_address_that_does_not_answer_is_stored_and_logged_nowhere(installation: Installation) -> None:
    host = "smtp-4711.example.com"
    installation.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
    installation.manage(
        "integration", "connect", "smtp", "--address", host, "--username", USER_NAME, "--password-stdin",
        "--default-from", DESK, "--no-check", stdin=PASSWORD,
    )  # fmt: skip
    event = installation.post_event(installation.token())
    wait_until(lambda: any(mail["state"] == "deferred" for mail in installation.deliveries(event["runs"][0]["id"])))
    assert_nothing_secret_in(installation, [host, USER_NAME, PASSWORD])


def assert_nothing_secret_in(installation: Installation, secrets: list[str]) -> None:
    """Look for each secret, and for its base64 forms, in the database, the logs and the embedded broker's memory."""
    places = {"log": installation.log.read_bytes()}
    if installation.database_url:
        dump = subprocess.run(["pg_dump", installation.database_url], capture_output=True, check=True, timeout=60)
        places["pg_dump"] = dump.stdout
    else:
        places |= {path.name: path.read_bytes() for path in installation.folder.glob("rootmail.sqlite3*")}
    if not installation.broker_url:  # its append-only file holds every command that it was ever sent
        places |= {str(path): path.read_bytes() for path in (installation.folder / "broker").rglob("*.aof")}
        assert b"workflows.tasks.work" in b"".join(places.values())
    wanted = {secret.encode() for secret in secrets}
    wanted |= {base64.b64encode(secret) for secret in wanted}
    wanted |= {base64.b64encode(f"\0{USER_NAME}\0{PASSWORD}".encode())}
    assert [(name, secret) for name, content in places.items() for secret in wanted if secret in content] == []


def test_a_broker_that_is_killed_loses_nothing(embedded: Installation) -> None:
    embedded.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
    token = embedded.token()
    os.kill(embedded.processes("valkey-server")[0], signal.SIGKILL)
    event = embedded.post_event(token)  # answered although nobody can be rung for
    assert [mail["provider"] for mail in embedded.mails_of(event, seconds=60)] == ["default", "default"]
    assert "broker ended (exit code -9), starting it again" in embedded.output


def test_a_worker_killed_after_the_final_dot_sends_that_mail_once_more_and_the_others_once(
    embedded: Installation,
) -> None:
    embedded.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
    with FakeRelay(user=USER_NAME, password=PASSWORD, hang=["."]) as relay:
        connect_smtp(embedded, relay, "--allow-clear-text-auth", "--no-check")
        event = embedded.post_event(embedded.token())
        wait_until(lambda: relay.ledger, what="a mail taken without an answer")
        sending = [mail for mail in embedded.deliveries(event["runs"][0]["id"]) if mail["state"] == "sending"]
        assert len(sending) == 2, "one in flight, one waiting behind it in the same batch"
        for pid in embedded.processes("celery", "worker"):
            os.kill(pid, signal.SIGKILL)
        relay.hang = []
        embedded.manage("shell", "-c", EXPIRE_LEASES)
        mails = embedded.mails_of(event, seconds=60)
    outcomes = [[attempt["outcome"] for attempt in mail["attempts"]] for mail in mails]
    assert outcomes == [["unknown", "accepted"], ["accepted"]]
    copies = [sum(mail["message_id"].encode() in one.content for one in relay.ledger) for mail in mails]
    assert copies == [2, 1]
    assert relay.ledger[0] == next(one for one in relay.ledger[1:] if mails[0]["message_id"].encode() in one.content)


EXPIRE_LEASES = """
from datetime import timedelta
from django.utils import timezone
from integrations.models import ProviderState
from workflows import delivery
from workflows.models import Delivery
ProviderState.objects.update(probe_until=None)  # connected without a check, so it was the probe
Delivery.objects.filter(state="sending").update(lease_expires_at=timezone.now() - timedelta(seconds=1))
delivery.free_expired_leases()
Delivery.objects.filter(state="unknown").update(next_attempt_at=timezone.now())
"""


def test_stopping_leaves_no_process_and_starting_again_goes_on(embedded: Installation) -> None:
    embedded.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
    token = embedded.token()
    embedded.stop()
    assert embedded.processes() == []
    assert not list(embedded.folder.glob(".*")), "which is the home folder as well"
    out = embedded.manage("workflow", "trigger", "incident_created", str(EXAMPLES / "incident.json"), "--json")
    embedded.start()
    assert [mail["state"] for mail in embedded.mails_of(json.loads(out))] == ["accepted", "accepted"]
    assert [mail["state"] for mail in embedded.mails_of(embedded.post_event(token))] == ["accepted", "accepted"]


@LONG
def test_a_stop_finishes_the_mail_in_hand_and_sends_the_others_after_the_next_start(embedded: Installation) -> None:
    embedded.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
    token = embedded.token()
    with FakeRelay(user=USER_NAME, password=PASSWORD, slow={".": 0.7}) as relay:
        connect_smtp(embedded, relay, "--allow-clear-text-auth")
        events = [embedded.post_event(token) for _ in range(10)]
        wait_until(lambda: len(relay.ledger) >= 2, what="the first mails")
        embedded.stop()
        relay.slow = {}
        verbs = [line.split(" ")[0] for line in relay.transcript]
        assert verbs.count("QUIT") == verbs.count("EHLO"), "every session is ended politely"
        states = [mail["state"] for mail in embedded.deliveries()]
        assert states.count("accepted") == len(relay.ledger) < 20
        assert set(states) <= {"accepted", "queued"}
        embedded.start()
        for event in events:
            embedded.wait_for_mails_of(event, seconds=60)
        mails = embedded.deliveries()
    copies = [sum(mail["message_id"].encode() in one.content for one in relay.ledger) for mail in mails]
    assert copies == [1] * 20


def test_killing_the_supervisor_leaves_no_process(embedded: Installation) -> None:
    os.kill(embedded.process.pid, signal.SIGKILL)
    embedded.process.wait()
    wait_until(lambda: embedded.processes() == [], seconds=60, what="the end of every process")


def test_a_second_installation_on_the_same_folder_is_refused(embedded: Installation) -> None:
    done = subprocess.run(
        [embedded.process.args[0], "manage.py", "up"],  # type: ignore[index]
        cwd=EXAMPLES.parent.parent, env=embedded.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "rootmail runs already with the state in" in done.stderr


def test_up_demands_a_worker() -> None:
    with pytest.raises(CommandError, match="--workers: without a worker no mail leaves"):
        call_command("up", "--workers", "0")


@pytest.mark.parametrize(
    ("bind", "complaint"),
    [("", "cannot listen on"), ("8000", "takes ADDRESS:PORT"), ("127.0.0.1:http", "takes ADDRESS:PORT")],
)
def test_up_says_so_when_it_cannot_listen(tmp_path: Path, bind: str, complaint: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = subprocess.run(
            [sys.executable, "manage.py", "up", "--bind", bind or f"127.0.0.1:{other.getsockname()[1]}"],
            cwd=ROOT, env=Installation(tmp_path).environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
