"""Where a measurement takes place: a sink, a broker and a folder that all contenders share, and what a contender is."""

from __future__ import annotations

import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from rootmail import broker, state
from tests.lab_programs import Program

from . import machine, mails
from .caller import Caller
from .sink import Sink

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


@dataclass
class Stage:
    """`port`: where mail is handed over; a proxy may stand before the sink."""

    folder: Path
    sink: Sink
    broker_url: str
    broker: Program
    port: int
    numbers: int = 0

    def next_numbers(self, count: int) -> int:
        """Return the first of so many numbers that no mail has had yet."""
        first, self.numbers = self.numbers, self.numbers + count
        return first

    @property
    def databases(self) -> list[str]:
        """Return the databases that can be measured here: PostgreSQL where TEST_POSTGRES_URL names a server."""
        return [SQLITE, POSTGRESQL] if os.environ.get("TEST_POSTGRES_URL") else [SQLITE]

    @property
    def authority(self) -> Path | None:
        return self.sink.authority if self.sink.secure else None


@contextmanager
def stage(sink: Sink | None = None, *, port: int = 0) -> Iterator[Stage]:
    """Set up what contenders share, with a sink that runs or one of its own. The broker is the one that is built in."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rootmail-bench-")))
        server = sink or stack.enter_context(Sink())
        url = state.new_broker_url()
        command = broker.command(url, folder=folder / "broker")
        running = Program("broker", command, environment=dict(os.environ), log=folder / "broker.log")
        stack.callback(running.stop)
        deadline = time.monotonic() + 15
        while not broker.answers(url) and time.monotonic() < deadline:
            time.sleep(0.05)
        yield Stage(folder, server, url, running, port or server.port)


class Contender(ABC):
    """Somebody who sends mail. Within `with`, its processes run; what it stores stays from one time to the next."""

    key: str
    label: str
    database: str = ""  # where it keeps its queue in one
    # Ways of triggering, each with the number of events in one transaction.
    ways: ClassVar[Mapping[str, int]] = {"": 1}
    processes = 2  # that send
    unique = True  # each mail has a recipient of its own

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.caller: Caller | None = None

    @abstractmethod
    def start(self) -> None: ...

    def stop(self) -> None:
        if self.caller:
            self.caller.stop()
        self.caller = None

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""

    def worker_pids(self) -> list[int]:
        return []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()  # what had been started already
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def processor(self) -> dict[str, float]:
        """Return the processor seconds used so far, by whom."""
        assert self.caller
        postgres = machine.postmasters() if self.database == POSTGRESQL else []
        return {
            "caller": machine.processor_seconds(self.caller.pid),
            "workers": machine.processor_seconds(*self.worker_pids()),
            "broker": machine.processor_seconds(self.stage.broker.process.pid),
            "PostgreSQL": machine.processor_seconds(*postgres),
        }

    def recipients(self, first: int, count: int) -> Iterable[str]:
        return (mails.address(number if self.unique else 0) for number in range(first, first + count))
