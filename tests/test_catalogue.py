"""The cards of Configuration → Integrations."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from integrations import services, stored
from integrations.catalogue import Card, cards
from integrations.models import SmtpIntegration

from .damage import lose_key_of
from .fake_relay import FakeRelay
from .test_services import SENDGRID, SMTP

pytestmark = pytest.mark.django_db


def outline(shown: list[Card]) -> list[tuple[str, bool, bool, str]]:
    return [(card.provider.name, card.connected, card.in_force, card.detail) for card in shown]


def test_the_cards_show_what_is_in_force() -> None:
    own = ("default", True, True, "Rootmail <workflows@rootmail.example>")
    assert outline(cards()) == [("smtp", False, False, ""), ("sendgrid", False, False, ""), own]
    assert stored.in_force().name == "default"
    services.connect("sendgrid", SENDGRID, actor="ada", check=False)
    assert outline(cards())[1] == ("sendgrid", True, True, "https://api.sendgrid.com")
    assert stored.in_force().name == "sendgrid"
    services.connect("smtp", SMTP, actor="ada", check=False)
    assert outline(cards()) == [
        ("smtp", True, True, "smtp.example.com, port 465, implicit TLS: encrypted from the first byte"),
        ("sendgrid", True, False, "https://api.sendgrid.com"),
        (*own[:2], False, own[3]),
    ]
    assert stored.in_force().name == "smtp"


def test_an_unreadable_row_still_has_its_card_and_is_in_force() -> None:
    services.connect("smtp", SMTP, actor="ada", check=False)
    lose_key_of(SmtpIntegration.objects.get(), "password")
    [card, *_] = cards()
    assert (card.connected, card.in_force, card.row) == (True, True, None)
    assert card.warning.startswith("The stored Password of SMTP cannot be decrypted.")


@pytest.mark.parametrize(
    ("url", "warning"),
    [
        ("smtp://relay.test", ""),
        ("file:///srv/outbox", "The default sender only writes files to /srv/outbox, which nobody receives."),
    ],
)
def test_the_card_of_the_default_sender_says_when_nobody_receives_its_mail(
    settings: Any, url: str, warning: str
) -> None:
    settings.DEFAULT_SENDER_URL = url
    assert cards()[-1].warning.startswith(warning)
    assert bool(cards()[-1].warning) == bool(warning)


@pytest.mark.parametrize(
    ("days", "words"),
    [(0, "expires today"), (1, "expires tomorrow"), (12, "expires in 12 days"), (-3, "had expired"), (30, "")],
)
def test_a_certificate_that_ends_soon_wants_attention(smtp: SmtpIntegration, days: int, words: str) -> None:
    until = timezone.now() + timedelta(days=days, hours=1)
    SmtpIntegration.objects.update(certificate_until=until, ssl=True, openssl_verify_mode="peer")
    attention = cards()[0].attention
    assert (words in attention[0]) if words else (attention == [])


def test_what_protects_nobody_wants_attention(smtp: SmtpIntegration) -> None:
    assert cards()[0].attention == ["Mails travel in clear text."]
    SmtpIntegration.objects.update(ssl=True)
    assert cards()[0].attention == ["The relay's certificate is not checked (SSL Verify Mode None)."]


def test_a_check_of_what_is_stored_renews_what_is_known_of_its_certificate(smtp: SmtpIntegration) -> None:
    with FakeRelay(tls="implicit", user="user", password="right horse") as relay:
        SmtpIntegration.objects.update(port=relay.port, ssl=True)
        services.check("smtp", actor="ada")
    until = SmtpIntegration.objects.get().certificate_until
    assert until is not None
    assert until > timezone.now()
