"""A sign of life of the workers, so that pages can say when nobody sends mail."""

from __future__ import annotations

from datetime import timedelta

from integrations import clock

from .models import Heartbeat

SILENT_AFTER = timedelta(minutes=4)  # a sweep comes every few seconds, but one mail may take 160 and keep a worker busy


def beat() -> None:
    """Note that a worker is alive."""
    Heartbeat.objects.update_or_create(pk=Heartbeat.ONLY, defaults={"at": clock.now()})


def silence() -> timedelta | None:
    """Return for how long no worker was heard of, None while that is normal; a long time where there never was one."""
    quiet = age()
    return quiet if quiet > SILENT_AFTER else None


def age() -> timedelta:
    """Return how long ago a worker was last heard of; a long time where there never was one.

    A sign from the future was left by a clock that has been set back since: it is as far away as one from the past.
    """
    last = Heartbeat.objects.filter(pk=Heartbeat.ONLY).values_list("at", flat=True).first()
    return timedelta.max if last is None else abs(clock.now() - last)
