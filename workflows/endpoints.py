"""The addresses that other systems post to: make, change, exchange what proves the sender, retire, delete."""

from __future__ import annotations

import base64
import hashlib
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from integrations import audit, clock
from integrations.fields import Undecryptable

from .webhook_models import WebhookEndpoint
from .webhooks.signatures import SCHEMES

UNPROVED = "none"  # the scheme of a sender that proves nothing: its address is the secret
STANDARD = "standard"  # its secrets have a shape of their own
SECRETS = ("secret", "secret_before")
# Kinds and schemes where the sender makes the secret, and shows it once the address has been entered there.
GIVEN = {("pagerduty", "pagerduty"), ("rootly", "rootly"), ("incident_io", "standard")}


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What is shown once: the address, the secret, or both; '' where there is nothing new."""

    address: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What an endpoint has in force."""

    secret: bool
    old_secret: bool
    old_address: bool


def find(address: str) -> WebhookEndpoint | None:
    """Return the endpoint of the last part of an address: its token, or its id where the sender proves itself."""
    digest = _digest(address)
    row = WebhookEndpoint.objects.filter(Q(digest=digest) | Q(digest_before=digest)).first()
    if row or not _is_id(address):
        return row
    return WebhookEndpoint.objects.filter(pk=address).exclude(scheme=UNPROVED).first()


def create(endpoint: WebhookEndpoint, *, actor: str) -> HandedOut:
    """Store a new endpoint; its address, and a secret that nobody entered, cannot be read again.

    Raises ValidationError.
    """
    token = secrets.token_urlsafe(32)
    endpoint.digest = _digest(token)
    ours = endpoint.scheme != UNPROVED and not is_given(endpoint)
    made = new_secret(endpoint.scheme) if ours and not endpoint.secret else ""
    endpoint.secret = endpoint.secret or made or None
    with transaction.atomic():
        _check(endpoint)
        endpoint.save(force_insert=True)
        audit.record("webhook created", actor=actor, **_told(endpoint))
    return HandedOut(url_of(token), made)


def change(endpoint: WebhookEndpoint, *, fields: Iterable[str], actor: str) -> None:
    """Save these fields of an endpoint. Raises ValidationError."""
    with transaction.atomic():
        _check(endpoint)
        endpoint.save(update_fields=list(fields))
        audit.record("webhook changed", actor=actor, **_told(endpoint), changed=sorted(fields))


def exchange_address(endpoint: WebhookEndpoint, *, actor: str) -> HandedOut:
    """Make another address; the one of before works until it is ended."""
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        row = _locked(endpoint)
        row.digest, row.digest_before = _digest(token), row.digest
        row.save(update_fields=["digest", "digest_before"])
        audit.record("webhook address exchanged", actor=actor, **_told(endpoint))
    return HandedOut(address=url_of(token))


def exchange_secret(endpoint: WebhookEndpoint, *, secret: str = "", actor: str) -> HandedOut:
    """Put another secret in force, one of ours where none is given; the one of before is valid until it is ended."""
    made = "" if secret else new_secret(endpoint.scheme)
    with transaction.atomic():
        row = _locked(endpoint)
        row.secret, row.secret_before = secret or made, _readable_secret(row)
        row.save(update_fields=["secret", "secret_before"])
        audit.record("webhook secret exchanged", actor=actor, **_told(endpoint))
    return HandedOut(secret=made)


def end_old(endpoint: WebhookEndpoint, *, actor: str) -> None:
    """Take the address and the secret of before out of force."""
    with transaction.atomic():
        row = _locked(endpoint)
        row.digest_before = row.secret_before = None
        row.save(update_fields=["digest_before", "secret_before"])
        audit.record("webhook old address and secret ended", actor=actor, **_told(endpoint))


def held(endpoint: WebhookEndpoint) -> Held:
    """Return what an endpoint has, without reading it: it may be unreadable."""
    own = WebhookEndpoint.objects.filter(pk=endpoint.pk)
    secrets = own.annotate(secret_held=Q(secret__isnull=False), old_held=Q(secret_before__isnull=False))
    secret, old_secret = secrets.values_list("secret_held", "old_held").get()
    return Held(secret, old_secret, endpoint.digest_before is not None)


def set_retired(endpoint: WebhookEndpoint, retired: bool, *, actor: str) -> None:
    """Answer whoever posts there with 410, or take what comes again."""
    changing = WebhookEndpoint.objects.filter(pk=endpoint.pk, retired_at__isnull=retired)
    with transaction.atomic():
        if changing.update(retired_at=clock.now() if retired else None):
            audit.record("webhook retired" if retired else "webhook taken back", actor=actor, **_told(endpoint))


def delete(endpoint: WebhookEndpoint, *, actor: str) -> None:
    """Delete an endpoint with what it remembers. The events that it made stay."""
    with transaction.atomic():
        audit.record("webhook deleted", actor=actor, **_told(endpoint))
        endpoint.delete()


def is_given(endpoint: WebhookEndpoint) -> bool:
    """Say whether only the sender can make the secret."""
    return (endpoint.kind, endpoint.scheme) in GIVEN


def url_of(last: object) -> str:
    return f"{settings.SITE_URL}/hooks/{last}/"


def open_address(endpoint: WebhookEndpoint) -> str:
    """Return the address that is no secret, since the sender proves itself; '' where it does not."""
    return "" if endpoint.scheme == UNPROVED else url_of(endpoint.pk)


def new_secret(scheme: str) -> str:
    """Return 256 random bits, in the shape that the scheme wants."""

    if scheme == STANDARD:
        return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
    return f"rootmail:{secrets.token_urlsafe(32)}" if scheme == "basic" else secrets.token_urlsafe(32)


def _check(endpoint: WebhookEndpoint) -> None:
    endpoint.full_clean(exclude=["digest", "digest_before", *SECRETS])
    if endpoint.scheme not in SCHEMES:
        raise ValidationError({"scheme": "Choose one of the ways to prove the sender."})


def _locked(endpoint: WebhookEndpoint) -> WebhookEndpoint:
    return WebhookEndpoint.objects.select_for_update().defer(*SECRETS).get(pk=endpoint.pk)


def _readable_secret(endpoint: WebhookEndpoint) -> str | None:
    """Return the secret in force; None where its key is lost, so that another one can be put in its place."""
    try:
        return endpoint.secret
    except Undecryptable:
        return None


def _told(endpoint: WebhookEndpoint) -> dict[str, str]:
    return {"name": endpoint.name, "kind": endpoint.kind, "scheme": endpoint.scheme}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
