"""A look at the whole installation."""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from rootmail.doctor import report, running
from rootmail.doctor.areas import AREAS


class Command(BaseCommand):
    help = (
        "Look at the whole installation (machine, settings, database, broker, workers, mail, access) and say what to "
        "do. Nothing is changed but the workers' sign of life. Exits with 1 where there is a problem."
    )
    requires_system_checks = []  # it looks at them itself

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        logging.disable(logging.CRITICAL)  # libraries log what is reported here, some with addresses
        if not report.tell(running.run(AREAS), write=self.stdout.write, as_document=options["json"]):
            self.stdout.flush()
            sys.exit(1)
