"""The Celery application. What it does is in `workflows/tasks.py` and `integrations/tasks.py`."""

import os

from celery import Celery
from celery.signals import worker_init, worker_process_shutdown, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rootmail.settings")

app = Celery("rootmail")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect  # type: ignore[untyped-decorator]
def remember_what_it_runs_on(**_: object) -> None:
    """Before anything is upgraded under its feet; `manage.py doctor` asks for it."""
    from . import about  # it needs Celery's worker

    about.at_start()


@worker_ready.connect  # type: ignore[untyped-decorator]
def try_default_sender_again(**_: object) -> None:
    """Its settings stand in the environment: only a restart can bring others, and nothing else would end its pause."""
    from integrations import pauses  # not at the start of every command

    pauses.hasten("default")


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def end_sessions(**_: object) -> None:
    """Say QUIT to relays. A worker's processes end without Python's own exit handlers."""
    from integrations.transports.pool import POOL  # not at the start of every command

    POOL.close()
