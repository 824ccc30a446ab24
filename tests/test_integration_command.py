"""`manage.py integration` and `manage.py token`, as operators script them."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.core.management import call_command
from django.core.management.base import CommandError

from integrations import detection, errands, tokens
from integrations.models import ApiToken, SendGridIntegration, SmtpIntegration
from integrations.providers import label_of

from .damage import lose_key_of
from .effort import LONG
from .fake_relay import FakeRelay, authority_pem
from .fake_sendgrid import FakeSendGrid
from .installation import Installation

Manage = Callable[..., "subprocess.CompletedProcess[str]"]


IN_FORCE = {"connected": "smtp", "in_force": "smtp"}


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Return a function that runs manage.py in an installation of its own."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment["ROOTMAIL_VAR"] = str(tmp_path / "var")

    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=site.BASE_DIR, env=environment, input=stdin, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def said(*words: str) -> str:
    """Return what a command printed."""
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def document(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


# Real processes


@pytest.mark.processes
def test_a_whole_life_in_real_processes(tmp_path: Path, relay: FakeRelay) -> None:
    connect = ["integration", "connect", "smtp", "--address", "127.0.0.1", "--port", str(relay.port), "--no-ssl"]
    connect += ["--username", "user", "--password-stdin", "--allow-clear-text-auth"]
    connect += ["--default-from", "desk@example.com", "--json"]
    with Installation(tmp_path) as here:
        refused = json.loads(here.manage(*connect, stdin="wrong horse\n", ok=False))
        assert (refused["ok"], refused["field"], refused["steps"][-1]["name"]) == (False, "password", "auth")
        assert json.loads(here.manage(*connect, stdin="right horse\n")) == IN_FORCE
        assert json.loads(here.manage("integration", "check", "smtp", "--json"))["ok"]

        sent = json.loads(here.manage("integration", "test", "smtp", "--to", "eve@x.test", "--json"))
        assert (sent["ok"], sent["code"], sent["reply"]) == (True, 250, "queued as 1")
        assert [mail.recipients for mail in relay.ledger] == [("eve@x.test",)]

        shown = here.manage("integration", "show", "smtp")
        assert "password               stored" in shown
        assert "horse" not in f"{refused}{sent}{shown}{here.output}"

        relay.password = "changed"
        assert not json.loads(here.manage("integration", "check", "smtp", "--json", ok=False))["ok"]
        gone = here.manage("integration", "disconnect", "smtp")
        assert gone == "SMTP is disconnected. Mail leaves through Default sender.\n"
        assert not json.loads(here.manage("integration", "detect", "smtp", "--address", "no.test", "--json", ok=False))[
            "ok"
        ]


@LONG
@pytest.mark.processes
def test_a_check_that_no_worker_takes_says_so(tmp_path: Path) -> None:
    with Installation(tmp_path) as here:
        here.manage("integration", "connect", "smtp", "--address", "127.0.0.1", "--no-check")
        with here.nobody_writes():  # one that is frozen while it writes would keep the command from writing
            for pid in here.processes("celery", "worker"):
                os.kill(pid, signal.SIGSTOP)
        try:
            found = json.loads(here.manage("integration", "check", "smtp", "--json", ok=False))
        finally:
            for pid in here.processes("celery", "worker"):
                os.kill(pid, signal.SIGCONT)
        assert here.manage("shell", "-v", "0", "-c", COUNT_ERRANDS) == "0\n"
    assert (found["ok"], found["cause"]) == (False, errands.NO_WORKER)
    assert [(step["name"], step["ok"]) for step in found["steps"]] == [("worker", False)]


COUNT_ERRANDS = "from integrations.models import Errand; print(Errand.objects.count())"


def test_without_a_broker_the_finding_says_so(manage: Manage) -> None:
    assert manage("migrate", "-v", "0").returncode == 0
    found = manage("integration", "connect", "smtp", "--address", "127.0.0.1")
    assert found.returncode == 1
    assert found.stdout.startswith("FAIL  worker")
    assert errands.NO_BROKER in found.stdout
    assert "CommandError: Nothing was saved. --no-check connects all the same." in found.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["integration"],
        ["integration", "connect", "smtp", "--address", "a.test", "--password", "right horse"],
        ["token", "create", "pager", "--scope", "everything"],
    ],
)
def test_wrong_usage_ends_with_2(manage: Manage, words: list[str]) -> None:
    found = manage(*words)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("usage: manage.py ")


@pytest.mark.parametrize(
    "words",
    [
        *(["connect", "smtp"], ["connect", "sendgrid"], ["check", "default"], ["show"], ["erase", "smtp"]),
        ["connect", "smtp", "--address", "a.test", "--port", "many"],
        ["connect", "smtp", "--address", "a.test", "--authentication", "xoauth2"],
        ["connect", "sendgrid", "--api-key", "SG.key"],
    ],
)
def test_what_no_command_knows_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(CommandError, match="Error: "):
        call_command("integration", *words)


# Connect


@pytest.mark.django_db
def test_every_option_of_smtp(tmp_path: Path, stdin: Callable[[str], None]) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(authority_pem())
    stdin("right horse\r\nnot part of it\n")
    words = [
        "--address",
        "relay.test",
        "--port",
        "2525",
        "--domain",
        "me.test",
        "--username",
        "user",
        "--password-stdin",
    ]
    words += ["--authentication", "cram_md5", "--enable-starttls", "--no-enable-starttls-auto", "--no-ssl"]
    words += ["--openssl-verify-mode", "peer", "--ca-file", str(ca_file), "--allow-clear-text-auth"]
    words += ["--default-from", "Desk <desk@example.com>", "--no-check"]
    assert said("integration", "connect", "smtp", *words) == "SMTP is connected. The next mail leaves through it.\n"
    row = SmtpIntegration.objects.get()
    assert {name: getattr(row, name) for name in FIELDS} == {
        "address": "relay.test",
        "port": 2525,
        "domain": "me.test",
        "user_name": "user",
        "password": "right horse",
        "authentication": "cram_md5",
        "enable_starttls": True,
        "enable_starttls_auto": False,
        "ssl": False,
        "openssl_verify_mode": "peer",
        "ca_certificates": authority_pem(),
        "allow_clear_text_auth": True,
        "default_from": "Desk <desk@example.com>",
        "connected": True,
        "connected_by": "command line",
    }


FIELDS = ["address", "port", "domain", "user_name", "password", "authentication", "enable_starttls", "ssl"]
FIELDS += ["enable_starttls_auto", "openssl_verify_mode", "ca_certificates", "allow_clear_text_auth", "default_from"]
FIELDS += ["connected", "connected_by"]


@pytest.mark.django_db
def test_what_is_not_named_has_its_documented_default() -> None:
    said("integration", "connect", "smtp", "--address", "relay.test", "--no-check")
    row = SmtpIntegration.objects.get()
    expected = SmtpIntegration(address="relay.test", connected=True, connected_by="command line")
    assert [getattr(row, name) for name in FIELDS] == [getattr(expected, name) for name in FIELDS]


@pytest.mark.django_db
def test_every_option_of_sendgrid(sendgrid_api: FakeSendGrid, stdin: Callable[[str], None]) -> None:
    stdin("SG.key\n")
    words = ["--api-key-stdin", "--base-url", sendgrid_api.base_url, "--default-from", "desk@example.com"]
    words += ["--click-tracking", "--no-open-tracking"]
    assert document("integration", "connect", "sendgrid", *words) == {"connected": "sendgrid", "in_force": "sendgrid"}
    row = SendGridIntegration.objects.get()
    assert (row.api_key, row.base_url, row.default_from) == ("SG.key", sendgrid_api.base_url, "desk@example.com")
    assert (row.click_tracking, row.open_tracking) == (True, False)
    assert sendgrid_api.requests == ["GET /v3/scopes"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "stdin_text", "message"),
    [
        (
            ["smtp", "--address", "smtp://relay.test"],
            "",
            "address: Enter a host name such as smtp.example.com, without port, path or 'smtp://'.",
        ),
        (["smtp", "--address", "a.test", "--port", "0"], "", "port: Ensure this value is greater than or equal to 1."),
        (["smtp", "--address", "a.test", "--username", "u"], "", "password: Enter the password of this username."),
        (
            ["smtp", "--address", "a.test", "--password-stdin"],
            "right horse",
            "user_name: Enter the username that belongs to this password.",
        ),
        (["smtp", "--address", "a.test", "--ca-file", "/nowhere.pem"], "", "/nowhere.pem cannot be read"),
        (["smtp", "--address", "a.test", "--default-from", "ceo@rootmail.example"], "", "default_from: 'rootmail"),
        (["sendgrid", "--api-key-stdin"], "", "api_key: This field cannot be"),
        (["sendgrid", "--api-key-stdin", "--base-url", "https://[::1"], "SG.key", "base_url: "),
    ],
)
def test_what_is_wrong_is_an_error_that_names_the_field(
    stdin: Callable[[str], None], words: list[str], stdin_text: str, message: str
) -> None:
    stdin(stdin_text)
    with pytest.raises(CommandError) as caught:
        said("integration", "connect", *words, "--no-check")
    assert message in str(caught.value)
    assert "horse" not in str(caught.value)
    assert (SmtpIntegration.objects.count(), SendGridIntegration.objects.count()) == (0, 0)


@pytest.mark.django_db
def test_ssl_with_starttls_names_both_fields() -> None:
    with pytest.raises(CommandError) as caught:
        said("integration", "connect", "smtp", "--address", "a.test", "--enable-starttls", "--no-check")
    text = "SSL and StartTLS exclude each other. Turn off SSL (port 587) or turn off StartTLS (port 465)."
    assert sorted(str(caught.value).split("\n")) == [f"enable_starttls: {text}", f"ssl: {text}"]


@pytest.mark.django_db
def test_a_failed_check_is_shown_step_by_step_with_what_to_try(stdin: Callable[[str], None]) -> None:
    out = io.StringIO()
    with FakeRelay(tls="starttls", user="user", password="right horse") as relay:
        stdin("right horse")
        words = ["--address", "127.0.0.1", "--port", str(relay.port), "--username", "user", "--password-stdin"]
        with pytest.raises(CommandError, match="Nothing was saved"):
            call_command("integration", "connect", "smtp", *words, stdout=out)
    lines = out.getvalue().splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["ok", "resolve"], ["ok", "connect"], ["FAIL", "tls"]]
    assert lines[3:] == [
        "Mode: implicit TLS: encrypted from the first byte",
        f"Port {relay.port} begins in clear text and offers STARTTLS.",
        "Field: ssl",
        "Try: --no-ssl --enable-starttls",
    ]


@pytest.mark.django_db
def test_detect_prints_the_command_that_connects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_text(authority_pem())
    with FakeRelay(tls="implicit", user="user", password="right horse", mechanisms=("LOGIN",)) as relay:
        monkeypatch.setattr(detection, "PORTS", (relay.port,))
        words = ["integration", "detect", "smtp", "--address", "localhost", "--ca-file", str(tmp_path / "ca.pem")]
        lines = said(*words).splitlines()
        found = document(*words)
    assert lines == [
        f"{relay.port}  implicit TLS  LOGIN  220 relay.test ESMTP",
        f"port: Port {relay.port} answers and speaks implicit TLS: the best that was found.",
        "ssl: The connection is encrypted from the first byte.",
        "authentication: The relay offers LOGIN.",
        "openssl_verify_mode: The certificate comes from a trusted CA and fits the address.",
        f"Try: manage.py integration connect smtp --address localhost --port {relay.port} --ssl --no-enable-starttls "
        f"--enable-starttls-auto --authentication login --openssl-verify-mode peer --ca-file {tmp_path / 'ca.pem'} "
        "--username YOU --password-stdin --default-from YOU@example.com",
    ]
    assert found["proposal"]["authentication"] == "login"


@pytest.mark.django_db
def test_detect_that_finds_nothing_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "PORTS", (465,))
    with pytest.raises(CommandError, match=r"The name no.such.host.invalid cannot be resolved."):
        said("integration", "detect", "smtp", "--address", "no.such.host.invalid")


# Test mail


def test_a_test_mail_shows_the_reply_and_does_not_say_delivered(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    out = said("integration", "test", "smtp", "--to", "eve@x.test")
    assert re.sub(r"\d+ ms", "N ms", out) == (
        "Accepted for eve@x.test: 250 2.0.0 queued as 1 (no TLS, N ms)\n"
        "Accepted is not delivered: look into the mailbox.\n"
    )


def test_a_test_mail_that_is_not_accepted_ends_with_1(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"MAIL": "550 5.7.60 not your sender"}
    with pytest.raises(CommandError, match=r"eve@x.test was not accepted. The relay answered 550 5.7.60 not"):
        said("integration", "test", "smtp", "--to", "eve@x.test")
    with pytest.raises(CommandError, match="to: Enter one e-mail address"):
        said("integration", "test", "smtp", "--to", "eve")
    with pytest.raises(CommandError, match="SendGrid is not connected"):
        said("integration", "test", "sendgrid", "--to", "eve@x.test")


# Check, show, disconnect


def test_a_check_prints_each_step_the_mode_and_the_certificate(db: None) -> None:
    lines = checked(
        {"tls": "starttls"}, enable_starttls=True, openssl_verify_mode="peer", ca_certificates=authority_pem()
    )
    assert [line.split()[:2] for line in lines[:8]] == [
        ["ok", name] for name in ("resolve", "connect", "greeting", "tls", "ehlo", "auth", "mail", "quit")
    ]
    assert lines[8] == "Mode: STARTTLS required: encrypted, or not sent at all"
    assert re.fullmatch(
        r"The certificate was issued for localhost, 127\.0\.0\.1, ::1 and is valid until [\d-]{10}\. It passes Peer\.",
        lines[9],
    )
    assert lines[10:] == []


def test_a_check_names_what_is_wrong_with_a_certificate_that_nobody_verified(db: None) -> None:
    lines = checked({"tls": "starttls"}, enable_starttls=True)
    assert "does not pass Peer: it comes from a CA that this machine does not know: paste" in lines[9]
    assert re.search(r"SHA-256 is [0-9a-f]{64}\.$", lines[9])


def checked(relay: dict[str, Any], **values: Any) -> list[str]:
    with FakeRelay(user="user", password="right horse", **relay) as server:
        SmtpIntegration.objects.create(
            connected=True, address="localhost", port=server.port, user_name="user", password="right horse",
            default_from="desk@example.com", **{"ssl": False, **values},
        )  # fmt: skip
        return said("integration", "check", "smtp").splitlines()


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["check", "disconnect"])
@pytest.mark.parametrize("kind", ["smtp", "sendgrid"])
def test_what_is_not_connected_is_an_error(verb: str, kind: str) -> None:
    with pytest.raises(CommandError, match=f"{label_of(kind)} is not connected"):
        said("integration", verb, kind)


def test_the_check_has_a_document_for_scripts(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    found = document("integration", "check", "smtp")
    assert list(found) == ["ok", "mode", "steps", "cause", "field", "proposal", "certificate"]
    assert [step["name"] for step in found["steps"]] == [
        *("resolve", "connect", "greeting", "ehlo", "auth", "mail", "quit"),
    ]
    assert all(list(step) == ["name", "ok", "milliseconds", "said", "detail"] for step in found["steps"])
    assert relay.ledger == []


def test_a_failed_check_ends_with_1(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    sendgrid_api.scopes = ("user.read",)
    out = io.StringIO()
    with pytest.raises(CommandError, match="give it the permission 'Mail Send'"):
        call_command("integration", "check", "sendgrid", "--json", stdout=out)
    assert json.loads(out.getvalue())["field"] == "api_key"


@pytest.mark.django_db
def test_show_says_when_nothing_is_connected() -> None:
    assert document("integration", "show", "smtp") == {"connected": False}


def test_show_shows_no_secret(smtp: SmtpIntegration, sendgrid: SendGridIntegration) -> None:
    shown = document("integration", "show", "smtp")
    assert (shown["connected"], shown["address"], shown["password"]) == (True, "127.0.0.1", "stored")
    assert document("integration", "show", "sendgrid")["api_key"] == "stored"
    lines = said("integration", "show", "sendgrid") + said("integration", "show", "smtp")
    assert "SG.key" not in lines
    assert "horse" not in lines


def test_disconnect_says_where_mail_leaves_from_now_on(smtp: SmtpIntegration, sendgrid: SendGridIntegration) -> None:
    assert document("integration", "disconnect", "smtp") == {"disconnected": "smtp", "in_force": "sendgrid"}
    assert said("integration", "disconnect", "sendgrid") == (
        "SendGrid is disconnected. Mail leaves through Default sender.\n"
    )


@pytest.mark.parametrize("verb", ["check", "show"])
def test_a_lost_key_is_an_error_with_a_hint(smtp: SmtpIntegration, verb: str) -> None:
    lose_key_of(smtp, "password")
    with pytest.raises(CommandError, match=r"The stored Password of SMTP cannot be decrypted.*FERNET_KEYS"):
        said("integration", verb, "smtp")


# Tokens


@pytest.mark.django_db
def test_a_token_is_printed_once() -> None:
    token = said("token", "create", "pager").removesuffix("\n")
    row = tokens.find(token)
    assert row
    assert (row.name, row.scopes) == ("pager", ["trigger"])
    found = document("token", "create", "reader", "--scope", "read", "--scope", "trigger", "--scope", "read")
    assert found == {"name": "reader", "scopes": ["read", "trigger"], "token": found["token"]}
    assert tokens.find(found["token"]) == ApiToken.objects.get(name="reader")


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["pager", "", "x" * 101])
def test_a_name_that_is_taken_or_impossible_is_an_error(name: str) -> None:
    said("token", "create", "pager")
    with pytest.raises(CommandError):
        said("token", "create", name)
    assert ApiToken.objects.count() == 1
