"""A worker's sign of life, with a timer that the test turns. `test_deploy_processes.py` has a real worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rootmail.celery import app
from rootmail.liveness import TOUCH_SECONDS, Liveness


class Timer:
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def call_repeatedly(self, seconds: float, act: Callable[[], None]) -> Any:
        entry = SimpleNamespace(seconds=seconds, act=act, cancel=lambda: self.entries.remove(entry))
        self.entries.append(entry)
        return entry


def consumer(file: str) -> Any:
    return SimpleNamespace(app=SimpleNamespace(conf=SimpleNamespace(worker_alive_file=file)), timer=Timer())


def test_a_worker_touches_its_file_from_each_connection_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    parent = consumer(str(file))
    step = Liveness(parent)
    for _ in range(2):  # the broker goes away and comes back
        step.start(parent)
        file.unlink()
        [entry] = parent.timer.entries
        assert entry.seconds == TOUCH_SECONDS
        entry.act()
        assert file.exists()
        step.stop(parent)
        assert parent.timer.entries == []


def test_a_worker_touches_nothing_unless_a_file_is_named() -> None:
    assert Liveness(consumer("")).include_if(consumer("")) is False
    assert Liveness(consumer("/tmp/alive")).include_if(consumer("/tmp/alive")) is True
    assert Liveness in app.steps["consumer"]
