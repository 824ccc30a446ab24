"""`manage.py integration` and `manage.py token`, as operators script them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as site
from django.core.management import call_command
from django.core.management.base import CommandError

from integrations import tokens
from integrations.models import ApiToken, SendGridIntegration, SmtpIntegration

from .damage import lose_key_of
from .fake_relay import FakeRelay, authority_pem
from .fake_sendgrid import FakeSendGrid

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


def test_a_whole_life_in_real_processes(manage: Manage, relay: FakeRelay) -> None:
    assert manage("migrate", "-v", "0").returncode == 0
    connect = ["integration", "connect", "smtp", "--address", "127.0.0.1", "--port", str(relay.port), "--no-ssl"]
    connect += [
        "--username",
        "user",
        "--password-stdin",
        "--allow-clear-text-auth",
        "--default-from",
        "desk@example.com",
    ]

    refused = manage(*connect, "--json", stdin="wrong horse\n")
    assert refused.returncode == 1
    found = json.loads(refused.stdout)
    assert (found["ok"], found["field"], found["steps"][-1]["name"]) == (False, "password", "auth")
    assert refused.stderr == "CommandError: Nothing was saved. --no-check connects all the same.\n"

    connected = manage(*connect, "--json", stdin="right horse\n")
    assert (connected.returncode, json.loads(connected.stdout), connected.stderr) == (0, IN_FORCE, "")

    checked = manage("integration", "check", "smtp", "--json")
    assert (checked.returncode, json.loads(checked.stdout)["ok"], checked.stderr) == (0, True, "")

    shown = manage("integration", "show", "smtp")
    assert "password               stored" in shown.stdout
    assert "horse" not in "".join([refused.stdout, refused.stderr, connected.stdout, checked.stdout, shown.stdout])

    relay.password = "changed"
    failed = manage("integration", "check", "smtp", "--json")
    assert (failed.returncode, json.loads(failed.stdout)["ok"]) == (1, False)

    gone = manage("integration", "disconnect", "smtp")
    assert (gone.returncode, gone.stdout) == (0, "smtp is disconnected. Mail leaves through Default sender.\n")


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
    assert document("integration", "connect", "sendgrid", *words) == {"connected": "sendgrid", "in_force": "sendgrid"}
    row = SendGridIntegration.objects.get()
    assert (row.api_key, row.base_url, row.default_from) == ("SG.key", sendgrid_api.base_url, "desk@example.com")
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
    assert lines[0] == "implicit TLS: encrypted from the first byte"
    assert [line.split()[:2] for line in lines[1:4]] == [["ok", "resolve"], ["ok", "connect"], ["FAIL", "tls"]]
    assert lines[4] == f"Port {relay.port} begins in clear text and offers STARTTLS. (field: ssl)"
    assert lines[5:] == ["Try ssl = False", "Try enable_starttls = True"]


# Check, show, disconnect


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["check", "disconnect"])
@pytest.mark.parametrize("kind", ["smtp", "sendgrid"])
def test_what_is_not_connected_is_an_error(verb: str, kind: str) -> None:
    with pytest.raises(CommandError, match=f"{kind} is not connected"):
        said("integration", verb, kind)


def test_the_check_has_a_document_for_scripts(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    found = document("integration", "check", "smtp")
    assert list(found) == ["ok", "mode", "steps", "cause", "field", "proposal"]
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
        "sendgrid is disconnected. Mail leaves through Default sender.\n"
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
