"""A limit for a whole HTTP request: httpx has one for each read alone, which every byte renews."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Timer
from typing import Any

from . import machine
from .base import Stage

Trace = Callable[[str, Mapping[str, Any]], None]
CONNECTED = (".connect_tcp.complete", ".start_tls.complete")


@dataclass(slots=True)
class Line:
    """The connection of a client, which may outlive a request; httpcore's trace tells of each new one."""

    stream: Any = None

    def hang_up(self) -> None:
        """Whoever reads from it or writes to it, in another thread, finds that it has ended."""
        if self.stream is not None:
            with suppress(OSError):
                # Below TLS: ssl's own would take the session away from under the thread that reads.
                socket.socket.shutdown(self.stream.get_extra_info("socket"), socket.SHUT_RDWR)


class TotalTime:
    """Within it, the line is hung up after so many seconds; a `trace` of the caller's own hears everything, too."""

    def __init__(self, seconds: float, *, line: Line, trace: Trace | None) -> None:
        self._line, self._trace = line, trace
        self._timer = Timer(seconds, line.hang_up)
        self._timer.daemon = True

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name.endswith(CONNECTED):
            self._line.stream = info["return_value"]
        if self._trace:
            self._trace(name, info)

    def __enter__(self) -> None:
        machine.start(self._timer, stage=Stage.CONNECT)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
