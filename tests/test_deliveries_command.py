"""`manage.py deliveries`: filters, and what scripts may do."""

from __future__ import annotations

import io
import json
from datetime import datetime
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from integrations import pauses
from integrations.models import AuditEvent, ProviderState, SmtpIntegration
from tests.test_search import made
from workflows import services
from workflows.management.commands.deliveries import FILTERS
from workflows.models import Attempt, Delivery
from workflows.search import DeliveryFilter

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_is_rung_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ring", lambda: None)


@pytest.fixture
def three() -> list[Delivery]:
    """Return two failed ones, of which one was never rendered, and an accepted one."""
    rows = [
        made("one", hours_ago=50, state="failed", provider="smtp", to="zoe@example.org"),
        made("two", hours_ago=2, state="failed", content=b""),
        made("three", hours_ago=1, state="accepted", provider="smtp", slug="other"),
    ]
    Attempt.objects.create(delivery=rows[0], at=rows[0].triggered_at, stage="auth", outcome="failed", code=535)
    return rows


def told(*options: str) -> str:
    out = io.StringIO()
    call_command("deliveries", *options, stdout=out)
    return out.getvalue()


def subjects(*options: str) -> list[str]:
    return [row["subject"] for row in json.loads(told("--json", *options))]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["one", "two", "three"]),
        (["--limit", "1"], ["three"]),
        (["--state", "failed"], ["one", "two"]),
        (["--state", "failed", "--state", "accepted"], ["one", "two", "three"]),
        (["--provider", "smtp"], ["one", "three"]),
        (["--workflow", "other"], ["three"]),
        (["--recipient", "ZOE@example.org"], ["one"]),
        (["--since", "2026-11-24"], ["two", "three"]),
        (["--until", "2026-11-24T10:30"], ["one", "two"]),
        (["--code", "535"], ["one"]),
        (["--search", "two"], ["two"]),
    ],
)
def test_shows_what_matches_the_oldest_first(three: list[Delivery], options: list[str], expected: list[str]) -> None:
    assert subjects(*options) == expected


def test_every_filter_has_an_option() -> None:
    assert set(FILTERS) == set(DeliveryFilter.__dataclass_fields__)


def test_a_run_leads_to_its_mails(three: list[Delivery]) -> None:
    assert subjects("--run", str(three[1].run_id)) == ["two"]
    assert told("--state", "held") == "No delivery fits.\n"


def test_without_yes_it_only_counts(three: list[Delivery]) -> None:
    assert told("--send-again", "--state", "failed") == (
        "Deliveries failed: 2; 1 can be sent again.\n"
        "    1 left alone: never rendered\n"
        "Nothing was done. Add --yes to do it.\n"
    )
    document = json.loads(told("--send-again", "--state", "failed", "--json"))
    assert document == {
        "action": "send-again", "deliveries": "failed", "done": None, "left": {"never rendered": 1}, "possible": 1,
        "complete": True,
    }  # fmt: skip
    assert not Delivery.objects.filter(state="queued").exists()


def test_with_yes_it_does_it(three: list[Delivery]) -> None:
    assert told("--send-again", "--state", "failed", "--yes") == (
        "Send again: 1 done.\n    1 left alone: never rendered\n"
    )
    entry = AuditEvent.objects.get()
    assert (entry.actor, entry.details) == ("command line", {"deliveries": "failed", "done": 1, "left": 1})
    document = json.loads(told("--cancel", "--search", "one", "--yes", "--json"))
    assert document == {"action": "cancel", "deliveries": "with ‘one’", "done": 1, "left": {}}
    assert Delivery.objects.get(subject="one").reason == "Cancelled by command line."
    Delivery.objects.filter(subject="one").update(state="held")
    assert told("--consider-delivered", "--state", "held", "--yes") == "Consider delivered: 1 done.\n"


WAITS = "Mail waits for SMTP. Paused since 4 March, 05:06. Down. "


def test_it_says_why_what_is_sent_again_waits(three: list[Delivery], smtp: SmtpIntegration) -> None:
    at = datetime(2026, 3, 4, 5, 6, tzinfo=timezone.get_default_timezone())
    ProviderState.objects.create(name="smtp", paused_at=at, failures=1, reason="Down.")
    again = ("--send-again", "--search", "one", "--yes")
    assert told(*again) == (
        f"Send again: 1 done.\n{WAITS}It is not tried again before its settings are changed, or an Admin presses "
        "'Try now' under Integrations.\n"
    )
    assert told(*again) == "Send again: 0 done.\n    1 left alone: waiting already\n"
    assert told("--cancel", "--search", "one", "--yes") == "Cancel: 1 done.\n"
    document = {"action": "send-again", "deliveries": "with ‘one’", "done": 1, "left": {}}
    assert json.loads(told(*again, "--json")) == document
    told("--cancel", "--search", "one", "--yes")
    pauses.try_now("smtp", actor="ada")
    assert told(*again) == f"Send again: 1 done.\n{WAITS}The next mail tries it again.\n"


def test_it_says_nothing_of_a_pause_that_holds_up_nothing(three: list[Delivery], smtp: SmtpIntegration) -> None:
    ProviderState.objects.create(name="sendgrid", paused_at=timezone.now(), failures=1, reason="Down.")
    assert told("--send-again", "--search", "one", "--yes") == "Send again: 1 done.\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--run", "7"], "'7' is not the id of a run."),
        (["--state", "lost"], "argument --state: invalid choice: 'lost'"),
        (["--code", "x"], "--code: Enter a reply code such as 535, or an enhanced status code such as 5.7.1."),
        (["--workflow", "none"], "--workflow: Select a valid choice. none is not one of the available choices."),
        (
            ["--since", "soon", "--until", "later"],
            "--since: Enter a day, or a day and a time, such as 2026-11-27 14:30.\n--until: Enter a day",
        ),
        (["--cancel", "--yes"], "--cancel needs a filter, such as --state failed."),
        (["--yes"], "--yes needs one of --send-again, --cancel, --consider-delivered."),
        (["--cancel", "--send-again", "--state", "held"], "not allowed with argument"),
    ],
)
def test_wrong_usage_exits_with_two_and_a_message(options: list[str], complaint: str) -> None:
    with pytest.raises(CommandError) as caught:
        told(*options)
    assert complaint in str(caught.value)
    # argparse itself exits with 2 from a shell; called from Python it raises without a code of its own.
    assert caught.value.returncode == 2 or complaint.startswith(("argument", "not allowed"))


def test_nothing_is_changed_by_showing(three: list[Delivery]) -> None:
    before: Any = list(Delivery.objects.order_by("pk").values_list())
    told("--state", "failed")
    told("--cancel", "--state", "failed")
    assert list(Delivery.objects.order_by("pk").values_list()) == before
