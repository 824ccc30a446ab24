"""What has to be done between the restoring of a backup and the start of the workers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from celery import current_app
from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import audit
from workflows import heartbeat, restored

NO_LONGER_ALIVE = timedelta(seconds=30)  # several sweeps


class Command(BaseCommand):
    help = (
        "After a backup was restored and before workers start: hold the mails that were due in it, and cancel the "
        "runs, since they may have left after the backup was made. Without --yes they are only counted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do it; otherwise it is only counted")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["yes"]:
            found = restored.count()
            self.stdout.write(f"{found.deliveries} mails would be held, {found.runs} runs cancelled.")
            return self.stdout.write("Nothing was done. Add --yes to do it.")
        _demand_that_no_worker_runs()
        done = restored.hold_back(actor=audit.COMMAND_LINE)
        self.stdout.write(f"{done.deliveries} mails held, {done.runs} runs cancelled.")
        return self.stdout.write(
            "Decide about them in Deliveries, State held, and in Runs. The workers may be started."
        )


def _demand_that_no_worker_runs() -> None:
    try:
        names = [name for answer in current_app.control.ping(timeout=1.0) for name in answer]
    except Exception:  # the broker is away, or is another one than the workers'; each has errors of its own
        names = []
    if names:
        raise CommandError(f"{', '.join(names)} runs: stop the workers first, or they send what is to be held.")
    heard_of = heartbeat.age()
    if heard_of < NO_LONGER_ALIVE:
        raise CommandError(
            f"A worker wrote to this database {heard_of.seconds} seconds ago. Stop the workers first, or they send "
            f"what is to be held. If they are stopped, try again in {NO_LONGER_ALIVE.seconds} seconds."
        )
