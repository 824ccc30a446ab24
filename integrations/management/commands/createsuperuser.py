"""Django's command, an entry in the audit log, and a refusal of accounts that nobody could use, or tell apart."""

from __future__ import annotations

import os
from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db.models.signals import post_save, pre_save

from integrations import audit, people

VARIABLE = "DJANGO_SUPERUSER_PASSWORD"  # Django's name; it is for this one call, so it is no setting


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """Listen meanwhile: Django tells nobody which name was typed in the end."""
        if not options["interactive"]:
            _demand_password()
        pre_save.connect(self._compare, sender=User)
        post_save.connect(self._record, sender=User)
        try:
            super().handle(*args, **options)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        finally:
            pre_save.disconnect(self._compare, sender=User)
            post_save.disconnect(self._record, sender=User)

    def _compare(self, instance: User, **_: Any) -> None:
        people.demand_unlike_others(instance)

    def _record(self, instance: User, created: bool, **_: Any) -> None:
        if created:
            audit.record("superuser created", actor=audit.COMMAND_LINE, name=instance.get_username())


def _demand_password() -> None:
    """Django would make an account without a password, or with any."""
    if not (password := os.environ.get(VARIABLE)):
        raise CommandError(f"Set {VARIABLE}: with --noinput the password is read from the environment.")
    try:
        validate_password(password)
    except ValidationError as error:
        raise CommandError(f"{VARIABLE}: {' '.join(error.messages)}") from error
