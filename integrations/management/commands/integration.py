"""Integrations from the command line: connect, check, detect, test, show, disconnect."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import audit, pauses, providers, services, stored, trials
from integrations.diagnosis import Diagnosis, Step
from integrations.errands import NoAnswer
from integrations.fields import Undecryptable
from integrations.models import KINDS, SmtpIntegration
from rootmail.output import read_source, write_json, write_table

_FIELDS = {"username": "user_name"}  # option -> model field, where they are called differently


class Command(BaseCommand):
    help = "Set up, check, test, show or disconnect SMTP or SendGrid; detect the settings of an SMTP server."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        kinds = verbs.add_parser("connect", help="put it in force").add_subparsers(dest="kind", required=True)
        _add_smtp(kinds.add_parser("smtp"))
        _add_sendgrid(kinds.add_parser("sendgrid"))
        for verb, text in (("check", "try it, send nothing"), ("disconnect", "erase it"), ("show", "show it")):
            sub = verbs.add_parser(verb, help=text)
            sub.add_argument("kind", choices=sorted(KINDS))
            sub.add_argument("--json", action="store_true", help="print one JSON document")
        _add_detect(verbs.add_parser("detect", help="find the settings of a server from its name"))
        _add_test(verbs.add_parser("test", help="send a test mail through it"))
        _add_provider(verbs.add_parser("try", help="end the wait of one that is paused: the next mail tries it"))

    def handle(self, *args: Any, **options: Any) -> None:
        verbs = {
            "connect": self.connect,
            "check": self.check_it,
            "disconnect": self.disconnect,
            "show": self.show,
            "detect": self.detect,
            "test": self.test,
            "try": self.try_now,
        }
        try:
            verbs[options["verb"]](options["kind"], options)
        except (stored.NotConnected, Undecryptable, NoAnswer) as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError(_explain(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Stopped. A mail or a check that a worker had begun goes on to its end.") from None

    def connect(self, kind: str, options: dict[str, Any]) -> None:
        values = _values(kind, options)
        try:
            found = services.connect(kind, values, actor=audit.COMMAND_LINE, check=not options["no_check"])
        except services.CheckFailed as error:
            self._report(error.diagnosis, as_json=options["json"])
            raise CommandError("Nothing was saved. --no-check connects all the same.") from error
        said, warning = services.after_connect(kind)
        self._say(said, {"connected": kind, "in_force": stored.in_force().name}, options)
        for text in (warning, found.cause if found else ""):
            if text:
                self.stderr.write(text)

    def check_it(self, kind: str, options: dict[str, Any]) -> None:
        show = _ignore if options["json"] else self._show_step
        found = services.check(kind, actor=audit.COMMAND_LINE, watch=show)
        self._report(found, as_json=options["json"], shown=found.steps[0].name != "worker", with_cause=found.ok)
        if not found.ok:
            raise CommandError(found.cause)

    def detect(self, kind: str, options: dict[str, Any]) -> None:
        ca_certificates = read_source(options["ca_file"]) if options["ca_file"] else ""
        found = trials.detect(options["address"], ca_certificates=ca_certificates, actor=audit.COMMAND_LINE)
        if options["json"]:
            write_json(self, found)
        else:
            self._show_detection(found, options)
        if not found["ok"]:
            raise CommandError(found["cause"])

    def test(self, kind: str, options: dict[str, Any]) -> None:
        sent = trials.send_test_mail(kind, options["to"], actor=audit.COMMAND_LINE)
        if options["json"]:
            write_json(self, sent)
        if not sent["ok"]:
            raise CommandError(_not_accepted(sent))
        if not options["json"]:
            said = " ".join(str(sent[name]) for name in ("code", "enhanced_code", "reply") if sent[name])
            how = f"{sent['tls'] or 'no TLS'}, {sent['milliseconds']} ms"
            self.stdout.write(f"Accepted for {sent['to']}: {said} ({how})")
            self.stdout.write(sent["warning"] or "Accepted is not delivered: look into the mailbox.")

    def try_now(self, kind: str, options: dict[str, Any]) -> None:
        if not pauses.try_now(kind, actor=audit.COMMAND_LINE):
            raise CommandError(f"{providers.label_of(kind)} is not paused.")
        self._say(f"The next mail tries {providers.label_of(kind)} again.", {"tried": kind}, options)

    def disconnect(self, kind: str, options: dict[str, Any]) -> None:
        if not services.disconnect(kind, actor=audit.COMMAND_LINE):
            raise CommandError(f"{providers.label_of(kind)} is not connected.")
        through = stored.in_force()
        self._say(
            f"{providers.label_of(kind)} is disconnected. Mail leaves through {through.label}.",
            {"disconnected": kind, "in_force": through.name},
            options,
        )

    def show(self, kind: str, options: dict[str, Any]) -> None:
        shown = stored.describe(kind)
        if options["json"]:
            return write_json(self, shown)
        return write_table(self, shown.items())

    def _say(self, text: str, document: dict[str, Any], options: dict[str, Any]) -> None:
        if options["json"]:
            write_json(self, document)
        else:
            self.stdout.write(text)

    def _report(self, found: Diagnosis, *, as_json: bool, shown: bool = False, with_cause: bool = True) -> None:
        """Print what was found; `shown`: the steps stand there already."""
        if as_json:
            return write_json(self, found.as_dict())
        for step in () if shown else found.steps:
            self._show_step(step)
        if found.mode:
            self.stdout.write(f"Mode: {found.mode}")
        if found.certificate:
            self.stdout.write(found.certificate_sentence)
        if with_cause and found.cause and found.steps[-1].detail != found.cause:
            self.stdout.write(found.cause)
        if found.field:
            self.stdout.write(f"Field: {found.field}")
        if found.proposal:
            self.stdout.write(f"Try: {_as_options(found.proposal)}")
        return None

    def _show_step(self, step: Step) -> None:
        mark, said = "ok  " if step.ok else "FAIL", f"{step.said} {step.detail}".strip()
        self.stdout.write(f"{mark}  {step.name:<9} {step.milliseconds:>6} ms  {said}".rstrip())
        self.stdout.flush()

    def _show_detection(self, found: dict[str, Any], options: dict[str, Any]) -> None:
        write_table(self, [_port_row(port) for port in found["ports"]])
        for field, reason in found["reasons"].items():
            self.stdout.write(f"{field}: {reason}")
        if found["ok"]:
            self.stdout.write(f"Try: manage.py integration connect smtp {_connect_options(found, options)}")


def _ignore(step: Step) -> None:
    """The JSON document shows all steps at once."""


def _not_accepted(sent: dict[str, Any]) -> str:
    if sent["unknown"]:
        return f"{sent['error']} Look into the mailbox of {sent['to']} before you try again."
    return f"The test mail to {sent['to']} was not accepted. {sent['error']}"


def _connect_options(found: dict[str, Any], options: dict[str, Any]) -> str:
    """Return what completes the command that connects; who logs in and who sends is for the operator to fill in."""
    words = [f"--address {shlex.quote(options['address'])}", _as_options(found["proposal"])]
    if options["ca_file"]:
        words.append(f"--ca-file {shlex.quote(options['ca_file'])}")
    if "authentication" in found["proposal"]:
        words.append("--username YOU --password-stdin")
    return " ".join([*words, "--default-from YOU@example.com"])


def _port_row(port: dict[str, Any]) -> tuple[str, ...]:
    offers = " ".join(port["mechanisms"]) or ("no AUTH" if port["mode"] else "")
    certificate = port["problem"] and f"the certificate {port['problem']}"
    return str(port["port"]), port["mode"] or "-", offers, certificate or port["said"]


def _as_options(proposal: Mapping[str, Any]) -> str:
    """Return a proposal as the options of `connect`."""
    words = []
    for name, value in proposal.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words.append(f"--{option} {value}")
    return " ".join(words)


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
    parser.add_argument("--base-url", help="default https://api.sendgrid.com; https://api.eu.sendgrid.com for the EU")
    switch = argparse.BooleanOptionalAction
    parser.add_argument("--click-tracking", action=switch, help="let SendGrid rewrite links; off by default")
    parser.add_argument("--open-tracking", action=switch, help="let SendGrid add a pixel; off by default")
    parser.add_argument("--event-key", help="the verification key of SendGrid's Event Webhook")
    _add_common(parser)


def _add_detect(parser: CommandParser) -> None:
    parser.add_argument("kind", choices=["smtp"])
    parser.add_argument("--address", required=True, help="host name of the relay")
    parser.add_argument("--ca-file", help="PEM file with the CA that the relay's certificate comes from")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _add_test(parser: CommandParser) -> None:
    parser.add_argument("--to", required=True, help="whom to send it to")
    _add_provider(parser)


def _add_provider(parser: CommandParser) -> None:
    parser.add_argument("kind", choices=[provider.name for provider in providers.PROVIDERS])
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _add_common(parser: CommandParser) -> None:
    parser.add_argument("--default-from", help="used where an action leaves From blank")
    parser.add_argument("--rate-limit", type=int, metavar="N", help="mails at the most, of all workers together")
    parser.add_argument("--rate-per", choices=SmtpIntegration.RatePer.values, help="default second")
    parser.add_argument("--session-limit", type=int, metavar="N", help="simultaneous sessions, of all workers together")
    parser.add_argument("--no-check", action="store_true", help="connect without trying first")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _values(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return every model field: what was not named takes its default, not what was stored before."""
    values = stored.defaults(kind)
    given = {_FIELDS.get(name, name): value for name, value in options.items() if value is not None}
    values |= {name: value for name, value in given.items() if name in values}
    if options.get("ca_file"):
        values["ca_certificates"] = read_source(options["ca_file"])
    if options.get("password_stdin") or options.get("api_key_stdin"):
        values[stored.SECRETS[kind]] = sys.stdin.readline().strip("\r\n")
    return values


def _explain(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return "\n".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
