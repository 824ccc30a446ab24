"""What became of the mails, and what may be done with them."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import audit
from rootmail.banners import mail_waits
from rootmail.output import write_json
from workflows import delivery_documents, interventions
from workflows.forms import FilterForm
from workflows.interventions import Outcome, Tally, Verb
from workflows.models import Delivery
from workflows.search import PROVIDERS, DeliveryFilter, matching

FILTERS = ("state", "provider", "workflow", "recipient", "since", "until", "code", "search", "run", "bounced")
WRONG_USAGE = 2


class Command(BaseCommand):
    help = (
        "Show the state of deliveries, per recipient, with the relay's replies; the oldest first. "
        "Or send again, cancel or consider delivered all that match a filter."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument("--limit", type=int, default=1000, help="show at most so many, the newest (1000)")
        wanted = parser.add_argument_group("which")
        wanted.add_argument("--run", metavar="ID", help="only the mails of this run")
        wanted.add_argument("--state", action="append", choices=Delivery.State.values, help="may be repeated")
        wanted.add_argument("--provider", choices=list(PROVIDERS))
        wanted.add_argument("--workflow", metavar="SLUG")
        wanted.add_argument("--recipient", metavar="ADDRESS", help="a whole address, or a part of one")
        wanted.add_argument("--since", metavar="TIME", help="made at or after it: 2026-11-24 or 2026-11-24T10:30")
        wanted.add_argument("--until", metavar="TIME", help="made before it")
        wanted.add_argument("--code", help="a reply code (535) or an enhanced one (5.7.1)")
        wanted.add_argument(
            "--bounced", action="store_true", help="a recipient has not got it although it was accepted"
        )
        wanted.add_argument("--search", metavar="WORDS", help="a part of the subject, an id, or a Message-ID")
        done = parser.add_argument_group("what to do with all that match").add_mutually_exclusive_group()
        for verb in interventions.VERBS.values():
            done.add_argument(f"--{verb.name}", dest="verb", action="store_const", const=verb, help=verb.promise)
        parser.add_argument("--yes", action="store_true", help="do it; otherwise it is only counted")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = _wanted(options)
        if options["verb"]:
            return self._intervene(options["verb"], wanted, options)
        if options["yes"]:
            raise CommandError(
                "--yes needs one of --send-again, --cancel, --consider-delivered.", returncode=WRONG_USAGE
            )
        return self._show(wanted, options)

    def _intervene(self, verb: Verb, wanted: DeliveryFilter, options: dict[str, Any]) -> None:
        if not wanted:
            raise CommandError(f"--{verb.name} needs a filter, such as --state failed.", returncode=WRONG_USAGE)
        if not options["yes"]:
            return self._tell_count(verb, wanted, interventions.tally(verb.name, wanted), options)
        outcome = interventions.intervene(verb.name, wanted, actor=audit.COMMAND_LINE)
        return self._tell_outcome(verb, wanted, outcome, options)

    def _tell_count(self, verb: Verb, wanted: DeliveryFilter, tally: Tally, options: dict[str, Any]) -> None:
        if options["json"]:
            document = _document(verb, wanted, done=None, left=tally.left)
            return write_json(self, document | {"possible": tally.able, "complete": tally.complete})
        more = "" if tally.complete else "more than "
        self.stdout.write(f"Deliveries {wanted.in_words()}: {more}{tally.matching}; {more}{tally.able} {verb.can}.")
        self._tell_left(tally.left)
        return self.stdout.write("Nothing was done. Add --yes to do it.")

    def _tell_outcome(self, verb: Verb, wanted: DeliveryFilter, outcome: Outcome, options: dict[str, Any]) -> None:
        if options["json"]:
            return write_json(self, _document(verb, wanted, done=outcome.done, left=outcome.left))
        self.stdout.write(f"{verb.label}: {outcome.done} done.")
        self._tell_left(outcome.left)
        if verb.name == "send-again" and outcome.done and (why := mail_waits()):
            self.stdout.write(why)
        return None

    def _tell_left(self, left: dict[str, int]) -> None:
        for why, number in left.items():
            self.stdout.write(f"    {number} left alone: {why}")

    def _show(self, wanted: DeliveryFilter, options: dict[str, Any]) -> None:
        rows, most = matching(wanted), max(options["limit"], 1)
        if options["json"]:
            return write_json(self, delivery_documents.deliveries(rows, most=most)[::-1])
        newest = list(delivery_documents.whole(rows)[:most])[::-1]
        for delivery in newest:
            self._write(delivery)
        if not newest:
            self.stdout.write("No delivery fits." if wanted else "No mail yet.")
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
            for one in recipient.told.all():
                said = f"         told {one.at:%Y-%m-%d %H:%M:%S} UTC: {one.get_kind_display()}  {one.reason}"
                self.stdout.write(said.rstrip())


def _wanted(options: dict[str, Any]) -> DeliveryFilter:
    if options["run"]:
        _check_run(options["run"])
    form = FilterForm({name: options[name] for name in FILTERS if options[name]})
    if not form.is_valid():
        raise CommandError("\n".join(form.complaints()), returncode=WRONG_USAGE)
    return form.wanted


def _check_run(text: str) -> None:
    try:
        uuid.UUID(text)
    except ValueError as error:
        raise CommandError(f"'{text}' is not the id of a run.", returncode=WRONG_USAGE) from error


def _document(verb: Verb, wanted: DeliveryFilter, *, done: int | None, left: dict[str, int]) -> dict[str, Any]:
    return {"action": verb.name, "deliveries": wanted.in_words(), "done": done, "left": dict(left)}
