"""Integrations from the command line: connect, check, show, disconnect."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import audit, services
from integrations.diagnosis import Diagnosis
from integrations.fields import Undecryptable
from integrations.models import SmtpIntegration
from rootmail.output import read_source, write_json, write_table

_FIELDS = {"username": "user_name"}  # option -> model field, where they are called differently


class Command(BaseCommand):
    help = "Set up, check, show or disconnect SMTP or SendGrid."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        kinds = verbs.add_parser("connect", help="put it in force").add_subparsers(dest="kind", required=True)
        _add_smtp(kinds.add_parser("smtp"))
        _add_sendgrid(kinds.add_parser("sendgrid"))
        for verb, text in (("check", "try it, send nothing"), ("disconnect", "erase it"), ("show", "show it")):
            sub = verbs.add_parser(verb, help=text)
            sub.add_argument("kind", choices=sorted(services.KINDS))
            sub.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        verbs = {"connect": self.connect, "check": self.check_it, "disconnect": self.disconnect, "show": self.show}
        try:
            verbs[options["verb"]](options["kind"], options)
        except (services.NotConnected, Undecryptable) as error:
            raise CommandError(str(error)) from error

    def connect(self, kind: str, options: dict[str, Any]) -> None:
        values = _values(kind, options)
        try:
            services.connect(kind, values, actor=audit.COMMAND_LINE, check=not options["no_check"])
        except ValidationError as error:
            raise CommandError(_explain(error)) from error
        except services.CheckFailed as error:
            self._report(error.diagnosis, as_json=options["json"])
            raise CommandError("Nothing was saved. --no-check connects all the same.") from error
        said, warning = services.after_connect(kind)
        self._say(said, {"connected": kind, "in_force": services.in_force().name}, options)
        if warning:
            self.stderr.write(warning)

    def check_it(self, kind: str, options: dict[str, Any]) -> None:
        found = services.diagnose(services.demand_connected(kind))
        self._report(found, as_json=options["json"])
        if not found.ok:
            raise CommandError(found.cause)

    def disconnect(self, kind: str, options: dict[str, Any]) -> None:
        if not services.disconnect(kind, actor=audit.COMMAND_LINE):
            raise CommandError(f"{kind} is not connected.")
        through = services.in_force()
        self._say(
            f"{kind} is disconnected. Mail leaves through {through.label}.",
            {"disconnected": kind, "in_force": through.name},
            options,
        )

    def show(self, kind: str, options: dict[str, Any]) -> None:
        shown = services.describe(kind)
        if options["json"]:
            return write_json(self, shown)
        return write_table(self, shown.items())

    def _say(self, text: str, document: dict[str, Any], options: dict[str, Any]) -> None:
        if options["json"]:
            write_json(self, document)
        else:
            self.stdout.write(text)

    def _report(self, found: Diagnosis, *, as_json: bool) -> None:
        if as_json:
            return write_json(self, found.as_dict())
        self.stdout.write(found.mode)
        write_table(
            self,
            [
                (
                    "ok  " if step.ok else "FAIL",
                    step.name,
                    f"{step.milliseconds} ms",
                    f"{step.said} {step.detail}".strip(),
                )
                for step in found.steps
            ],
        )
        if found.cause:
            self.stdout.write(f"{found.cause}" + (f" (field: {found.field})" if found.field else ""))
        for field, value in (found.proposal or {}).items():
            self.stdout.write(f"Try {field} = {value}")
        return None


def _add_smtp(parser: CommandParser) -> None:
    switch = argparse.BooleanOptionalAction
    parser.add_argument("--address", required=True, help="host name of the relay")
    parser.add_argument("--port", type=int, help="default 587")
    parser.add_argument("--domain", help="the HELO/EHLO name")
    parser.add_argument("--username")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
    parser.add_argument("--authentication", choices=SmtpIntegration.Authentication.values)
    parser.add_argument("--enable-starttls", action=switch, help="force STARTTLS")
    parser.add_argument("--enable-starttls-auto", action=switch, help="use STARTTLS if offered")
    parser.add_argument("--ssl", action=switch, help="SMTPS: TLS from the first byte")
    parser.add_argument("--openssl-verify-mode", choices=SmtpIntegration.VerifyMode.values)
    parser.add_argument("--ca-file", help="PEM file with the CA that the relay's certificate comes from")
    parser.add_argument("--allow-clear-text-auth", action="store_true", default=None)
    _add_common(parser)


def _add_sendgrid(parser: CommandParser) -> None:
    parser.add_argument("--api-key-stdin", action="store_true", required=True, help="read the key from standard input")
    parser.add_argument("--base-url", help="default https://api.sendgrid.com")
    _add_common(parser)


def _add_common(parser: CommandParser) -> None:
    parser.add_argument("--default-from", help="used where an action leaves From blank")
    parser.add_argument("--no-check", action="store_true", help="connect without trying first")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _values(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return every model field: what was not named takes its default, not what was stored before."""
    values = services.defaults(kind)
    given = {_FIELDS.get(name, name): value for name, value in options.items() if value is not None}
    values |= {name: value for name, value in given.items() if name in values}
    if options.get("ca_file"):
        values["ca_certificates"] = read_source(options["ca_file"])
    if options.get("password_stdin") or options.get("api_key_stdin"):
        values[services.SECRETS[kind]] = sys.stdin.readline().strip("\r\n")
    return values


def _explain(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return "\n".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
