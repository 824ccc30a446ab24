"""The Celery application. What it does is in `workflows/tasks.py` and `integrations/tasks.py`."""

import gc
import logging
import os
import sys

from celery import Celery
from celery.signals import (
    setup_logging,
    task_prerun,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
)
from celery.utils.log import get_multiprocessing_logger
from kombu.connection import Connection

from . import ready
from .liveness import Liveness

logger = logging.getLogger(__name__)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rootmail.settings")

app = Celery("rootmail")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Celery would close the database connection after every task, whatever CONN_MAX_AGE says.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
app.steps["consumer"].add(Liveness)


def declare_queue(broker: Connection) -> None:
    """Do what each ring does before it rings: a broker that answers may take nothing, with its memory full."""
    with broker.channel() as channel:  # type: ignore[no-untyped-call]
        app.amqp.queues[app.conf.task_default_queue](channel).declare()


@task_prerun.connect  # type: ignore[untyped-decorator]
def keep_good_connections(**_: object) -> None:
    """Do before a task what Django does before a request: close a connection that is old, or that does not answer."""
    from django.db import close_old_connections  # not at the start of every command

    close_old_connections()


@setup_logging.connect  # type: ignore[untyped-decorator]
def keep_own_logging(loglevel: int | str, **_: object) -> None:
    """Write lines as the settings say: Celery would give some of its loggers a format of its own."""
    logging.getLogger().setLevel(loglevel)
    pool = get_multiprocessing_logger()  # which tells when a worker's process was killed
    pool.setLevel(logging.ERROR)
    pool.propagate = True


@worker_init.connect  # type: ignore[untyped-decorator]
def remember_what_it_runs_on(**_: object) -> None:
    """Before anything is upgraded under its feet; `manage.py doctor` asks for it."""
    from . import about, about_workers  # noqa: F401  (the second one answers)

    about.at_start()


@worker_init.connect  # type: ignore[untyped-decorator]
def refuse_tables_of_before(**_: object) -> None:
    """On old tables a worker hands a mail over and cannot note that it was taken, so it would be sent again."""
    from .health import tables_of_before  # not at the start of every command

    if told := tables_of_before():
        logger.critical("No worker starts: %s", told)
        sys.exit(1)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def look_for_garbage_less_often(**_: object) -> None:
    """What was loaded by now is none, and a batch of mails makes many objects but hardly any in circles."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@worker_ready.connect  # type: ignore[untyped-decorator]
def try_default_sender_again(**_: object) -> None:
    """Its settings stand in the environment: only a restart can bring others, and nothing else would end its pause."""
    from integrations import pauses  # not at the start of every command

    pauses.hasten("default")


@worker_ready.connect  # type: ignore[untyped-decorator]
def tell_that_it_is_ready(**_: object) -> None:
    ready.tell()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def end_sessions(**_: object) -> None:
    """Say QUIT to relays. A worker's processes end without Python's own exit handlers."""
    from integrations.transports.pool import POOL  # not at the start of every command

    POOL.close()
