"""Whether this process can take requests, and what else an operator should know. The answer comes in time, always."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor

from workflows import heartbeat, vitals

from .celery import app

SECONDS = 2.0  # for an answer
GOOD_FOR = 1.0  # seconds: whoever asks more often costs nothing
OLDEST = timedelta(minutes=10)
OK = "ok"
Answers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Health:
    """`checks`: 'ok', or what is wrong, after 'warn' or 'fail'."""

    checks: Answers

    @property
    def ready(self) -> bool:
        """Only what this process cannot do without counts: the others would take every web server out at once."""
        return not any(text.startswith("fail") for text in self.checks.values())


def look() -> Health:
    """Ask database and broker at once, and wait for `SECONDS` at the most."""
    database, broker = DATABASE.ask(), BROKER.ask()
    wait([database, broker], timeout=SECONDS)
    unknown = "unknown: the database did not say"
    checks = {"database": OK, "migrations": unknown, "broker": OK, "worker": unknown, "oldest_due": unknown}
    return Health(checks | _answer(database, "database", "fail") | _answer(broker, "broker", "warn"))


def _answer(future: Future[Answers], name: str, grade: str) -> Answers:
    if not future.done():
        return {name: f"{grade}: no answer within {SECONDS:.0f} seconds"}
    if future.exception():  # its text may name servers and accounts
        return {name: f"{grade}: {type(future.exception()).__name__}"}
    return future.result()


class Question:
    """Something that is asked in a thread of its own, since what hangs there cannot be interrupted.

    As long as it hangs, or the answer is fresh, nobody asks again.
    """

    def __init__(self, act: Callable[[], Answers]) -> None:
        self._act, self._lock = act, threading.Lock()
        self._asked: tuple[Future[Answers], float] | None = None

    def ask(self) -> Future[Answers]:
        with self._lock:
            if self._asked and not self._is_over(*self._asked):
                return self._asked[0]
            future: Future[Answers] = Future()
            self._asked = future, time.monotonic()
        threading.Thread(target=self._fulfil, args=(future,), daemon=True).start()
        return future

    def forget(self) -> None:
        self._asked = None

    def _is_over(self, future: Future[Answers], since: float) -> bool:
        return future.done() and time.monotonic() - since > GOOD_FOR

    def _fulfil(self, future: Future[Answers]) -> None:
        try:
            future.set_result(self._act())
        except Exception as error:
            future.set_exception(error)
        finally:
            connections.close_all()  # this thread's own


def _ask_database() -> Answers:
    connection.ensure_connection()
    missing = MIGRATIONS.missing()
    if missing:
        return {"migrations": f"fail: {missing} are missing. Run 'manage.py migrate'."}
    return {"migrations": OK, "worker": _worker(), "oldest_due": _oldest_due()}


class Migrations:
    """Looks for missing ones until there are none: a process never gets more of them."""

    def __init__(self) -> None:
        self._complete = False

    def missing(self) -> int:
        if self._complete:
            return 0
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        self._complete = not plan
        return len(plan)


def _worker() -> str:
    silence = heartbeat.silence()
    if silence is None:
        return OK
    if silence == timedelta.max:
        return "warn: none has ever been heard of"
    return f"warn: none has been heard of for {silence.total_seconds() // 60:.0f} minutes"


def _oldest_due() -> str:
    age = max(vitals.oldest_delivery(), vitals.oldest_run())
    return OK if age <= OLDEST else f"warn: due for {age.total_seconds() // 60:.0f} minutes"


def _ask_broker() -> Answers:
    with app.connection_for_write(connect_timeout=SECONDS) as broker:
        broker.connect()
    return {"broker": OK}


MIGRATIONS = Migrations()
DATABASE, BROKER = Question(_ask_database), Question(_ask_broker)
