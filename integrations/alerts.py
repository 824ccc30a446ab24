"""Tell the admins by mail that a provider is paused: through the default sender, since the provider itself cannot."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import F, Q
from django.urls import reverse

from . import audit, backends, clock, pauses, providers
from .models import ProviderState
from .notices import notice
from .transports.base import TransportError

logger = logging.getLogger(__name__)

MANAGE = "integrations.manage_integrations"
PATIENCE = timedelta(minutes=1)  # what mends itself within it wakes nobody
AT_MOST_EVERY = timedelta(hours=1)
REMIND_EVERY = timedelta(days=1)


def tell_admins() -> None:
    """Mail what the admins should know and have not been told yet. Harmless when several do it at once."""
    way_out = providers.PROVIDERS[-1]
    for state in ProviderState.objects.filter(_news(), pk=_in_force()).exclude(pk=way_out.name):
        mine = ProviderState.objects.filter(_news(), pk=state.pk, told_at=state.told_at)
        if mine.update(told_at=clock.now()) and not _tell(state, way_out=way_out):
            ProviderState.objects.filter(pk=state.pk).update(told_at=state.told_at)  # in a minute again


def _in_force() -> str:
    """Return the provider that mail waits for; one that is connected behind it holds up nothing."""
    try:
        return providers.active_route().provider.name
    except TransportError as error:  # its credentials cannot be read
        return error.provider


def _news() -> Q:
    """A pause that lasts, or that only people can end; one mail for each, at most one an hour, and one a day.

    What lies in the future was written by a clock that was ahead, and counts as long ago.
    """
    now = clock.now()
    future = now + PATIENCE
    matters = Q(paused_at__lte=now - PATIENCE) | Q(paused_at__gt=future) | Q(next_try_at=None)
    another = Q(told_at__lte=now - AT_MOST_EVERY, told_at__lt=F("paused_at"))
    news = Q(told_at=None) | another | Q(told_at__lte=now - REMIND_EVERY) | Q(told_at__gt=future)
    return Q(paused_at__isnull=False, failures__gt=0) & matters & news


def _tell(state: ProviderState, *, way_out: providers.Provider) -> bool:
    to = _addresses()
    label = next(one.label for one in providers.PROVIDERS if one.name == state.name)
    if not to:
        logger.warning("%s is paused, and no admin has an e-mail address to be told at", label)
        return True
    told = _mail(f"rootmail: {label} is paused, mail waits", _text(state, label=label), to=to, way_out=way_out)
    if told:
        audit.record("admins told of a pause", actor=pauses.BY_ITSELF, provider=state.name, people=told)
    return told > 0


def _mail(subject: str, text: str, *, to: Sequence[str], way_out: providers.Provider) -> int:
    """Return how many the relay took it for. Of whom it takes no more at once, the next mail is for.

    All of a mail see each other, so that they know who else was told.
    """
    told = 0
    try:
        route = providers.route_through(way_out)
        while route and to:
            refused = backends.hand_over(notice(subject, text, to=to), route=route).refused
            told += len(to) - len(refused)
            to = [address for address in to if address in refused and refused[address].is_about_number]
    except TransportError:
        logger.exception("%s: %d of the admins could not be told", subject, len(to))
    return told


def _addresses() -> list[str]:
    admins = User.objects.with_perm(MANAGE, backend="django.contrib.auth.backends.ModelBackend")
    return sorted(set(admins.exclude(email="").values_list("email", flat=True)))


def _text(state: ProviderState, *, label: str) -> str:
    return (
        f"Mail through {label} waits. {pauses.in_words(state)}\n\n"
        "Nothing is lost: every mail is kept and leaves when the provider works again, or until its own deadline.\n"
        "No mail takes another way.\n\n"
        f"Look at it, check it, or try it now: {settings.SITE_URL}{reverse('integrations')}\n\n"
        "This message itself went out through the default sender.\n"
    )
