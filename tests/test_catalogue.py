"""The cards of Configuration → Integrations."""

from __future__ import annotations

from typing import Any

import pytest

from integrations import services
from integrations.catalogue import Card, cards
from integrations.models import SmtpIntegration

from .damage import lose_key_of
from .test_services import SENDGRID, SMTP

pytestmark = pytest.mark.django_db


def outline(shown: list[Card]) -> list[tuple[str, bool, bool, str]]:
    return [(card.provider.name, card.connected, card.in_force, card.detail) for card in shown]


def test_the_cards_show_what_is_in_force() -> None:
    own = ("default", True, True, "Rootmail <workflows@rootmail.example>")
    assert outline(cards()) == [("smtp", False, False, ""), ("sendgrid", False, False, ""), own]
    assert services.in_force().name == "default"
    services.connect("sendgrid", SENDGRID, actor="ada", check=False)
    assert outline(cards())[1] == ("sendgrid", True, True, "https://api.sendgrid.com")
    assert services.in_force().name == "sendgrid"
    services.connect("smtp", SMTP, actor="ada", check=False)
    assert outline(cards()) == [
        ("smtp", True, True, "smtp.example.com, port 465, implicit TLS: encrypted from the first byte"),
        ("sendgrid", True, False, "https://api.sendgrid.com"),
        (*own[:2], False, own[3]),
    ]
    assert services.in_force().name == "smtp"


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
