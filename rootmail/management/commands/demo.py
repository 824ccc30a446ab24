"""The main job, end to end, for real: see `make demo`."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import Any, NoReturn

import httpx
from django.core.management.base import BaseCommand, CommandError, CommandParser

from rootmail.demo.browser import PageError
from rootmail.demo.play import Demonstration, DemonstrationFailed
from rootmail.demo.site import SiteFailed


class Command(BaseCommand):
    help = "Show a workflow's mail leaving through a company's SMTP server, then through the default sender."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop everything afterwards; exit 0 if all arrived")

    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        demonstration = Demonstration(say=self._say)
        try:
            demonstration.run()
            if not options["once"]:
                demonstration.leave_running()
        except (DemonstrationFailed, SiteFailed, PageError, httpx.HTTPError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self._say("\nStopping …")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
            demonstration.stop()

    def _say(self, text: str = "") -> None:
        with suppress(BrokenPipeError):
            self.stdout.write(text)
            self.stdout.flush()


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt
