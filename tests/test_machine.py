"""A machine without files, memory or threads: mail waits, and no provider is to blame."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import ssl
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.template import Engine
from django.utils import timezone

from integrations import clock, diagnosis, pauses, providers
from integrations.models import ProviderState, SendGridIntegration, SmtpIntegration
from integrations.transports import machine
from integrations.transports.base import Scope, Stage, TransportError
from integrations.transports.sendgrid import SendGridTransport
from tests.fake_relay import FakeRelay, authority_pem
from tests.fake_sendgrid import FakeSendGrid
from tests.installation import ROOT
from tests.narrow import files_left
from tests.test_delivery import TO, make_due, stored
from tests.test_runs import queued, with_tasks
from tests.test_smtp import settings_for
from workflows import delivery, layout, runs
from workflows.models import Attempt, Delivery, Run

NO_FILE = r"has all \d+ files and connections open that it may have\. No mail can leave from here; it waits\."


def from_a_narrow_process(relay: FakeRelay, lacking: str, *, cas: Path, **changes: Any) -> list[dict[str, Any]]:
    cas.write_text(authority_pem())
    settings = json.dumps(asdict(settings_for(relay, host="localhost", **changes)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.narrow", settings, lacking],
        cwd=ROOT, env=os.environ | {"SSL_CERT_FILE": str(cas)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("tls", ["", "starttls", "implicit"])
def test_however_few_files_are_left_no_relay_is_blamed_for_it(tls: str, tmp_path: Path) -> None:
    """For want of a file a name was unknown, and no CA known: not even later, since that was remembered."""
    with FakeRelay(tls=tls) as relay:
        modes = {"ssl": tls == "implicit", "starttls_auto": tls == "starttls", "verify": "peer"}
        found = from_a_narrow_process(relay, "files", cas=tmp_path / "cas.pem", **modes)
    scopes = [one["scope"] for one in found]
    in_vain = scopes.index("accepted")
    assert in_vain > 0
    assert scopes == ["machine"] * in_vain + ["accepted"] * (len(scopes) - in_vain)
    assert {one["untried"] for one in found[:in_vain]} == {True}
    assert len(relay.ledger) == len(scopes) - in_vain


def test_where_no_thread_can_be_had_no_relay_is_blamed_for_it(relay: FakeRelay, tmp_path: Path) -> None:
    [found] = from_a_narrow_process(relay, "threads", cas=tmp_path / "cas.pem")
    assert (found["scope"], found["untried"]) == ("machine", True)
    assert found["text"].startswith("This process gets no further thread from the system. No mail can leave from here")
    assert relay.transcript == []


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EMFILE, "LimitNOFILE="),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOMEM, "no memory left"),
        (errno.ENOBUFS, "no memory left"),
    ],
)
def test_tells_by_the_number_of_an_error_what_is_lacking(number: int, text: str) -> None:
    found = machine.lack(OSError(number, os.strerror(number)), stage=Stage.CONNECT)
    assert found
    assert text in found.text


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ECONNRESET])
def test_other_numbers_are_about_the_relay(number: int) -> None:
    assert machine.lack(OSError(number, os.strerror(number)), stage=Stage.CONNECT) is None


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), ssl.SSLCertVerificationError(1)])
def test_looks_for_itself_where_an_error_does_not_tell(error: OSError) -> None:
    assert machine.lack(error, stage=Stage.RESOLVE) is None
    with files_left(0):
        found = machine.lack(error, stage=Stage.RESOLVE)
    assert found
    assert found.scope is Scope.MACHINE


@pytest.mark.django_db
@pytest.mark.usefixtures("live_router")
class TestDelivery:
    def sent_in_vain(self, caplog: pytest.LogCaptureFixture) -> None:
        stored(TO, {"to": ["x@example.org"]})
        with files_left(0):
            assert delivery.send_due() is False
        rows = Delivery.objects.values_list("state", "tries", "lease", "reason").distinct()
        assert list(rows) == [("queued", 0, None, "")]
        soon = timezone.now() + delivery.MACHINE_PAUSE - timedelta(seconds=10)
        assert not Delivery.objects.filter(next_attempt_at__lt=soon).exists()
        assert not Attempt.objects.exists()
        assert not ProviderState.objects.filter(paused_at__isnull=False).exists()
        [told] = [one for one in caplog.records if one.levelname == "ERROR"]
        assert told.name == "integrations.pauses"
        caplog.clear()
        make_due()
        delivery.send_due()
        assert set(Delivery.objects.values_list("state", "tries")) == {("accepted", 1)}

    def test_over_smtp_the_mails_wait_and_nothing_is_paused(
        self, smtp: SmtpIntegration, relay: FakeRelay, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.sent_in_vain(caplog)
        assert len(relay.ledger) == 2

    def test_through_sendgrid_too(
        self, sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.sent_in_vain(caplog)
        assert len(sendgrid_api.ledger) == 2

    def test_and_through_a_client_of_sendgrid_that_was_made_before(self, sendgrid: SendGridIntegration) -> None:
        transport = SendGridTransport(providers.sendgrid_settings(sendgrid))
        transport._opened()
        with files_left(0), pytest.raises(TransportError, match=NO_FILE) as caught:
            transport.scopes()
        assert caught.value.scope is Scope.MACHINE

    def test_and_into_files(self, live_router: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.sent_in_vain(caplog)
        assert len(list(live_router.glob("*.eml"))) == 2

    def test_the_probe_of_a_paused_provider_is_left_to_another_mail(self, smtp: SmtpIntegration) -> None:
        fault = TransportError("no answer", stage=Stage.CONNECT, scope=Scope.PROVIDER)
        fault.provider = "smtp"
        pauses.begin("smtp", fault)
        pauses.hasten("smtp")
        stored()
        with files_left(0):
            delivery.send_due()
        state = ProviderState.objects.get()
        assert (state.probe_until, state.failures) == (None, 1)
        make_due()
        delivery.send_due()
        assert Delivery.objects.get().state == "accepted"

    @pytest.mark.parametrize("body", ["{{ 'now' | in_time_zone: 'Europe/Berlin' }}", "Hello"])
    def test_a_mail_that_cannot_be_rendered_for_want_of_a_file_waits(
        self, body: str, smtp: SmtpIntegration, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It failed for good: by an 'unknown time zone', or a 'defect' where the layout had not been read before."""
        run = queued(with_tasks(TO | {"body": body}))
        ZoneInfo.clear_cache()
        layout._surroundings.cache_clear()
        monkeypatch.setattr(layout, "ENGINE", Engine(dirs=[str(layout.TEMPLATES)]))
        for _ in range(runs.MAX_TRIES + 1):
            Run.objects.update(due_at=clock.now())
            with files_left(0):
                runs.execute_due()
        run.refresh_from_db()
        assert (run.status, run.tries, Delivery.objects.count()) == ("queued", 0, 0)
        assert re.search(f"it is tried again. This process {NO_FILE}", caplog.text)
        Run.objects.update(due_at=clock.now())
        runs.execute_due()
        delivery.send_due()
        assert Delivery.objects.get().state == "accepted"

    @pytest.mark.parametrize("kind", ["smtp", "sendgrid"])
    def test_the_check_blames_no_field(self, kind: str, smtp: SmtpIntegration, sendgrid: SendGridIntegration) -> None:
        with files_left(0):
            if kind == "smtp":
                found = diagnosis.diagnose_smtp(providers.smtp_settings(smtp), sender="")
            else:
                found = diagnosis.diagnose_sendgrid(providers.sendgrid_settings(sendgrid))
        assert (found.ok, found.field, found.proposal) == (False, "", {})
        assert "files and connections open" in found.cause
