"""Django's command, and an entry in the audit log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.models import User
from django.db.models.signals import post_save

from integrations import audit


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """Listen meanwhile: Django tells nobody which name was typed in the end."""
        post_save.connect(self._record, sender=User)
        try:
            super().handle(*args, **options)
        finally:
            post_save.disconnect(self._record, sender=User)

    def _record(self, instance: User, created: bool, **_: Any) -> None:
        if created:
            audit.record("superuser created", actor=audit.COMMAND_LINE, name=instance.get_username())
