"""The bell of the workers, in a thread of its own: a broker that hangs must not hold up whoever rings."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Bell:
    """Rings by calling `ring` with what it is told, one ring after another.

    Its thread is kept: where each ring has a new one, that costs a third of it. A process that was forked begins with
    one of its own.
    """

    def __init__(self, ring: Callable[[float], None]) -> None:
        self._ring = ring
        self._ringer: _Ringer | None = None

    @property
    def is_ringing(self) -> bool:
        """Tell whether a ring has not come through yet."""
        return bool(self._ringer and self._ringer.is_alive() and not self._ringer.done.is_set())

    def ring(self, until: float, *, within: float) -> bool:
        """Ring, and wait for so many seconds; return whether it was over by then.

        Raises RuntimeError where the system gives us no thread.
        """
        ringer = self._ringer
        if ringer is None or not ringer.is_alive():
            ringer = _Ringer(self._ring)
            ringer.start()
            self._ringer = ringer
        return ringer.take(until).wait(within)


class _Ringer(threading.Thread):
    def __init__(self, ring: Callable[[float], None]) -> None:
        super().__init__(name="bell", daemon=True)
        self._ring = ring
        self._calls: SimpleQueue[tuple[float, threading.Event]] = SimpleQueue()
        self.done = threading.Event()  # of the last call
        self.done.set()

    def take(self, until: float) -> threading.Event:
        done = threading.Event()
        self._calls.put((until, done))
        self.done = done
        return done

    def run(self) -> None:
        while True:
            until, done = self._calls.get()
            try:
                self._ring(until)
            finally:
                done.set()
