"""The ways out, in priority order: mail leaves through the first connected one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from . import senders
from .fields import Undecryptable
from .limits import Limits
from .models import SendGridIntegration, SmtpIntegration
from .transports.base import Scope, Stage, TransportError
from .transports.default import TransportSettings, default_settings
from .transports.sendgrid import SendGridSettings
from .transports.smtp import SmtpSettings


@dataclass(frozen=True, slots=True)
class Provider:
    """A way out. `find` returns what is connected, or None; the rest takes what it found."""

    name: str
    label: str
    find: Callable[[], Any]
    settings: Callable[[Any], TransportSettings]
    sender: Callable[[Any, str], senders.Sender]


@dataclass(frozen=True, slots=True)
class Route:
    """What is in force for one send: a provider, its settings, and who may send."""

    provider: Provider
    settings: TransportSettings
    row: Any = field(repr=False)  # for the default sender its URL, which may hold a password

    @property
    def limits(self) -> Limits:
        return Limits.of(self.row)

    def sender(self, requested: str) -> senders.Sender:
        """Return the From for a mail that asked for `requested` (may be blank); raises SenderError."""
        return self.provider.sender(self.row, requested)


def smtp_settings(row: SmtpIntegration) -> SmtpSettings:
    return SmtpSettings(
        host=row.address,
        port=row.port,
        domain=row.domain,
        username=row.user_name or "",
        password=row.password or "",
        authentication=row.authentication,
        ssl=row.ssl,
        starttls=row.enable_starttls,
        starttls_auto=row.enable_starttls_auto,
        verify=row.openssl_verify_mode,
        ca_certificates=row.ca_certificates,
        allow_clear_text_auth=row.allow_clear_text_auth,
        allow_private_networks=settings.SMTP_ALLOW_PRIVATE_NETWORKS,
    )


def sendgrid_settings(row: SendGridIntegration) -> SendGridSettings:
    return SendGridSettings(
        api_key=row.api_key or "",
        base_url=row.base_url,
        click_tracking=row.click_tracking,
        open_tracking=row.open_tracking,
        allow_private_networks=settings.SMTP_ALLOW_PRIVATE_NETWORKS,
    )


def _smtp_sender(row: SmtpIntegration, requested: str) -> senders.Sender:
    return senders.through_integration(
        requested, default_from=row.default_from, user_name=row.user_name or "", label="SMTP"
    )


def _sendgrid_sender(row: SendGridIntegration, requested: str) -> senders.Sender:
    return senders.through_integration(requested, default_from=row.default_from, user_name="", label="SendGrid")


PROVIDERS = (
    Provider(
        "smtp",
        "SMTP",
        find=lambda: SmtpIntegration.objects.filter(connected=True).first(),
        settings=smtp_settings,
        sender=_smtp_sender,
    ),
    Provider(
        "sendgrid",
        "SendGrid",
        find=lambda: SendGridIntegration.objects.filter(connected=True).first(),
        settings=sendgrid_settings,
        sender=_sendgrid_sender,
    ),
    Provider(
        "default",
        "Default sender",
        find=lambda: settings.DEFAULT_SENDER_URL,
        settings=default_settings,
        sender=lambda _url, requested: senders.through_default_sender(requested),
    ),
)


def label_of(kind: str) -> str:
    """Return how people call a provider."""
    return next(provider.label for provider in PROVIDERS if provider.name == kind)


def active_route() -> Route:
    """Return the way out that is in force now.

    Read for every send, so that Connect and Disconnect act on the next mail in every process. A stored
    credential that cannot be decrypted is a fault of that provider, never a reason to take the next one.
    """
    for provider in PROVIDERS:
        route = route_through(provider)
        if route:
            return route
    raise AssertionError("the default sender is always there")


def route_through(provider: Provider) -> Route | None:
    """Return the way out through this provider, in force or not; None where it is not connected."""
    try:
        row = provider.find()
        return None if row is None else Route(provider, provider.settings(row), row)
    except Undecryptable as error:
        raise _fault(provider, error, stage=Stage.AUTH) from error
    except ValueError as error:  # DEFAULT_SENDER_URL cannot be read
        raise _fault(provider, error, stage=Stage.CONNECT) from error


def _fault(provider: Provider, error: Exception, *, stage: Stage) -> TransportError:
    raised = TransportError(str(error), stage=stage, scope=Scope.PROVIDER)
    raised.provider = provider.name
    return raised
