"""What the catalogue shows: a card for each way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.utils import timezone

from . import pauses, providers, senders
from .certificates import EXPIRES_SOON
from .fields import Undecryptable
from .models import KINDS, ProviderState, SmtpIntegration
from .transports.smtp import TlsMode


@dataclass(frozen=True, slots=True)
class Card:
    """One way out, as the catalogue shows it."""

    provider: providers.Provider
    connected: bool
    detail: str
    in_force: bool = False
    warning: str = ""
    row: Any = None
    state: ProviderState | None = None  # where it is paused

    @property
    def pause(self) -> str:
        """Why mail waits and until when, or ''."""
        return pauses.in_words(self.state) if self.state else ""

    @property
    def problem(self) -> str:
        """What the last check found wrong, or ''; a pause tells the same, and more."""
        return "" if self.pause or not self.row else str(self.row.check_problem)

    @property
    def attention(self) -> list[str]:
        """What an admin should look after although mail leaves."""
        if not isinstance(self.row, SmtpIntegration):
            return []
        return [text for text in (_expiry(self.row), _protection(self.row)) if text]


def cards(paused: Mapping[str, ProviderState] | None = None) -> list[Card]:
    """Return a card for each way out, in priority order; the first connected one is in force."""
    found = [_card(provider) for provider in providers.PROVIDERS]
    first = next(card for card in found if card.connected)
    return [replace(card, in_force=card is first, state=(paused or {}).get(card.provider.name)) for card in found]


def _card(provider: providers.Provider) -> Card:
    if provider.name not in KINDS:
        warning = senders.default_sender_warning()
        return Card(provider, connected=True, detail=str(senders.default_sender()), warning=warning)
    try:
        row = KINDS[provider.name]._default_manager.filter(connected=True).first()
    except Undecryptable as error:
        return Card(provider, connected=True, detail="", warning=str(error))
    return Card(provider, connected=bool(row), detail=_summary(row), row=row)


def _expiry(row: SmtpIntegration) -> str:
    if row.certificate_until is None:
        return ""
    days = (row.certificate_until - timezone.now()).days
    if days < 0:
        return "The relay's certificate had expired when it was last looked at. Check shows whether that is mended."
    when = {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")
    return f"The relay's certificate expires {when}: have it renewed there." if days < EXPIRES_SOON else ""


def _protection(row: SmtpIntegration) -> str:
    mode = providers.smtp_settings(row).tls_mode
    if mode is TlsMode.CLEARTEXT:
        return "Mails travel in clear text."
    if row.openssl_verify_mode == SmtpIntegration.VerifyMode.NONE:
        return "The relay's certificate is not checked (SSL Verify Mode None)."
    return ""


def _summary(row: Any) -> str:
    if isinstance(row, SmtpIntegration):
        return f"{row.address}, port {row.port}, {providers.smtp_settings(row).tls_mode.label}"
    return row.base_url if row else ""
