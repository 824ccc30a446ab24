"""The installation that the demonstration runs: `manage.py up` as a process of its own."""

from __future__ import annotations

import os
import subprocess  # nosec B404 # each call says why it is safe
import sys
import time
from pathlib import Path
from typing import IO

from django.conf import settings

from rootmail import state


class SiteFailed(Exception):
    """`manage.py up` did not come up; the text quotes its log."""


class Site:
    """Starts and stops the installation; its output goes to `var/up.log`."""

    def __init__(self) -> None:
        self._listen_on(8000 if state.is_free(8000) else state.free_port())
        self.log = settings.ROOTMAIL_VAR / "up.log"
        self.outbox = settings.ROOTMAIL_VAR / "outbox"
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def _listen_on(self, port: int) -> None:
        self.bind = f"127.0.0.1:{port}"
        self.address = f"http://{self.bind}"

    def start(self) -> None:
        """Start and wait until the site answers; raises SiteFailed."""
        try:
            self._start()
        except SiteFailed:
            if "cannot listen on" not in self.log.read_text(errors="replace"):
                raise
            self._listen_on(state.free_port())  # somebody was quicker
            self._start()

    def _start(self) -> None:
        self._output = self.log.open("wb")
        self._process = subprocess.Popen(  # noqa: S603 # nosec B603 # our own command
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "up", "--bind", self.bind],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SITE_URL": self.address, "DEFAULT_SENDER_URL": self.outbox.as_uri()},
            start_new_session=True,
        )
        deadline = time.monotonic() + 90
        while "rootmail runs at" not in self.log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SiteFailed(f"The site did not start. The end of {self.log}:\n{_tail(self.log)}")
            time.sleep(0.05)

    def wait(self) -> None:
        """Wait until the installation ends by itself; raises SiteFailed then."""
        if self._process:
            self._process.wait()
            raise SiteFailed(f"The site ended. The end of {self.log}:\n{_tail(self.log)}")

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
        if self._output:
            self._output.close()


def _tail(file: Path) -> str:
    return "\n".join(file.read_text(errors="replace").splitlines()[-15:])
