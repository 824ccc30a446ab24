"""API tokens."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from integrations import audit, tokens
from integrations.models import ApiToken
from rootmail.output import write_json


class Command(BaseCommand):
    help = "Make an API token, which is printed once and cannot be read again; or revoke one."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="make a token")
        create.add_argument("name", help="who uses it, for example 'pager'")
        create.add_argument("--scope", action="append", choices=ApiToken.Scope.values, help="default: trigger")
        create.add_argument("--json", action="store_true", help="print one JSON document")
        revoke = verbs.add_parser("revoke", help="take a token out of force, for good")
        revoke.add_argument("name", help="its name")

    def handle(self, *args: Any, **options: Any) -> None:
        return self._revoke(options["name"]) if options["verb"] == "revoke" else self._create(options)

    def _revoke(self, name: str) -> None:
        if not tokens.revoke(name, actor=audit.COMMAND_LINE):
            raise CommandError(f"There is no token named '{name}' in force.")
        self.stdout.write(f"The token '{name}' is revoked.")

    def _create(self, options: dict[str, Any]) -> None:
        scopes = options["scope"] or [ApiToken.Scope.TRIGGER.value]
        try:
            token = tokens.create(options["name"], scopes=scopes, actor=audit.COMMAND_LINE)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        if options["json"]:
            return write_json(self, {"name": options["name"], "scopes": sorted(set(scopes)), "token": token})
        return self.stdout.write(token)
