"""How log lines are written, and what must not stand in them."""

from __future__ import annotations

import logging
import re
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from workflows import log_fields

# No line of ours tells where it was written, and by which thread or process: looking that up takes a third of its time
# (https://docs.python.org/3/howto/logging.html#optimization).
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

LINE, JSON = "line", "json"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# They tell of every ring and sweep, which says nothing of any mail: tens of thousands of lines a day at rest.
TALKATIVE = ("celery.worker.strategy", "celery.app.trace", "celery.beat")
OF_EVERY_LINE = ("time", "level", "logger", "message", "exception")
QUIET = ("/healthz", "/readyz", "/metrics")  # asked for every few seconds
# The address of a webhook is its secret: whoever knows it may post. So is a link to set a password.
# Nor is it written where somebody has mistyped what stands before it.
_ADDRESS = re.compile(r"(/hooks?|/password/set)/+\s*[^\s\"']+", re.IGNORECASE)


def configuration(*, form: str, level: str) -> dict[str, Any]:
    """Return what logging.config.dictConfig takes: for Django, Celery, and gunicorn once it has loaded the site."""
    if form not in (LINE, JSON):
        raise ValueError(f"LOG_FORMAT takes {LINE} or {JSON}")
    of_gunicorn: dict[str, Any] = {"handlers": ["stderr"], "propagate": False}
    requests = {"gunicorn.access": of_gunicorn | {"level": level}} if form == JSON else {}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "requests": {"()": "rootmail.logs.AccessLines"},
            "addresses": {"()": "rootmail.logs.WithoutAddresses"},
            "ids": {"()": "rootmail.logs.WithIds"},
        },
        "formatters": {
            LINE: {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
            JSON: {"()": "rootmail.logs.Json"},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": form,
                "filters": ["requests", "addresses", "ids"],
            },
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "httpx": {"level": "WARNING"},  # at INFO it writes a line for every request
            "axes": {"level": "ERROR"},  # the audit log has it
            "rootmail.up": {"level": "INFO"},  # it answers whoever has started it
            **{name: {"level": "WARNING"} for name in TALKATIVE if level == "INFO"},
            "gunicorn.error": of_gunicorn,  # its own format tells the process, which no line of ours knows
            **requests,
        },
    }


class WithoutAddresses(logging.Filter):
    """Take the secret part out of addresses: Django logs the path of each request that is refused."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = _masked(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(_masked(value) for value in record.args)
        return True


class WithIds(logging.Filter):
    """Say what a line is about: `ids` and `about`, names of our own, since Django and Celery add whatever they have."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.ids, record.about = log_fields.known(), getattr(record, "about", {})
        return True


class AccessLines(logging.Filter):
    """Make gunicorn's line for a request ours: no address of a person, and no query, which may hold what was searched.

    Probes and scrapes that succeed are left out.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != "gunicorn.access":
            return True
        if isinstance(record.args, dict):
            self._rewrite(record, record.args)
        about = getattr(record, "about", {})
        return about["status"] >= 400 or about["path"] not in QUIET

    def _rewrite(self, record: logging.LogRecord, atoms: dict[str, Any]) -> None:
        method, path, status = str(atoms["m"]), _masked(str(atoms["U"])), int(atoms["s"])
        record.msg, record.args = "%s %s %s", (method, path, status)
        about = {"request": atoms["{x-request-id}o"], "method": method, "path": path, "status": status}
        record.about = {**about, "milliseconds": atoms["M"]}


class Json(JsonFormatter):
    """One JSON object a line, of the documented fields alone: what libraries add may hold anything."""

    def __init__(self) -> None:
        names = {"levelname": "level", "name": "logger", "exc_info": "exception"}
        super().__init__(("levelname", "name", "message", "ids", "about"), rename_fields=names, timestamp="time")

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        found = {name: log_data[name] for name in OF_EVERY_LINE if log_data.get(name) is not None}
        ids = {name: str(value) for name, value in (log_data["ids"] or {}).items()}
        return {**found, **ids, **(log_data["about"] or {})}


def _masked(value: Any) -> Any:
    return _ADDRESS.sub(r"\1/…", value) if isinstance(value, str) and "/" in value else value
