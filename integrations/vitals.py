"""The state of the ways out, for monitoring."""

from __future__ import annotations

from collections import Counter

from django.db.models import Count

from . import clock, stored
from .models import ProviderState, SessionSlot
from .providers import PROVIDERS

NAMES = tuple(provider.name for provider in PROVIDERS)


def in_force() -> str:
    """Return the name of the provider that the next mail leaves through."""
    return stored.in_force().name


def paused() -> set[str]:
    """Return which providers are paused after a fault. One that was connected without a check is not."""
    rows = ProviderState.objects.filter(paused_at__isnull=False, failures__gt=0)
    return set(rows.values_list("name", flat=True))


def sessions() -> Counter[str]:
    """Return how many sessions are in use, of the providers that limit them."""
    taken = SessionSlot.objects.filter(until__gt=clock.now()).values_list("provider")
    return Counter(dict(taken.annotate(number=Count("pk"))))
