"""The session pool: a transport waits here for its next mail, so that mails of one process share a session."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Generic, TypeVar

from .base import Transport
from .default import TransportSettings, transport_for

logger = logging.getLogger(__name__)

IDLE_SECONDS = 30.0  # relays hang up after minutes; and a session under settings of yesterday must not linger
S = TypeVar("S")


class TransportPool(Generic[S]):
    """Keeps at most one idle transport for each settings, and closes it when it has idled too long.

    A transport is lent to one borrower at a time. Settings that were not asked for last have been changed or
    disconnected: their transports are closed as soon as others are asked for. All of that is done by a thread,
    which lives while something idles, so that no mail waits for the QUIT of another session.
    """

    def __init__(self, open_transport: Callable[[S], Transport], *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._open = open_transport
        self._idle_seconds = idle_seconds
        self.forget()

    def forget(self) -> None:
        """Begin anew without a word to anybody: after a fork, the sessions belong to the parent."""
        self._idle: dict[S, tuple[Transport, float]] = {}  # with the moment when its time is over
        self._unwanted: list[Transport] = []
        self._changed = threading.Condition()
        self._reaper: threading.Thread | None = None

    @contextmanager
    def lend(self, settings: S) -> Iterator[Transport]:
        transport = self._take(settings)
        try:
            yield transport
        finally:
            self._put(settings, transport)

    def close(self) -> None:
        """Close what idles; never raises."""
        with self._changed:
            idle = [*self._unwanted, *(transport for transport, _ in self._idle.values())]
            self._idle, self._unwanted = {}, []
            self._changed.notify_all()
        _close(idle)

    def _take(self, settings: S) -> Transport:
        with self._changed:
            found = self._idle.pop(settings, None)
            if self._idle:
                self._unwanted += [transport for transport, _ in self._idle.values()]
                self._idle = {}
                self._changed.notify_all()
        return found[0] if found else self._open(settings)

    def _put(self, settings: S, transport: Transport) -> None:
        """Keep a transport. Never raises: a mail that was accepted must not look like one that failed here."""
        with self._changed:
            if settings in self._idle:  # two threads were sending at once
                self._unwanted.append(self._idle[settings][0])
                self._changed.notify_all()
            # The reaper is not woken: it looks when the time of the one before is over, and this one's ends later.
            self._idle[settings] = transport, monotonic() + self._idle_seconds
            watched = self._is_watched()
        if not watched:
            self.close()

    def _is_watched(self) -> bool:
        """Have a reaper; where the system gives us no thread, nothing can be kept."""
        if self._reaper is None or not self._reaper.is_alive():
            reaper = threading.Thread(target=self._reap, name="session pool", daemon=True)
            try:
                reaper.start()
            except RuntimeError:  # no more threads, or Python is ending
                return False
            self._reaper = reaper
        return True

    def _reap(self) -> None:
        while (due := self._wait_for_due()) is not None:
            _close(due)

    def _wait_for_due(self) -> list[Transport] | None:
        """Return transports whose time is over, or None when nothing idles any more."""
        with self._changed:
            while self._idle or self._unwanted:
                due, self._unwanted = self._unwanted, []
                over = [settings for settings, (_, end) in self._idle.items() if end <= monotonic()]
                due += [self._idle.pop(settings)[0] for settings in over]
                if due:
                    return due
                self._changed.wait(min(end for _, end in self._idle.values()) - monotonic())
            self._reaper = None
            return None


def _close(transports: Iterable[Transport]) -> None:
    for transport in transports:
        try:
            transport.close()
        except Exception:  # it promises not to raise; the others must be closed all the same
            logger.exception("a transport could not be closed")


POOL: TransportPool[TransportSettings] = TransportPool(transport_for)
atexit.register(POOL.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
