"""Django's command, and an entry in the audit log."""

from __future__ import annotations

import getpass
from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.models import User

from integrations import audit, people


class Command(changepassword.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        said = super().handle(*args, **options)
        person = User.objects.get(username=options["username"] or getpass.getuser())
        people.password_changed(person, by="password", actor=audit.COMMAND_LINE)
        return said
