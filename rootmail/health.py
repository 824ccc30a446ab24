"""Whether this process can take requests, and what else an operator should know. The answer comes in time, always."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta

from django.db import DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from workflows import heartbeat, vitals

from .celery import app, declare_queue

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
    """Ask all questions at once. What waits is unknown while the tables are not there, or not those of this version."""
    for question in (DATABASE, WORK, BROKER):
        question.ask()
    unknown = "unknown: the database did not say"
    checks = {"database": OK, "migrations": unknown, "broker": OK, "worker": unknown, "oldest_due": unknown}
    checks |= DATABASE.answer()
    if checks["migrations"] == OK:
        checks |= WORK.answer()
    return Health(checks | BROKER.answer())


class Question:
    """Something that is asked in a thread of its own, since what hangs there cannot be interrupted.

    As long as it hangs, or the answer is fresh, nobody asks again; and nobody waits for longer than so many seconds
    after it was asked.
    """

    def __init__(self, act: Callable[[], Answers], *, name: str, grade: str, seconds: float) -> None:
        self._act, self._name, self._grade, self._seconds = act, name, grade, seconds
        self._lock = threading.Lock()
        self._future: Future[Answers] = Future()
        self._asked_at = 0.0  # never

    def ask(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._asked_at and not (self._future.done() and now - self._asked_at > GOOD_FOR):
                return
            self._future, self._asked_at = Future(), now
            threading.Thread(target=self._fulfil, args=(self._future,), daemon=True).start()

    def answer(self) -> Answers:
        """Return what was said, or that nothing or an error came; its text may name servers and accounts."""
        waited = time.monotonic() - self._asked_at
        try:
            return self._future.result(timeout=max(self._seconds - waited, 0))
        except TimeoutError:
            return {self._name: f"{self._grade}: no answer within {self._seconds:g} seconds"}
        except Exception as error:
            return {self._name: f"{self._grade}: {type(error).__name__}"}

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
    trouble = connection.why_it_takes_nothing()  # type: ignore[attr-defined]
    return {"database": f"fail: {trouble}" if trouble else OK, "migrations": OK}


def _ask_what_waits() -> Answers:
    return {"worker": _worker(), "oldest_due": _oldest_due()}


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


def tables_of_before() -> str:
    """Say what to do where the tables are older than this code; '' also where the database is away for now."""
    try:
        missing = MIGRATIONS.missing()
    except DatabaseError:
        return ""
    finally:
        connections.close_all()  # processes that are forked afterwards must not share one
    return f"{missing} migrations are missing. Run 'manage.py migrate'." if missing else ""


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
    with app.connection_for_write() as broker:
        declare_queue(broker)
    return {"broker": OK}


MIGRATIONS = Migrations()
DATABASE = Question(_ask_database, name="database", grade="fail", seconds=2)
# By itself: somebody may lock the table of mails for long, which keeps no event from being taken.
WORK = Question(_ask_what_waits, name="oldest_due", grade="warn", seconds=2)
# Whoever asks may wait for a second only, and a broker that hangs is no reason to take this server out.
BROKER = Question(_ask_broker, name="broker", grade="warn", seconds=0.8)
