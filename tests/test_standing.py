"""What is in force, by one query."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from integrations import pauses, providers, standing
from integrations.models import ProviderState, SendGridIntegration, SmtpIntegration
from integrations.transports.base import TransportError
from tests.test_providers import lose_key_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Count how often the rows are decrypted."""
    active_route, counted = providers.active_route, list[None]()

    def counting() -> providers.Route:
        counted.append(None)
        return active_route()

    monkeypatch.setattr(providers, "active_route", counting)
    return counted


def name() -> str:
    return standing.in_force()[0].provider.name


def test_what_is_known_is_asked_for_once_and_not_decrypted_again(
    smtp: SmtpIntegration, looks: list[None], django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, ask, asked = standing.in_force(), connection.ask, list[str]()  # type: ignore[attr-defined]
    monkeypatch.setattr(connection, "ask", lambda query: (asked.append(query), ask(query))[1])
    with django_assert_num_queries(0):  # that one goes past Django's layers
        assert standing.in_force() == first
    assert len(looks) == len(asked) == 1


def test_connect_and_disconnect_act_on_the_next_mail(smtp: SmtpIntegration) -> None:
    assert name() == "smtp"
    grid = SendGridIntegration.objects.create(connected=True, api_key="SG.key")
    assert name() == "smtp"
    SmtpIntegration.objects.all().delete()
    assert name() == "sendgrid"
    grid.delete()
    assert name() == "default"


@pytest.mark.parametrize("change", [{"port": 26}, {"default_from": "new@example.com"}, {"rate_limit": 3}])
def test_a_changed_setting_acts_on_the_next_mail(smtp: SmtpIntegration, change: dict[str, Any]) -> None:
    before = standing.in_force()[0].row
    SmtpIntegration.objects.update(**change)
    after = standing.in_force()[0].row
    assert {key: getattr(after, key) for key in change} == change
    assert {key: getattr(before, key) for key in change} != change


def test_an_admission_is_of_the_version_in_force_and_none_while_it_is_paused(smtp: SmtpIntegration) -> None:
    assert standing.in_force()[1] == pauses.Admission(version=0)
    state = ProviderState.objects.create(name="smtp", version=7)
    assert standing.in_force()[1] == pauses.Admission(version=7)
    state.paused_at = timezone.now()
    state.save()
    assert standing.in_force()[1] is None


def test_the_pause_of_another_provider_concerns_nobody(smtp: SmtpIntegration) -> None:
    ProviderState.objects.create(name="sendgrid", paused_at=timezone.now())
    assert standing.in_force()[1] == pauses.Admission()


def test_a_key_that_is_gone_is_a_fault_of_this_provider_each_time(smtp: SmtpIntegration) -> None:
    lose_key_of(smtp, "password")
    for _ in range(2):
        with pytest.raises(TransportError, match="cannot be decrypted"):
            standing.in_force()
