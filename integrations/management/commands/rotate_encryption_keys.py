"""The rotation of keys."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from integrations import audit, rotation


class Command(BaseCommand):
    help = (
        "Encrypt everything stored anew with the first key of FERNET_KEYS. Put the new key first and keep the old one "
        "behind it, restart, run this, then take the old key out. It may be interrupted and run again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        unreadable = list(rotation.rotate())
        for text in unreadable:
            self.stderr.write(text)
        audit.record("encryption keys rotated", actor=audit.COMMAND_LINE, unreadable=len(unreadable))
        if unreadable:
            raise CommandError("Not everything could be decrypted; all the rest is encrypted with the first key.")
        older = len(settings.FERNET_KEYS) - 1
        self.stdout.write(
            "Everything is encrypted with the first key of FERNET_KEYS. "
            + (f"The {'others' if older > 1 else 'other one'} can be taken out." if older else "There is no other.")
        )
