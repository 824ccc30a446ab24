"""Read by gunicorn itself where it is started in this folder: with LOG_FORMAT=json its lines are JSON as well.

Nothing of rootmail is imported in gunicorn's main process: whatever that has loaded, its next processes inherit, and
SIGHUP would start them with old code among the new. Within them, Django's LOGGING takes over.
"""

import os
import sys
from pathlib import Path
from typing import Any

from gunicorn.arbiter import Arbiter


def _setting(name: str, default: str) -> str:
    """Return a setting as rootmail reads it: from the file that NAME_FILE names, or the environment."""
    file = os.environ.get(f"{name}_FILE")
    return Path(file).read_text().strip() if file else os.environ.get(name, default)


if _setting("LOG_FORMAT", "line") == "json":
    _own = {"handlers": ["stderr"], "propagate": False, "level": _setting("LOG_LEVEL", "INFO").upper()}
    logconfig_dict = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": "pythonjsonlogger.json.JsonFormatter",
                "fmt": ["levelname", "name", "message"],
                "rename_fields": {"levelname": "level", "name": "logger", "exc_info": "exception"},
                "timestamp": "time",
            },
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {"gunicorn.error": _own, "gunicorn.access": _own},
    }


def post_worker_init(worker: Any) -> None:
    """Called by a process of gunicorn that has loaded the site. On old tables it does not take the place of another."""
    from rootmail import health, ready, spare_thread

    is_first = worker.age <= worker.cfg.workers  # not in the place of one that died beside others
    if ready.is_awaited() and is_first and (told := health.tables_of_before()):
        worker.log.critical("The site does not start: %s", told)
        sys.exit(Arbiter.APP_LOAD_ERROR)  # then gunicorn ends as a whole
    spare_thread.ROOM.bound(worker.cfg.threads)
    ready.tell()
