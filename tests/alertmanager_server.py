"""A real Prometheus Alertmanager for tests, on loopback and in a temporary folder.

with Alertmanager("/usr/bin/prometheus-alertmanager", receiver=YAML) as alertmanager:
    alertmanager.fire({"alertname": "CheckoutSlow"}, {"alertname": "CheckoutSlow", "pod": "2"})
"""

from __future__ import annotations

import subprocess
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from rootmail import state

from .installation import wait_until

# It waits a moment for the other alerts of a group: with 0s the first one would be told alone.
ROUTE = """route:
  receiver: rootmail
  group_by: [alertname]
  group_wait: 500ms
  group_interval: 1s
  repeat_interval: 2s
"""


class Alertmanager:
    """`receiver` is the part of the configuration that tells of us."""

    def __init__(self, program: str, *, receiver: str) -> None:
        self.program, self.receiver = program, receiver
        self.site = f"http://127.0.0.1:{state.free_port()}"

    def __enter__(self) -> Self:
        self.folder = tempfile.TemporaryDirectory(prefix="rootmail-alertmanager-")
        folder = Path(self.folder.name)
        (folder / "alertmanager.yml").write_text(ROUTE + self.receiver)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    self.program, f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data",
                    f"--web.listen-address={self.site.removeprefix('http://')}", "--cluster.listen-address=",
                ],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(lambda: self.process.poll() is not None or self._is_ready(), what="the start of Alertmanager")
        assert self.process.poll() is None, self.log.read_text()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.terminate()
        self.process.wait(timeout=30)
        self.folder.cleanup()

    def fire(self, *alerts: dict[str, str], over: bool = False) -> None:
        """Tell of alerts by their labels, that they fire or, `over`, that they do no more."""
        now = datetime.now(UTC)
        ends = now if over else now + timedelta(hours=1)
        told: list[dict[str, Any]] = [
            {"labels": labels, "annotations": {"summary": f"{labels['alertname']} is bad"}, "endsAt": ends.isoformat()}
            for labels in alerts
        ]
        httpx.post(f"{self.site}/api/v2/alerts", json=told, trust_env=False).raise_for_status()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.site}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False
