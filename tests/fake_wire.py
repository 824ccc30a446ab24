"""The sockets under the fake relay: one thread for all of them, and the bytes that came, for everybody to see."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import lru_cache
from typing import Any

Serve = Callable[["Wire"], Coroutine[Any, Any, None]]


class Gone(Exception):
    """The connection is over."""


@lru_cache(maxsize=1)
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="fake relays", daemon=True).start()
    return loop


def _run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run_coroutine_threadsafe(work, _loop()).result(10)


async def settle() -> None:
    """Let the loop take in what has arrived, and finish what it has begun."""
    for _ in range(3):
        await asyncio.sleep(0)


class Listener:
    """A port on which every client is served by a coroutine of its own."""

    def __init__(self, host: str, serve: Serve, *, tls_first: bool) -> None:
        self.serve = serve
        self.tls_first = tls_first
        self.wires: list[Wire] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family)
        self.port: int = self._socket.getsockname()[1]

    def start(self) -> None:
        _run(self._start())

    def stop(self) -> None:
        _run(self._stop())

    def hang_up(self) -> None:
        _run(self._hang_up())

    async def _start(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(lambda: Wire(self), sock=self._socket)

    async def _stop(self) -> None:
        self._server.close()
        await settle()
        await self._hang_up()

    async def _hang_up(self) -> None:
        for wire in self.wires:
            wire.transport.abort()
            wire.task.cancel()
        await asyncio.gather(*(wire.task for wire in self.wires), return_exceptions=True)
        await settle()


class Wire(asyncio.Protocol):
    """The bytes of one client."""

    transport: asyncio.Transport
    task: asyncio.Task[None]

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.buffer = bytearray()
        self._lost = False
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if self.listener.tls_first:
            transport.pause_reading()  # the handshake is to see the first bytes
        self.listener.wires.append(self)
        self.task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._news.set()

    def connection_lost(self, _: Exception | None) -> None:
        self._lost = True
        self._news.set()

    async def _serve(self) -> None:
        try:
            with suppress(Gone, OSError):
                await self.listener.serve(self)
        finally:
            self.transport.abort()

    async def line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            if self._lost:
                raise Gone
            self._news.clear()
            await self._news.wait()
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    def write(self, data: bytes) -> None:
        self._check()
        self.transport.write(data)

    async def encrypt(self, context: ssl.SSLContext) -> None:
        """Forget what came in clear, and shake hands."""
        self._check()
        self.buffer.clear()
        loop = asyncio.get_running_loop()
        encrypted = await loop.start_tls(self.transport, self, context, server_side=True)
        if encrypted is None:
            raise Gone
        self.transport = encrypted

    def _check(self) -> None:
        if self._lost or self.transport.is_closing():
            raise Gone
