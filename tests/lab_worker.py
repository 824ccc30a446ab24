"""A process of the lab: a worker, beat, or the desk (which triggers and asks), with short times and watched steps.

    python -m tests.lab_worker worker --concurrency=2 ...

The times are about a hundredth of the real ones, and keep their relations: a lease outlasts the time until it is
renewed, one mail, and the pauses in which its outcome is written; a probe outlasts one mail; a hang outlasts a lease.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

from tests.lab_faults import Faults

SCALE = float(os.environ.get("LAB_SCALE", "1"))  # a busy machine takes everything slower
LEASE = 1.3 * SCALE
RENEW_AFTER = 0.2 * SCALE
MAIL_SECONDS, FINAL_SECONDS, STEP_SECONDS = 0.55 * SCALE, 0.25 * SCALE, 0.25 * SCALE
RECORD_AGAIN = (0.05 * SCALE, 0.05 * SCALE, 0.1 * SCALE)
LOOK_AGAIN_AFTER = 0.04 * SCALE
PROBE = 0.9 * SCALE
HANG = LEASE + 0.3 * SCALE
RETRY = (0.1, 0.2, 0.4, 0.8)
PAUSES = (0.1, 0.15)
assert RENEW_AFTER + MAIL_SECONDS + FINAL_SECONDS + sum(RECORD_AGAIN) + LOOK_AGAIN_AFTER < LEASE
assert PROBE > MAIL_SECONDS + FINAL_SECONDS
A_DAY_IS = 120.0 * SCALE  # seconds in which a mail is given up that has a day


def shorten() -> None:
    """Set every time of the delivery short."""
    from integrations import limits, pauses, providers
    from workflows import delivery, leases, retry, runs, services, starts, stubborn

    leases.LEASE = runs.LEASE = timedelta(seconds=LEASE)
    starts.LATELY = timedelta(seconds=LEASE)
    leases.RENEW_AFTER, leases.BATCH_SECONDS = RENEW_AFTER, 3.0 * SCALE
    leases.SURE_FOR = RENEW_AFTER / 2
    leases.SETTLE_AFTER *= SCALE
    leases.LOOK_AGAIN_AFTER = LOOK_AGAIN_AFTER
    delivery.DATABASE_PAUSE = runs.TRY_AGAIN_AFTER = timedelta(seconds=0.2)
    stubborn.PAUSES = RECORD_AGAIN  # type: ignore[assignment]
    services.RING_AGAIN_AFTER = 0.1
    retry.DELAYS = RETRY  # type: ignore[assignment]
    pauses.DELAYS, pauses.PROBE = PAUSES, timedelta(seconds=PROBE)  # type: ignore[assignment]
    limits.SLOT = timedelta(seconds=PROBE)
    long = retry.deadline
    retry.deadline = lambda text: long(text) * (A_DAY_IS / 86_400 if not text else 1 / 30)
    providers.PROVIDERS = tuple(replace(one, settings=_hasty(one)) for one in providers.PROVIDERS)


def _hasty(provider: Any) -> Any:
    seconds = {"connect_seconds": STEP_SECONDS, "reply_seconds": STEP_SECONDS}
    if provider.name == "smtp":
        seconds |= {"total_seconds": MAIL_SECONDS, "final_reply_seconds": FINAL_SECONDS}
    return provider.settings if provider.name == "default" else lambda row: replace(provider.settings(row), **seconds)


def shift_clock(seconds: float) -> None:
    """Let this process believe that it is another time: the wall clock jumps, the monotonic one goes on."""
    from django.utils import timezone

    now, wall, nanoseconds = timezone.now, time.time, time.time_ns
    timezone.now = lambda: now() + timedelta(seconds=seconds)
    time.time = lambda: wall() + seconds
    time.time_ns = lambda: nanoseconds() + int(seconds * 1e9)


def rebind(name: str) -> None:
    """Let a name be a public address when it is first asked for, and loopback ever after. Nobody is let out."""
    look_up, connect, asked = socket.getaddrinfo, socket.socket.connect, []

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        if host != name:
            return look_up(host, *rest, **options)
        asked.append(host)
        return look_up("192.88.98.7" if len(asked) == 1 else "127.0.0.1", *rest, **options)

    def connect_within(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_INET and not address[0].startswith("127."):
            raise ConnectionRefusedError(111, "the lab: nobody is let out")
        connect(self, address)

    socket.getaddrinfo = getaddrinfo
    socket.socket.connect = connect_within  # type: ignore[method-assign]


def main(role: str, *arguments: str) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rootmail.settings")
    django.setup()
    from rootmail.celery import app

    shorten()
    if role != "beat":
        _watch()
    if role == "desk":
        from tests.lab_desk import serve

        return serve()
    app.conf.worker_lost_wait = 0.2
    if "LAB_CLOCK" in os.environ:
        shift_clock(float(os.environ["LAB_CLOCK"]))
    if "LAB_REBINDS" in os.environ:
        rebind(os.environ["LAB_REBINDS"])
    if role == "worker":
        return app.worker_main(["worker", *arguments])
    return app.start(["beat", *arguments])


def _watch() -> None:
    from rootmail.celery import app
    from tests.lab_steps import watch_all

    app.loader.import_default_modules()  # the tasks have to be there before they are watched
    watch_all(Faults(Path(os.environ["ROOTMAIL_VAR"]), hang_seconds=HANG))


if __name__ == "__main__":
    main(*sys.argv[1:])
