"""One thread of each web process is left for probes: where the database hangs, it holds whatever asks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .http import Problem

STILL = 1.0  # seconds
OF_PROGRAMS = ("/v1/", "/hooks/")


class Room:
    """How many requests this process has in hand at once: one less than it has threads.

    Whoever finds it full waits as long as others move on: where nobody has come or gone for `still` seconds, nobody
    waits any more.
    """

    def __init__(self, *, still: float = STILL) -> None:
        self._still = still
        self._changed = threading.Condition()
        self._inside = self._most = 0
        self._moved_at = 0.0

    def bound(self, threads: int) -> None:
        """Tell how many threads there are. Until then, and where there is only one, everybody comes in."""
        self._most = threads - 1

    def enter(self) -> bool:
        with self._changed:
            patience = self._moved_at + self._still - time.monotonic()
            if not self._changed.wait_for(self._has_place, timeout=max(patience, 0.0)):
                return False
            self._inside += 1
            self._moved_at = time.monotonic()
        return True

    def leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._moved_at = time.monotonic()
            self._changed.notify()

    def _has_place(self) -> bool:
        return self._most < 1 or self._inside < self._most


ROOM = Room()  # gunicorn.conf.py tells it the number of threads


class SpareThread:
    """Answer 503 at once where all others have hung for a while, instead of hanging with them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not ROOM.enter():
            return _busy(request)
        try:
            return self._get_response(request)
        finally:
            ROOM.leave()


def _busy(request: HttpRequest) -> HttpResponse:
    if request.path_info.startswith(OF_PROGRAMS):
        return Problem(503, "Service unavailable", "The site is busy: nothing was stored. Try again.").response()
    answer = render(None, "busy.html", status=503)
    answer["Retry-After"] = "10"
    return answer
