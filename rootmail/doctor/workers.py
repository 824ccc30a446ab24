"""Broker, beat and workers: does news of what is due reach somebody?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from celery import current_app
from django.conf import settings

from integrations import clock
from rootmail import about
from rootmail.celery import declare_queue
from workflows import heartbeat
from workflows.models import Heartbeat

from .findings import Area, Check, Finding, ok, problem, warning

NAMES = {"amqp": "RabbitMQ", "amqps": "RabbitMQ", "rediss": "Redis"}
# RabbitMQ's for the account and the virtual host, then Redis's for the account and the number of the database.
REFUSALS = ("AccessRefused", "NotAllowed", "AuthenticationError", "ResponseError")
RIGHTS = (
    "Check what BROKER_URL says of username, password and the part behind the last stroke; what is special "
    "in a password has to be percent-encoded."
)
NOTHING_LOST = "No mail is lost: the database holds all of them."
# What Redis says to whoever writes, while it answers all others.
FULL = "OutOfMemoryError", "Its memory is full (maxmemory), and the tasks of rootmail need little: let it have more."
REPLICA = "ReadOnlyError", "It is a replica: let BROKER_URL name the primary, or make it one."
DISK = "MISCONF", "It cannot write to its disk: look into its log, and make room there."
TAKES_NOTHING = dict([FULL, REPLICA, DISK])
MANY_TASKS = 1000
ANSWERS_WITHIN, TAKEN_WITHIN = 2.0, 10.0
START_WORKERS = "Start them: manage.py up, or the service of the workers. Their log says why they ended."


def look_at_broker() -> Iterator[Finding]:
    kind = "the embedded Valkey" if settings.EMBEDDED_BROKER else _place()
    error = _broker_trouble()
    if not error:
        yield ok(f"{kind} answers")
    elif error in TAKES_NOTHING:
        yield problem(f"{kind} takes nothing ({error})", f"{TAKES_NOTHING[error]} {NOTHING_LOST}")
    elif error in REFUSALS:
        yield problem(f"{kind} refuses us ({error})", f"{RIGHTS} {NOTHING_LOST}")
    else:
        start = "It runs while manage.py up does: start that."
        todo = start if settings.EMBEDDED_BROKER else f"Start the broker, or set BROKER_URL right. {NOTHING_LOST}"
        yield problem(f"{kind} does not answer ({error})", todo)


def _place() -> str:
    """Return what the broker is and where, without who we are there."""
    kind = urlsplit(settings.CELERY_BROKER_URL).scheme.partition("+")[0]
    with current_app.connection_for_write() as connection:
        where = f"{connection.hostname}:{connection.port}" if connection.port else connection.hostname
    return f"{NAMES.get(kind, kind.capitalize())} at {where}"


def _broker_trouble() -> str:
    """Return what went wrong, by the kind of the error alone: its text may quote the address."""
    with current_app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=ANSWERS_WITHIN, interval_start=0)
            declare_queue(connection)
        except Exception as error:  # Celery's, kombu's, redis's and amqp's have no common class
            cause = error.__cause__ or error  # kombu wraps most of them
            return "MISCONF" if "MISCONF" in str(cause) else type(cause).__name__
    return ""


def look_at_queue() -> Iterator[Finding]:
    waiting = _queue_length()
    if waiting > MANY_TASKS:
        yield warning(
            f"{waiting} tasks wait",
            "The workers do not keep up, or listen to another QUEUE. Tasks are only news: the queue may be emptied.",
        )
    else:
        yield ok(f"{waiting} tasks wait")


def _queue_length() -> int:
    name = settings.CELERY_TASK_DEFAULT_QUEUE
    with current_app.connection_for_write() as connection, connection.channel() as channel:
        try:
            return int(channel.queue_declare(queue=name, passive=True).message_count)
        except connection.channel_errors:  # nobody has made it yet
            return 0


def look_at_beat() -> Iterator[Finding]:
    """Every sweep leaves a sign of life: it takes beat, the broker and a worker."""
    last = _last_sign()
    usual = timedelta(seconds=max(6 * settings.SWEEP_SECONDS, 30))
    todo = "Start beat: manage.py up, or its service; look into its log, and whether the workers are busy."
    if last is None:
        yield problem("no sweep has ever come", todo)
        return
    quiet = abs(clock.now() - last)  # as `heartbeat.age`
    said = f"the last sweep came {quiet.total_seconds():.0f} seconds ago"
    if quiet > heartbeat.SILENT_AFTER:
        yield problem(f"the last sweep came at {last:%Y-%m-%d %H:%M:%S} UTC", todo)
    else:
        yield warning(said, todo) if quiet > usual else ok(said)


def _last_sign() -> datetime | None:
    return Heartbeat.objects.filter(pk=Heartbeat.ONLY).values_list("at", flat=True).first()


def look_at_workers() -> Iterator[Finding]:
    """Ask the main processes, which answer even while all of their children are sending."""
    names = sorted(name for answer in current_app.control.ping(timeout=ANSWERS_WITHIN) for name in answer)
    if names:
        yield ok(f"{len(names)} answer: {', '.join(names)}")
    else:
        yield problem("none answers, so no mail leaves", START_WORKERS)


def look_at_a_task() -> Iterator[Finding]:
    """Send a task by the road that all take, and wait until a worker has carried it out."""
    before, began = _last_sign(), time.monotonic()
    current_app.send_task("workflows.tasks.show_life", retry=False)
    while time.monotonic() - began < TAKEN_WITHIN:
        if _last_sign() != before:
            yield ok(f"carried out within {time.monotonic() - began:.1f} seconds")
            return
        time.sleep(0.1)
    yield warning(
        f"no worker carried one out within {TAKEN_WITHIN:.0f} seconds",
        "All may be busy with slow relays; if it stays so, compare QUEUE of workers and web, and restart the workers.",
    )


def look_at_versions() -> Iterator[Finding]:
    """Compare what the workers were started on with what lies here."""
    running = about.of_workers(within=ANSWERS_WITHIN)
    other_code = sorted(name for name, answer in running.items() if answer.get("code") != about.code())
    other_keys = sorted(name for name, answer in running.items() if answer.get("keys", about.keys()) != about.keys())
    if other_keys:
        yield problem(
            f"SECRET_KEY or FERNET_KEYS of {', '.join(other_keys)} are not those of this command",
            "Give every process and machine the same ones, in the same order, and restart.",
        )
    if other_code:
        yield warning(f"{', '.join(other_code)} run other code than lies here", "Restart them: docs/upgrading.md.")
    if not other_keys and not other_code:
        yield ok(f"{len(running)} with this code ({about.code()}) and these keys")


_LIVING = ("broker", "workers")
WORKERS = Area(
    "Workers",
    (
        Check("broker", look_at_broker, seconds=8),
        Check("queue", look_at_queue, needs=("broker",)),
        Check("beat", look_at_beat, needs=("database", "migrations")),
        Check("workers", look_at_workers, needs=("broker",), seconds=8),
        Check("a task", look_at_a_task, needs=("database", "migrations", *_LIVING), seconds=15),
        Check("versions", look_at_versions, needs=_LIVING, seconds=8),
    ),
)
