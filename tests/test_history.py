"""What the cards and banners say about deliveries and workers."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from integrations.models import SmtpIntegration
from rootmail.banners import _banners
from workflows import heartbeat, history, tasks
from workflows.models import Attempt, Delivery, Heartbeat

from .damage import lose_key_of
from .test_delivery import TO, stored

pytestmark = pytest.mark.django_db


def attempt(provider: str, outcome: str, *, hours_ago: float) -> None:
    Attempt.objects.create(
        delivery=Delivery.objects.first(), at=timezone.now() - timedelta(hours=hours_ago), provider=provider,
        stage="data", outcome=outcome,
    )  # fmt: skip


def test_the_last_day_of_each_provider_hour_by_hour() -> None:
    stored(TO)
    for provider, outcome, hours_ago in [
        ("smtp", "accepted", 0.0),
        ("smtp", "accepted", 0.0),
        ("smtp", "deferred", 2.0),
        ("smtp", "failed", 2.0),
        ("sendgrid", "unknown", 0.0),
        ("smtp", "accepted", 30.0),
    ]:
        attempt(provider, outcome, hours_ago=hours_ago)
    found = history.by_provider(["smtp", "sendgrid", "default"])
    assert [len(one.hours) for one in found.values()] == [24, 24, 24]
    smtp = found["smtp"]
    assert (smtp.hours[-1].counts["accepted"], smtp.hours[-1].worst) == (2, "accepted")
    assert (smtp.hours[-3].counts["deferred"], smtp.hours[-3].worst) == (1, "failed")
    assert sum(hour.total for hour in smtp.hours) == 4
    assert smtp.words == "Attempts in the last 24 hours: 2 accepted, 1 deferred, 1 failed"
    assert found["default"].words == "Attempts in the last 24 hours: none"
    assert found["sendgrid"].hours[-1].worst == "unknown"
    assert smtp.last_accepted is not None
    assert timezone.now() - smtp.last_accepted < timedelta(minutes=1)
    assert found["sendgrid"].last_accepted is None


def test_counts_what_waits() -> None:
    assert history.waiting() == 0
    stored(TO, {"to": ["x@example.org"]})
    assert history.waiting() == 2


def test_a_worker_that_sweeps_is_alive() -> None:
    assert heartbeat.silence() == timedelta.max
    tasks.sweep()
    assert heartbeat.silence() is None
    Heartbeat.objects.update(at=timezone.now() - timedelta(minutes=7))
    tasks.heartbeat.beat()
    assert heartbeat.silence() is None


def test_a_sign_of_life_from_the_future_is_none() -> None:
    """A clock that was ahead has left it."""
    Heartbeat.objects.create(pk=Heartbeat.ONLY, at=timezone.now() + timedelta(hours=2))
    assert timedelta(hours=1) < heartbeat.age() <= timedelta(hours=2)
    assert heartbeat.silence() is not None


def test_banners_say_why_mail_cannot_leave(smtp: SmtpIntegration) -> None:
    assert _banners(HttpRequest()) == [
        "No worker has ever been heard of, so no mail leaves. Start one: manage.py up runs everything."
    ]
    heartbeat.beat()
    assert _banners(HttpRequest()) == []
    Heartbeat.objects.update(at=timezone.now() - timedelta(minutes=7))
    assert _banners(HttpRequest())[0].startswith("No worker has been heard of for 7 minutes")
    lose_key_of(smtp, "password")
    assert _banners(HttpRequest())[1].startswith("The stored Password of SMTP cannot be decrypted.")


def test_a_banner_says_so_before_the_disk_is_full(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    heartbeat.beat()
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=199 * 1024**2))
    settings.ROOTMAIL_VAR = "/var/lib/rootmail"
    said = "Only 199 MB are free on the disk of /var/lib/rootmail. A full one stops every mail."
    assert _banners(HttpRequest()) == ([said] if connection.vendor == "sqlite" else [])


def test_what_is_disconnected_wants_no_banner(smtp: SmtpIntegration) -> None:
    heartbeat.beat()
    SmtpIntegration.objects.update(connected=False, user_name=None, password=None)
    lose_key_of(smtp, "address")
    assert _banners(HttpRequest()) == []


def test_hours_are_whole_where_time_zones_are_not(settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    stored(TO)
    attempt("smtp", "accepted", hours_ago=0.0)
    attempt("smtp", "accepted", hours_ago=5.4)
    with timezone.override("Asia/Kolkata"):
        assert sum(hour.total for hour in history.by_provider(["smtp"])["smtp"].hours) == 2


def test_nobody_who_is_not_logged_in_is_told(client: Client) -> None:
    assert "No worker" not in client.get("/login/").content.decode()
