"""Workflows from the command line: load, dump, trigger."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import audit
from rootmail.output import read_source, write_json
from workflows import documents, events, services


class Command(BaseCommand):
    help = "Load workflows from a file, dump them, or trigger one by an event."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        load = verbs.add_parser("load", help="create or change workflows, by slug; all or none")
        load.add_argument("file", help="a JSON file, or - for standard input")
        load.add_argument("--prune", action="store_true", help="delete what the file does not name, or switch it off")
        load.add_argument("--dry-run", action="store_true", help="change nothing, show what would be different")
        load.add_argument("--json", action="store_true", help="print one JSON document")
        dump = verbs.add_parser("dump", help="print workflows as one JSON document")
        dump.add_argument("slugs", nargs="*", metavar="SLUG", help="these alone; without any, all of them")
        dump.add_argument("--json", action="store_true", help="the same; for symmetry")
        trigger = verbs.add_parser("trigger", help="trigger an event, print the ids of the runs it made")
        trigger.add_argument("event", help="for example incident_created")
        trigger.add_argument("file", nargs="?", help="its data as JSON: a file, or - for standard input")
        trigger.add_argument("--json", action="store_true", help="print the whole answer as one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        verbs = {"load": self.load, "dump": self.dump, "trigger": self.trigger}
        try:
            verbs[options["verb"]](options)
        except (documents.DocumentError, events.EventError) as error:
            raise CommandError(str(error)) from error

    def load(self, options: dict[str, Any]) -> None:
        try:
            document = json.loads(read_source(options["file"]))
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{options['file']} is not JSON: {error}") from error
        dry = options["dry_run"]
        loaded = documents.load(document, actor=audit.COMMAND_LINE, prune=options["prune"], dry_run=dry)
        if options["json"]:
            return write_json(self, [_as_dict(one) for one in loaded])
        for one in loaded:
            self.stdout.write(f"{one.slug}: {_told(one, dry=dry)}")
            if dry and one.diff:
                self.stdout.write(one.diff)
        return None

    def dump(self, options: dict[str, Any]) -> None:
        write_json(self, documents.dump(options["slugs"]))

    def trigger(self, options: dict[str, Any]) -> None:
        data = events.read_data(read_source(options["file"])) if options["file"] else {}
        # A file may hold the whole event, as a client would post it, or its data alone.
        if set(data) <= {"event", "data", "id"} and isinstance(data.get("data"), dict):
            incoming = events.make_event(options["event"], data["data"], key=data.get("id"))
        else:
            incoming = events.make_event(options["event"], data)
        done = services.trigger(incoming, triggered_by="user")
        if options["json"]:
            return write_json(self, done.as_dict())
        for run in done.runs:
            self.stdout.write(str(run.pk))
        for workflow, reason in done.skipped:
            self.stderr.write(f"{workflow.slug}: {reason}")
        if not (done.runs or done.skipped):
            self.stderr.write(f"No workflow hears {incoming.name}.")
        return None


def _told(one: documents.Loaded, *, dry: bool) -> str:
    if one.outcome == "unchanged":
        return "unchanged"
    told = f"would be {one.outcome}" if dry else one.outcome
    return f"{told}: it has run, so it is kept for its mails' story" if one.outcome == "switched off" else told


def _as_dict(one: documents.Loaded) -> dict[str, Any]:
    return {"slug": one.slug, "outcome": one.outcome, "created": one.outcome == "created", "diff": one.diff or None}
