"""A worker's sign of life for whoever runs its container: a file that its main loop touches.

A check that starts `celery inspect ping` would start a whole Django process each time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import bootsteps

TOUCH_SECONDS = 10.0


class Liveness(bootsteps.StartStopStep):  # type: ignore[misc]
    """Touches `WORKER_ALIVE_FILE` while the worker is connected to its broker and its loop turns.

    A frozen loop leaves the file to grow old, and so does a broker that is gone: the step begins anew with each
    connection.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def include_if(self, parent: Any) -> bool:
        return bool(parent.app.conf.worker_alive_file)

    def start(self, parent: Any) -> None:
        file = Path(parent.app.conf.worker_alive_file)
        file.touch()
        self.entry = parent.timer.call_repeatedly(TOUCH_SECONDS, file.touch)

    def stop(self, parent: Any) -> None:
        self.entry.cancel()
