"""The demonstration, step by step, as an admin and a client would do it: over HTTP."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, connection

from integrations import audit, stored, tokens
from integrations.models import SmtpIntegration
from rootmail import first_start, state
from workflows import delivery_documents
from workflows.models import Delivery, Run

from .browser import Browser
from .relay import USER_NAME, CompanyRelay
from .site import Site

EXAMPLES = settings.BASE_DIR / "workflows" / "examples"
SMTP_PAGE = "/configuration/integrations/smtp/"
PATIENCE = 60.0
User = get_user_model()
HTML_LINES = 8


class DemonstrationFailed(Exception):
    """Something did not go as promised; the text says what."""


class Demonstration:
    """Plays the main job once and checks, at the receiving ends, that every mail really arrived."""

    def __init__(self, *, say: Callable[[str], None]) -> None:
        self._say = say
        self._relay = CompanyRelay()
        self._site = Site()
        self._received = settings.ROOTMAIL_VAR / "received"

    def run(self) -> None:
        self._refuse_installation_in_use()
        self._say("1. Starting web, worker, beat and the embedded broker …")
        self._site.start()
        self._relay.start()
        self._say(f"   The site answers at {self._site.address}.")
        self._say(f"   A local SMTP server stands for the company's relay: localhost, port {self._relay.port}.")
        call_command("workflow", "load", str(EXAMPLES / "workflows.json"), verbosity=0, stdout=_Silent())
        self._say("2. Loaded the example workflow 'Tell stakeholders' with two Send an Email actions.")
        token = _token()
        with Browser(self._site.address) as browser:
            self._log_in(browser)
            self._connect_smtp(browser)
            self._trigger_and_show(token, provider="smtp")
            browser.submit(f"{SMTP_PAGE}disconnect/", {})
            self._say("\n5. Clicked Connected, then Disconnect. The same workflow, the same event again:")
            self._trigger_and_show(token, provider="default")
        self._say("\nAll four mails arrived, each at the server that should have got it.")

    def leave_running(self) -> None:
        self._say(f"\nThe site goes on running: {self._site.address}")
        self._say(f"Log in as 'admin' with the password {_password()}")
        self._say("Ctrl-C stops everything.")
        self._site.wait()

    def stop(self) -> None:
        self._site.stop()
        self._relay.stop()

    def _refuse_installation_in_use(self) -> None:
        """The demonstration connects and disconnects SMTP: it must not do that to anybody's real set-up.

        Nor start it: its worker would hand over what waits there.
        """
        try:
            problem = self._in_use()
        except DatabaseError as error:
            raise DemonstrationFailed(f"The database cannot be read: {error}") from error
        if problem:
            raise DemonstrationFailed(
                f"The installation in {settings.ROOTMAIL_VAR} has {problem}. "
                "Give the demonstration a folder of its own: ROOTMAIL_VAR=/tmp/rootmail make demo"
            )

    def _in_use(self) -> str:
        """Say what shows that somebody uses the installation, of whatever version its tables are; '' for nobody."""
        if User._meta.db_table not in connection.introspection.table_names():
            return ""
        addresses = set(SmtpIntegration.objects.filter(connected=True).values_list("address", flat=True))
        if stored.is_connected("sendgrid") or addresses - {self._relay.host}:
            return "an integration connected that is not the demonstration's"
        if User._default_manager.exists() and not _password_file().exists():
            return "accounts, and none of them is the demonstration's"
        return ""

    def _log_in(self, browser: Browser) -> None:
        if not User._default_manager.exists():
            self._make_first_admin(browser)
            return
        answer = browser.submit("/login/", {"username": "admin", "password": _password()})
        self._say(f"3. Logged in as admin ({answer.status_code} to {answer.headers['Location']}).")

    def _make_first_admin(self, browser: Browser) -> None:
        new = {"password1": _password(), "password2": _password()}
        account = {"token": first_start.token(), "username": "admin", "email": "admin@example.com"}
        browser.submit("/first-admin/", account | new)
        self._say("3. Made the first account, 'admin', with the token that the start printed, and is logged in.")

    def _connect_smtp(self, browser: Browser) -> None:
        values = {
            "address": self._relay.host,
            "port": str(self._relay.port),
            "user_name": USER_NAME,
            "password": self._relay.password,
            "ssl": None,  # untick: this relay speaks STARTTLS
            "enable_starttls": "on",
            "openssl_verify_mode": "peer",
            "ca_certificates": self._relay.ca_certificate,
            "default_from": "Example Incident Desk <incidents@example.com>",
        }
        browser.submit(SMTP_PAGE, values)
        self._say("   Configuration → Integrations → SMTP: filled in the form, Connect: the check passed, connected.")

    def _trigger_and_show(self, token: str, *, provider: str) -> None:
        arrived_before = len(self._relay.arrived)
        files_before = set(self._site.outbox.glob("*.eml"))
        if provider == "smtp":
            self._say("4. POST /v1/events: incident_created, with a token. The mails:")
        mails = self._outcome(self._post_event(token))
        by_relay = {
            _message_id(mail.content): (mail.content, mail.recipients) for mail in self._relay.arrived[arrived_before:]
        }
        new_files = sorted(set(self._site.outbox.glob("*.eml")) - files_before)
        by_outbox = {_message_id(content): (content, _envelope(content)) for content in map(Path.read_bytes, new_files)}
        expected, other = (by_relay, by_outbox) if provider == "smtp" else (by_outbox, by_relay)
        for mail in mails:
            content, recipients = expected.get(mail["message_id"], (b"", ()))
            self._show(mail, content)
            _demand_arrived(mail, recipients, provider=provider)
        if len(mails) != 2 or len(expected) != 2 or other:
            raise DemonstrationFailed(
                f"Expected two mails through {provider}, found {len(expected)}; {len(other)} elsewhere."
            )

    def _post_event(self, token: str) -> list[uuid.UUID]:
        event = {"event": "incident_created", "data": _example_data()}
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{self._site.address}/v1/events", json=event, headers=headers, trust_env=False, timeout=30)
        if answer.status_code != 202:
            raise DemonstrationFailed(f"POST /v1/events answered {answer.status_code}: {answer.text}")
        return [uuid.UUID(run["id"]) for run in answer.json()["runs"]]

    def _outcome(self, runs: list[uuid.UUID]) -> list[dict[str, Any]]:
        """Wait until the runs have ended, and return their mails."""
        deadline = time.monotonic() + PATIENCE
        while Run.objects.filter(pk__in=runs, finished_at=None).exists():
            if time.monotonic() > deadline:
                self._say(json.dumps(_mails(runs), indent=2))
                raise DemonstrationFailed(f"The mails were not accepted within {PATIENCE:.0f} s. See {self._site.log}")
            time.sleep(0.02)
        return _mails(runs)

    def _show(self, mail: dict[str, Any], content: bytes) -> None:
        last = mail["attempts"][-1] if mail["attempts"] else {}
        reply = " ".join(str(part) for part in (last.get("code"), last.get("enhanced_code"), last.get("reply")) if part)
        people = ", ".join(f"{person['address']} ({person['kind']})" for person in mail["recipients"])
        self._say(f"\n   Action      {mail['task']}: {mail['state']}")
        self._say(f"   From        {mail['from']}")
        self._say(f"   Recipients  {people}")
        self._say(f"   Provider    {mail['provider']}" + (f", {last['tls']}" if last.get("tls") else ""))
        self._say(f"   Reply       {reply or mail['reason']}")
        self._say(f"   Took        {_milliseconds(mail)} ms from trigger to accepted")
        self._say("   The message as it was received:")
        for line in _abridged(content, copy=self._received / f"{mail['id']}.eml"):
            self._say(f"   | {line}")


def _abridged(content: bytes, *, copy: Path) -> list[str]:
    """Return a message's lines with its HTML part cut short; the whole of it is kept in a file."""
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(content)
    lines = content.decode("utf-8", "replace").splitlines()
    html = next((at for at, line in enumerate(lines) if line.lower().startswith("content-type: text/html")), len(lines))
    kept = html + HTML_LINES
    cut = [f"… {len(lines) - kept} more lines of HTML: {copy}"] if len(lines) > kept else []
    return lines[:kept] + cut


class _Silent:
    def write(self, text: str) -> None: ...


def _token() -> str:
    """Return the demonstration's API token, the same in every run."""
    file = settings.ROOTMAIL_VAR / "demo_token"
    name = f"demonstration {secrets.token_hex(3)}"
    token = state.stored(file, lambda: tokens.create(name, scopes=["trigger"], actor=audit.COMMAND_LINE))
    if tokens.find(token) is None:  # another database than the last time
        token = tokens.create(name, scopes=["trigger"], actor=audit.COMMAND_LINE)
        state.replace(file, token)
    return token


def _password_file() -> Path:
    """What the demonstration's own account is protected by; nothing else of rootmail writes or reads it."""
    return Path(settings.ROOTMAIL_VAR) / "demo_password"


def _password() -> str:
    return state.stored(_password_file(), state.new_key)


def _example_data() -> Any:
    return json.loads((EXAMPLES / "incident.json").read_text(encoding="utf-8"))


def _mails(runs: list[uuid.UUID]) -> list[dict[str, Any]]:
    return delivery_documents.deliveries(Delivery.objects.filter(run__in=runs).order_by("pk"))


def _milliseconds(mail: dict[str, Any]) -> int | str:
    if not mail["accepted_at"]:
        return "–"
    took = datetime.fromisoformat(mail["accepted_at"]) - datetime.fromisoformat(mail["triggered_at"])
    return round(took.total_seconds() * 1000)


def _field(content: bytes, name: str) -> str:
    prefix = name.lower().encode() + b":"
    line = next((line for line in content.split(b"\r\n") if line.lower().startswith(prefix)), b"")
    return line[len(prefix) :].decode().strip()


def _message_id(content: bytes) -> str:
    return _field(content, "Message-ID")


def _envelope(content: bytes) -> tuple[str, ...]:
    return tuple(address.strip() for address in _field(content, "X-Envelope-To").split(","))


def _demand_arrived(mail: dict[str, Any], recipients: tuple[str, ...], *, provider: str) -> None:
    wanted = sorted(person["address"] for person in mail["recipients"])
    if mail["state"] != "accepted" or mail["provider"] != provider or sorted(recipients) != wanted:
        raise DemonstrationFailed(
            f"'{mail['task']}' should have arrived through {provider} for {', '.join(wanted) or 'its recipients'}. "
            f"It is {mail['state']} through {mail['provider']}, and arrived for {', '.join(recipients) or 'nobody'}. "
            f"{mail['reason'] or ''}"
        )
