"""A real Alertmanager, set up with the snippet that we show, and a real installation: what becomes mail."""

from __future__ import annotations

import contextlib
import email
import json
import sqlite3
from email import policy
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.alertmanager_server import Alertmanager
from tests.installation import Installation, from_environment, wait_until
from workflows import webhook_help

pytestmark = pytest.mark.processes

TELL = {
    "slug": "tell",
    "name": "Tell",
    "trigger_params": {
        "trigger_type": "alert",
        "triggers": ["alert_created", "alert_status_updated"],
        "condition": "ALL",
        "conditions": [{"path": "alert.severity", "operator": "IS", "values": ["sev0"]}],
    },
    "tasks": [
        {
            "name": "Mail",
            "position": 1,
            "task_params": {
                "task_type": "send_email",
                "to": ["oncall@example.org"],
                "subject": "{{ alert.status }}: {{ alert.title }}, {{ alert.data.alerts | size }} alerts",
                "body": "{{ alert.summary }}",
            },
        }
    ],
}
MAKE = """
from workflows import endpoints
from workflows.webhook_models import WebhookEndpoint
row = WebhookEndpoint(name="am", kind="alertmanager", scheme="bearer", options={"severities": "critical = sev0"})
handed = endpoints.create(row, actor="a test")
print(endpoints.open_address(row), handed.secret)
"""
ALERTS = [{"alertname": "CheckoutSlow", "severity": "critical", "pod": f"checkout-{number}"} for number in range(30)]


def outcomes(installation: Installation) -> list[tuple[str, int]]:
    query = "SELECT outcome, status FROM workflows_webhookreceipt ORDER BY id"
    with contextlib.closing(sqlite3.connect(installation.folder / "rootmail.sqlite3", timeout=20)) as database:
        return list(database.execute(query))


def subjects(installation: Installation) -> list[str]:
    mails = [email.message_from_bytes(one.read_bytes(), policy=policy.default) for one in _files(installation)]
    return sorted(str(mail["Subject"]) for mail in mails)


def _files(installation: Installation) -> list[Path]:
    return list(installation.outbox.glob("*.eml"))


def receiver(kind_of_proof: str, *, address: str, secret: str) -> str:
    return webhook_help.snippet("alertmanager", scheme=kind_of_proof, address=address, secret=secret)


def workflow() -> str:
    document: dict[str, Any] = {"workflows": [TELL]}
    return json.dumps(document)


def test_thirty_alerts_of_a_group_make_one_mail_and_their_end_another(tmp_path: Path) -> None:
    program = from_environment("TEST_ALERTMANAGER")
    with Installation(tmp_path) as installation:
        installation.manage("workflow", "load", "-", stdin=workflow())
        address, secret = installation.manage("shell", "-c", MAKE).split()[-2:]
        with Alertmanager(program, receiver=receiver("bearer", address=address, secret=secret)) as alertmanager:
            alertmanager.fire(*ALERTS)
            wait_until(lambda: subjects(installation), what="the mail")
            wait_until(lambda: ("duplicate", 200) in outcomes(installation), what="a repeat by Alertmanager")
            assert subjects(installation) == ["open: CheckoutSlow, 30 alerts"]
            alertmanager.fire(*ALERTS, over=True)
            wait_until(lambda: len(subjects(installation)) == 2, what="the mail that it is over")
        assert subjects(installation) == ["open: CheckoutSlow, 30 alerts", "resolved: CheckoutSlow, 30 alerts"]
        assert ("refused", 401) not in outcomes(installation)
        assert secret not in installation.output, "the log, at DEBUG"


def test_a_wrong_secret_makes_no_mail_and_is_told_on_the_list(tmp_path: Path) -> None:
    program = from_environment("TEST_ALERTMANAGER")
    with Installation(tmp_path) as installation:
        installation.manage("workflow", "load", "-", stdin=workflow())
        address, _ = installation.manage("shell", "-c", MAKE).split()[-2:]
        with Alertmanager(program, receiver=receiver("bearer", address=address, secret="wrong")) as alertmanager:
            alertmanager.fire(*ALERTS)
            wait_until(lambda: outcomes(installation) == [("refused", 401)], what="the refusal")
        assert subjects(installation) == []
        assert httpx.post(f"{installation.site}/hooks/{'x' * 43}", trust_env=False, content=b"{}").status_code == 404
        wait_until(lambda: "Not Found: /hooks/…" in installation.output, what="the line of the log")
        assert "x" * 43 not in installation.output, "it may be the address of an endpoint, misspelt"
