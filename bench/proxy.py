"""A TCP proxy that makes a relay distant: what passes is delayed, not throttled, and told in a file.

    python -m bench.proxy PORT TARGET-PORT MILLISECONDS FILE

MILLISECONDS is one round trip. FILE gets one line of JSON: of each connection when it was opened and closed, and how
many round trips its client waited for. Connecting is one of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

TOLD_EVERY = 0.05


@dataclass
class Connection:
    opened: float = field(default_factory=time.time)
    closed: float = 0.0
    round_trips: int = 1
    clients_turn: bool = False  # what it says now is an answer to what it has heard

    def told(self) -> list[float]:
        return [self.opened, self.closed, self.round_trips]


class Pipe(asyncio.Protocol):
    """One direction, and its end of the connection. `peer` is the other one."""

    def __init__(self, connection: Connection, *, one_way: float, from_client: bool) -> None:
        self._connection, self._one_way, self._from_client = connection, one_way, from_client
        self._waiting: deque[bytes | None] = deque()
        self.peer: Pipe | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._from_client and self._connection.clients_turn:
            self._connection.round_trips += 1
        self._connection.clients_turn = not self._from_client
        self._later(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._connection.closed = self._connection.closed or time.time()
        self._later(None)

    def _later(self, data: bytes | None) -> None:
        self._waiting.append(data)
        asyncio.get_running_loop().call_later(self._one_way, self._pass_on)

    def _pass_on(self) -> None:
        data = self._waiting.popleft()
        if self.peer is None or self.peer.transport is None:
            return
        if data is None:
            self.peer.transport.close()
        else:
            self.peer.transport.write(data)


class Proxy:
    def __init__(self, target: int, *, one_way: float) -> None:
        self._target, self._one_way = target, one_way
        self.connections: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self) -> Pipe:
        connection = Connection()
        self.connections.append(connection)
        client = Pipe(connection, one_way=self._one_way, from_client=True)
        task = asyncio.get_running_loop().create_task(self._connect(client, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return client

    async def _connect(self, client: Pipe, connection: Connection) -> None:
        # Three ways until the server may speak: SYN, SYN and ACK, ACK. Its greeting takes the fourth.
        await asyncio.sleep(3 * self._one_way)
        server = Pipe(connection, one_way=self._one_way, from_client=False)
        server.peer = client
        await asyncio.get_running_loop().create_connection(lambda: server, "127.0.0.1", self._target)
        client.peer = server


async def serve(port: int, target: int, milliseconds: float, file: Path) -> None:
    proxy = Proxy(target, one_way=milliseconds / 2000)
    server = await asyncio.get_running_loop().create_server(proxy.accept, "127.0.0.1", port, backlog=1000)
    async with server:
        while True:
            draft = file.with_suffix(".new")
            draft.write_text(json.dumps([one.told() for one in proxy.connections]))
            draft.replace(file)
            await asyncio.sleep(TOLD_EVERY)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])))
