"""RabbitMQ behind a network that loses connections: a worker comes back that the broker believes is still there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pytest

from tests.installation import EXAMPLES, Installation, from_environment, wait_until


class Network:
    """Passes on what is said to a server. `lose()` ends every connection towards the client alone."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._pairs: list[tuple[socket.socket, socket.socket]] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()
        for one in [end for pair in self._pairs for end in pair]:
            one.close()

    def lose(self) -> int:
        """Return how many connections there were."""
        lost, self._pairs[:] = list(self._pairs), []
        self._kept = lost  # or the server would hear of it
        for client, _ in lost:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        return len(lost)

    def _accept(self) -> None:
        with suppress(OSError):  # the end
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._pairs.append((client, server))
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while said := one.recv(65536):
                other.sendall(said)
            if any(one in pair for pair in self._pairs):  # it was not lost, but ended
                other.shutdown(socket.SHUT_WR)


@pytest.fixture
def network() -> Iterator[Network]:
    parts = urlsplit(from_environment("TEST_RABBITMQ_URL"))
    with Network((parts.hostname or "", parts.port or 5672)) as running:
        yield running


@pytest.mark.processes
def test_a_connection_that_was_lost_is_noticed_by_both_ends(tmp_path: Path) -> None:
    """Workers and whoever rings were deaf for minutes: RabbitMQ agrees to the heartbeat that it is asked for."""
    asked = (
        "import socket; from rootmail.celery import app;"
        "broker = app.connection_for_read(heartbeat=app.conf.broker_heartbeat); broker.connect();"
        "option = broker.connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT);"
        "print([broker.get_heartbeat_interval(), option]); broker.release()"
    )
    here = Installation(tmp_path, broker_url=from_environment("TEST_RABBITMQ_URL"))
    assert here.manage("shell", "--verbosity", "0", "-c", asked).strip() == "[10.0, 10000]"


@pytest.mark.processes
def test_a_worker_comes_back_though_the_broker_believes_that_it_never_left(network: Network, tmp_path: Path) -> None:
    url = urlsplit(from_environment("TEST_RABBITMQ_URL"))
    broker = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{network.port}").geturl()
    with Installation(tmp_path, broker_url=broker) as installation:
        installation.manage("workflow", "load", str(EXAMPLES / "workflows.json"))
        token = installation.token()
        installation.mails_of(installation.post_event(token))
        worker = installation.processes("celery", " worker ")[0]
        assert network.lose() > 2
        wait_until(lambda: installation.output.count("Connected to amqp") > 1, what="the worker's way back")
        installation.mails_of(installation.post_event(token))
        assert installation.processes("celery", " worker ")[0] == worker, installation.output[-3000:]
        assert "Unrecoverable" not in installation.output
