"""The ways out, in priority order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from integrations import providers
from integrations.models import SendGridIntegration, SmtpIntegration
from integrations.senders import Mailbox, Sender
from integrations.transports.base import Scope, Stage, TransportError
from integrations.transports.default import FileSettings
from integrations.transports.sendgrid import SendGridSettings
from integrations.transports.smtp import SmtpSettings

from .damage import lose_key_of

pytestmark = pytest.mark.django_db


def connect_smtp(**values: Any) -> SmtpIntegration:
    return SmtpIntegration.objects.create(connected=True, address="relay.test", **values)


def connect_sendgrid(**values: Any) -> SendGridIntegration:
    return SendGridIntegration.objects.create(connected=True, api_key="SG.key", **values)


@pytest.mark.parametrize(
    ("smtp", "sendgrid", "name"),
    [
        (True, True, "smtp"),
        (True, False, "smtp"),
        (False, True, "sendgrid"),
        (False, False, "default"),
    ],
)
def test_smtp_beats_sendgrid_beats_the_default_sender(smtp: bool, sendgrid: bool, name: str) -> None:
    """A row that is stored but not connected counts for nothing."""
    SmtpIntegration.objects.create(connected=smtp, address="relay.test")
    SendGridIntegration.objects.create(connected=sendgrid)
    assert [provider.name for provider in providers.PROVIDERS] == ["smtp", "sendgrid", "default"]
    assert providers.active_route().provider.name == name


def test_every_field_of_the_form_reaches_the_relay(settings: Any) -> None:
    settings.SMTP_ALLOW_PRIVATE_NETWORKS = False
    row = connect_smtp(
        port=2525,
        domain="me.test",
        user_name="user",
        password="right horse",
        authentication="cram_md5",
        ssl=False,
        enable_starttls=True,
        enable_starttls_auto=False,
        openssl_verify_mode="peer",
        ca_certificates="PEM",
        allow_clear_text_auth=True,
    )
    assert providers.active_route().settings == SmtpSettings(
        host="relay.test",
        port=2525,
        domain="me.test",
        username="user",
        password="right horse",
        authentication="cram_md5",
        ssl=False,
        starttls=True,
        starttls_auto=False,
        verify="peer",
        ca_certificates="PEM",
        allow_clear_text_auth=True,
        allow_private_networks=False,
    )
    assert providers.active_route().row == row


def test_the_documented_defaults_reach_the_relay() -> None:
    connect_smtp()
    assert providers.active_route().settings == SmtpSettings("relay.test")


def test_sendgrid_and_the_default_sender_have_their_settings(settings: Any, tmp_path: Path) -> None:
    settings.DEFAULT_SENDER_URL = f"file://{tmp_path}"
    assert providers.active_route().settings == FileSettings(tmp_path)
    connect_sendgrid(base_url="https://api.eu.sendgrid.com")
    assert providers.active_route().settings == SendGridSettings("SG.key", "https://api.eu.sendgrid.com")
    settings.SMTP_ALLOW_PRIVATE_NETWORKS = False
    assert providers.sendgrid_settings(SendGridIntegration(api_key="SG.key")).allow_private_networks is False


def test_each_provider_has_its_own_sender(settings: Any) -> None:
    settings.DEFAULT_SENDER_URL = "file:///srv/outbox"
    asked = Mailbox("", "a@b.test")
    assert providers.active_route().sender("a@b.test") == Sender(
        Mailbox("Rootmail", "workflows@rootmail.example"), reply_to=asked
    )
    connect_sendgrid(default_from="Grid <grid@c.test>")
    assert providers.active_route().sender("a@b.test") == Sender(asked)
    assert providers.active_route().sender("") == Sender(Mailbox("Grid", "grid@c.test"))
    connect_smtp(default_from="", user_name="user@d.test", password="right horse")
    assert providers.active_route().sender("") == Sender(Mailbox("", "user@d.test"))


@pytest.mark.parametrize("column", ["address", "user_name", "password"])
def test_a_lost_key_is_that_providers_fault_and_never_a_reason_to_take_the_next(column: str) -> None:
    lose_key_of(connect_smtp(user_name="user", password="right horse"), column)
    connect_sendgrid()
    with pytest.raises(TransportError, match=r"SMTP cannot be decrypted.*FERNET_KEYS") as caught:
        providers.active_route()
    error = caught.value
    assert (error.provider, error.stage, error.scope) == ("smtp", Stage.AUTH, Scope.PROVIDER)
    assert (error.permanent, error.outcome_unknown) == (False, False)


def test_a_lost_key_of_sendgrid_does_not_stop_smtp() -> None:
    lose_key_of(connect_sendgrid(), "api_key")
    connect_smtp()
    assert providers.active_route().provider.name == "smtp"
    SmtpIntegration.objects.all().delete()
    with pytest.raises(TransportError, match="API key of SendGrid cannot be decrypted") as caught:
        providers.active_route()
    assert caught.value.provider == "sendgrid"


@pytest.mark.parametrize(
    "url", ["", "smtp://user:right%20horse@relay.test:port", "http://user:right%20horse@relay.test"]
)
def test_a_bad_url_of_the_default_sender_is_its_fault_and_quotes_no_password(settings: Any, url: str) -> None:
    settings.DEFAULT_SENDER_URL = url
    with pytest.raises(TransportError, match="The URL of the default sender cannot be used") as caught:
        providers.active_route()
    error = caught.value
    assert (error.provider, error.stage, error.scope) == ("default", Stage.CONNECT, Scope.PROVIDER)
    assert error.permanent is False
    assert "horse" not in str(error)


def test_a_route_says_no_secret(settings: Any) -> None:
    settings.DEFAULT_SENDER_URL = "smtp://user:right%20horse@relay.test"
    shown = [repr(providers.active_route())]
    connect_sendgrid()
    shown.append(repr(providers.active_route()))
    connect_smtp(user_name="user", password="right horse")
    shown.append(repr(providers.active_route()))
    assert [name for name in ("horse", "SG.key") if any(name in text for text in shown)] == []
