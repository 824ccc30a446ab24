"""What became of the mails."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rootmail.output import write_json
from workflows import documents
from workflows.models import Delivery


class Command(BaseCommand):
    help = "Show the state of deliveries, per recipient, with the relay's replies; the oldest first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument("--run", metavar="ID", help="only the mails of this run")
        parser.add_argument("--limit", type=int, default=1000, help="at most so many, the newest (1000)")

    def handle(self, *args: Any, **options: Any) -> None:
        rows = Delivery.objects.select_related("workflow").prefetch_related("recipients", "attempts")
        if options["run"]:
            rows = rows.filter(run=_run_id(options["run"]))
        newest = list(rows.defer("content").order_by("-pk")[: max(options["limit"], 1)])[::-1]
        if options["json"]:
            return write_json(self, documents.deliveries(newest))
        for delivery in newest:
            self._write(delivery)
        if not newest:
            self.stdout.write("No mail yet.")
        return None

    def _write(self, delivery: Delivery) -> None:
        through = f" through {delivery.provider}" if delivery.provider else ""
        named = f"{delivery.workflow.slug}, {delivery.action_name}: {delivery.subject}"
        self.stdout.write(f"{delivery.pk}  {delivery.state}{through}  {named}")
        for text in [delivery.reason, *delivery.warnings]:
            if text:
                self.stdout.write(f"    {text}")
        for recipient in delivery.recipients.all():
            self.stdout.write(
                f"    {recipient.kind:3}  {recipient.address}  {recipient.state}  {recipient.said}".rstrip()
            )


def _run_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise CommandError(f"'{text}' is not the id of a run.") from error
