"""What stands in the log, in which form, and what does not: no address, no subject, no content."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.test import Client, RequestFactory

from integrations import tokens
from integrations.models import SmtpIntegration
from rootmail import about, logs
from tests.fake_relay import FakeRelay
from tests.installation import INCIDENT, LOOKS_ON, Installation, wait_until
from tests.test_runs import SEV1, with_tasks
from workflows import delivery, documents, log_fields, runs
from workflows.models import Delivery, Recipient, Run

NOBODY_S = "01a216b5-d95f-7d9e-bbde-cf80122831f1"
ROOT = Path(__file__).parent.parent
PRIVATE = ("@example", "Checkout", "Secret subject", "Dear", "198.51.100.7", "hunter2", "desk@", "tok-en")


class Written:
    """A handler like the one of the settings, on a string."""

    def __init__(self, form: str) -> None:
        self._stream = io.StringIO()
        wanted = logs.configuration(form=form, level="INFO")
        self.handler = logging.StreamHandler(self._stream)
        lines = logging.Formatter(wanted["formatters"]["line"]["format"])
        self.handler.setFormatter(logs.Json() if form == logs.JSON else lines)
        made = {"requests": logs.AccessLines(), "addresses": logs.WithoutAddresses(), "ids": logs.WithIds()}
        for name in wanted["handlers"]["stderr"]["filters"]:
            self.handler.addFilter(made[name])

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def listening(form: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    written, root = Written(form), logging.getLogger()
    monkeypatch.setattr(root, "level", logging.INFO)
    root.addHandler(written.handler)
    log_fields.begin()  # another test's request may not have been read to its end
    yield written
    root.removeHandler(written.handler)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    yield from listening(logs.JSON, monkeypatch)


@pytest.fixture
def written_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Written]:
    yield from listening(logs.LINE, monkeypatch)


def drive(client: Client, relay: FakeRelay, smtp: SmtpIntegration) -> Run:
    """Take the road of a mail: an event over HTTP, a run, a mail that is deferred, refused in part and accepted."""
    mail = {"to": ["{{ incident.people }}", "c@example.net"], "subject": "Secret subject", "body": "Dear all"}
    documents.load(with_tasks(mail, {"to": ["{{ nobody }}"], "subject": "Secret subject"}))
    headers = {"Authorization": f"Bearer {tokens.create('pager', scopes=['trigger'], actor='a test')}"}
    relay.replies = {
        "RCPT": ["451 4.7.1 <b@example.org> later", "250 2.1.5 ok", "550 5.1.1 <c@example.net> unknown"],
        ".": ["250 2.0.0 queued for Checkout"],
    }
    event = {"event": "incident_created", "data": SEV1}
    answer = client.post(
        "/v1/events", event, content_type="application/json", headers=headers, REMOTE_ADDR="198.51.100.7"
    )
    assert answer.status_code == 202
    runs.execute_due()
    delivery.send_due()
    Delivery.objects.filter(state="deferred").update(next_attempt_at="2020-01-01T00:00Z")
    relay.replies = {"MAIL": "550 5.7.1 <desk@example.com> is not allowed"}
    delivery.send_due()
    SmtpIntegration.objects.filter(pk=smtp.pk).update(port=1)
    Delivery.objects.update(state="queued", next_attempt_at="2020-01-01T00:00Z")
    Recipient.objects.update(state="queued")
    delivery.send_due()  # pauses it
    client.get("/deliveries/?recipient=b@example.org", REMOTE_ADDR="198.51.100.7")
    client.get("/hooks/tok-en", REMOTE_ADDR="198.51.100.7")
    client.get("/password/set/MQ/tok-en/", REMOTE_ADDR="198.51.100.7")
    client.post("/login/", {"username": "nobody@example.org", "password": "hunter2"}, REMOTE_ADDR="198.51.100.7")
    return Run.objects.get()


@pytest.mark.django_db
@pytest.mark.usefixtures("live_router")
class TestTheRoad:
    def test_json_lines_name_what_they_are_about_and_nobody(
        self, client: Client, written: Written, relay: FakeRelay, smtp: SmtpIntegration
    ) -> None:
        run = drive(client, relay, smtp)
        assert [word for word in PRIVATE if word in written.text] == []
        mine = {"run": str(run.pk), "workflow": str(run.workflow_id)}
        sent = [line for line in written.lines if line["logger"] == "workflows.outcomes"]
        assert sent
        for line in sent:
            assert mine.items() <= line.items()
            assert line["delivery"] in line["message"]
        event = next(line for line in written.lines if line["logger"] == "workflows.api")
        assert event["message"] == f"event {run.event_id}: run {run.pk}"
        assert event["event"] == str(run.event_id)
        assert len(event["request"]) == 32
        paused = next(line for line in written.lines if line["message"] == "smtp is paused")
        assert paused["delivery"], "a line of another room, written while a mail was in hand"
        assert "delivery" not in written.lines[-1], "it is not in hand any more"

    def test_plain_lines_name_nobody_either(
        self, client: Client, written_lines: Written, relay: FakeRelay, smtp: SmtpIntegration
    ) -> None:
        drive(client, relay, smtp)
        assert [word for word in PRIVATE if word in written_lines.text] == []
        assert "smtp is paused" in written_lines.text
        assert "Not Found: /hooks/…" in written_lines.text or "Method Not Allowed: /hooks/…" in written_lines.text


class TestJson:
    def test_a_line_has_these_fields(self, written: Written) -> None:
        logging.getLogger("somewhere").warning("%d apples", 3)
        line = written.lines[0]
        assert datetime.fromisoformat(line.pop("time")).utcoffset() is not None
        assert line == {"level": "WARNING", "logger": "somewhere", "message": "3 apples"}

    def test_an_exception_is_a_field_of_one_line(self, written: Written) -> None:
        try:
            raise ValueError("two\nlines")
        except ValueError:
            logging.getLogger("somewhere").exception("it failed")
        assert len(written.lines) == 1
        assert written.lines[0]["exception"].endswith("ValueError: two\nlines")

    def test_what_libraries_add_is_left_out(self, written: Written) -> None:
        extra = {"request": RequestFactory().get("/?recipient=b@example.org"), "data": {"args": "secret"}, "run": "x"}
        logging.getLogger("celery").warning("received", extra=extra)
        assert set(written.lines[0]) == {"time", "level", "logger", "message"}

    def test_a_name_of_another_alphabet_survives(self, written: Written) -> None:
        logging.getLogger("somewhere").warning("Zoë\u2028中文")
        assert written.lines[0]["message"] == "Zoë\u2028中文"

    def test_gunicorn_s_line_for_a_request_has_no_query_and_no_address(self, written: Written) -> None:
        atoms = {
            "h": "198.51.100.7", "m": "GET", "U": "/hooks/tok-en", "q": "recipient=b@example.org", "s": "404", "M": 12,
            "r": "GET /hooks/tok-en?recipient=b@example.org HTTP/1.1", "{x-request-id}o": "abc",
        }  # fmt: skip
        logging.getLogger("gunicorn.access").info("%(h)s %(r)s", atoms)
        line = written.lines[0]
        assert {name: line[name] for name in line if name not in ("time", "level", "logger")} == {
            "message": "GET /hooks/… 404",
            "request": "abc",
            "method": "GET",
            "path": "/hooks/…",
            "status": 404,
            "milliseconds": 12,
        }

    @pytest.mark.parametrize(("status", "lines"), [("200", 0), ("503", 1)])
    def test_probes_are_told_only_when_they_fail(self, written: Written, status: str, lines: int) -> None:
        atoms = {"m": "GET", "U": "/readyz", "s": status, "M": 1, "{x-request-id}o": "abc"}
        logging.getLogger("gunicorn.access").info("%(m)s", atoms)
        assert len(written.lines) == lines

    def test_another_format_is_refused(self) -> None:
        with pytest.raises(ValueError, match="LOG_FORMAT takes line or json"):
            logs.configuration(form="xml", level="INFO")


class TestRequests:
    @pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 64])
    def test_the_number_that_a_request_brings_is_kept(self, client: Client, given: str) -> None:
        assert client.get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"] == given

    @pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\x00b", 'a"b', "b@example.org", "é"])
    def test_without_a_usual_one_it_gets_its_own(self, client: Client, given: str) -> None:
        made = {client.get("/healthz", headers={"X-Request-ID": given})["X-Request-ID"] for _ in range(2)}
        assert len(made) == 2
        assert given not in made

    @pytest.mark.django_db
    @pytest.mark.parametrize(("path", "name"), [("/deliveries/{}/mail", "delivery"), ("/runs/{}/", "run")])
    def test_a_page_about_something_says_so_in_its_lines(
        self, as_admin: Client, written: Written, path: str, name: str
    ) -> None:
        as_admin.get(path.format(NOBODY_S))
        line = next(line for line in written.lines if line["logger"] == "django.request")
        assert {key: line.get(key) for key in ("run", "delivery")} == {"run": None, "delivery": None, name: NOBODY_S}
        logging.getLogger("somewhere").warning("afterwards")
        assert not {"run", "delivery", "request"} & set(written.lines[-1])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "before",
    [
        "/hooks/",
        "/hooks//",
        "/HOOKS/",
        "/hooks/%20",
        "/hook/",
        "/password/set/MQ/",
        "/password/set//",
        "/password/set/M.Q/",
    ],
)
def test_a_secret_in_an_address_is_not_written_however_the_rest_is_mistyped(
    client: Client, written_lines: Written, before: str
) -> None:
    client.get(f"{before}SECRET-TOKEN_123/")
    logging.getLogger("somewhere").warning('"%s" 404', f"GET {before}SECRET-TOKEN_123/ HTTP/1.1")
    assert "…" in written_lines.text
    assert "SECRET" not in written_lines.text


def test_nothing_stays_in_hand() -> None:
    with log_fields.about(run=1):
        assert log_fields.known() == {"run": 1}
        with contextlib.suppress(ValueError), log_fields.about(delivery=2):
            assert log_fields.known() == {"run": 1, "delivery": 2}
            raise ValueError
        assert log_fields.known() == {"run": 1}
    assert log_fields.known() == {}


READS_ITS_FILE = """
import logging.config, runpy, sys
before = set(sys.modules)
logging.config.dictConfig(runpy.run_path("gunicorn.conf.py")["logconfig_dict"])
logging.getLogger("gunicorn.error").warning("a line")
print(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


@pytest.mark.parametrize("named", ["environment", "file"])
def test_gunicorn_s_main_process_loads_nothing_that_its_next_processes_would_inherit(
    tmp_path: Path, named: str
) -> None:
    """Or SIGHUP after an upgrade would start processes with old code among the new."""
    (tmp_path / "format").write_text("json\n")
    of = {"environment": {"LOG_FORMAT": "json"}, "file": {"LOG_FORMAT_FILE": str(tmp_path / "format")}}
    done = subprocess.run(
        [sys.executable, "-c", READS_ITS_FILE], cwd=ROOT, env=of[named], capture_output=True, text=True, check=True
    )
    loaded = ast.literal_eval(done.stdout)
    assert not {"rootmail", "workflows", "integrations", "django", "celery", "environ"} & {*loaded}
    assert "pythonjsonlogger" in loaded
    line = json.loads(done.stderr)
    assert {name: line[name] for name in ("level", "logger", "message")} == {
        "level": "WARNING", "logger": "gunicorn.error", "message": "a line"
    }  # fmt: skip
    assert datetime.fromisoformat(line["time"]).tzinfo


WITHIN_THE_SITE = """
import gunicorn.config, gunicorn.glogging, logging.config
gunicorns = gunicorn.glogging.Logger(gunicorn.config.Config())
from rootmail import logs
logging.config.dictConfig(logs.configuration(form="line", level="INFO"))
gunicorns.critical("Exception in %s", "a process")
"""


def test_gunicorn_s_lines_are_written_when_it_has_loaded_the_site() -> None:
    command = [sys.executable, "-c", WITHIN_THE_SITE]
    done = subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=True)
    assert done.stderr.partition(" ")[2].partition(" ")[2] == "CRITICAL gunicorn.error Exception in a process\n"


NO_JSON = ("WARNING Memory overcommit", "Valkey", "worker: ", "SIGTERM")  # of Valkey, and Celery's farewell


@LOOKS_ON
@pytest.mark.processes
def test_a_whole_installation_writes_json(running: Installation) -> None:
    running.manage("workflow", "load", "workflows/examples/workflows.json")
    headers = {"Authorization": f"Bearer {running.token()}", "X-Request-ID": "from-the-test"}
    event = {"event": "incident_created", "data": INCIDENT}
    with httpx.Client(base_url=running.site, trust_env=False, timeout=30) as http:
        made = http.post("/v1/events?token=hunter2", json=event, headers=headers)
        assert (made.status_code, made.headers["X-Request-ID"]) == (202, "from-the-test")
        mails = running.mails_of(made.json())
        assert http.get("/healthz").text == "ok\n"
        ready = http.get("/readyz")
        fine = dict.fromkeys(("database", "migrations", "broker", "worker", "oldest_due"), "ok")
        told = {"ready": True, "checks": fine, "code": about.code()}
        assert (ready.status_code, ready.json()) == (200, told)
        wait_until(lambda: 'rootmail_attempts_total{outcome="accepted",provider="default"} 2.0' in
                   http.get("/metrics").text, what="the count")  # fmt: skip
        http.get("/deliveries/x?recipient=b@example.org")
    wait_until(lambda: "/deliveries/x" in running.output, what="the line of the request")
    output = running.output.rpartition("\n")[0]  # without a line that is being written
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    strange = [line for line in output.splitlines() if line.strip() and not line.startswith("{")]
    assert [line for line in strange if not any(word in line for word in NO_JSON)] == []
    run = made.json()["runs"][0]["id"]
    assert {line["delivery"] for line in lines if line.get("run") == run} == {mail["id"] for mail in mails}
    mine = [(line["logger"], line.get("status")) for line in lines if line.get("request") == "from-the-test"]
    assert sorted(mine, key=str) == [("gunicorn.access", 202), ("workflows.api", None)]
    told = {line["logger"] for line in lines}
    assert {"celery.apps.worker", "rootmail.up"} <= told
    assert not told & {*logs.TALKATIVE}
    assert [line for line in lines if line.get("path") in logs.QUIET] == []
    for word in ("@example", "hunter2", "127.0.0.1 -", *(mail["subject"] for mail in mails)):
        assert word not in output
