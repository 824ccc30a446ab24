"""Workflows from the command line: load, dump, trigger."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from rootmail.output import read_source, write_json
from workflows import documents, events, services


class Command(BaseCommand):
    help = "Load workflows from a file, dump them, or trigger one by an event."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        load = verbs.add_parser("load", help="create or replace workflows, by slug; all or none")
        load.add_argument("file", help="a JSON file, or - for standard input")
        load.add_argument("--json", action="store_true", help="print one JSON document")
        dump = verbs.add_parser("dump", help="print every workflow as one JSON document")
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
        loaded = documents.load(document)
        if options["json"]:
            return write_json(self, [{"slug": one.slug, "created": one.created} for one in loaded])
        for one in loaded:
            self.stdout.write(f"{one.slug}: {'created' if one.created else 'replaced'}")
        return None

    def dump(self, options: dict[str, Any]) -> None:
        write_json(self, documents.dump())

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
