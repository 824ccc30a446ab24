"""The rotation of keys."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from integrations import audit, rotation
from rootmail import about
from rootmail.output import Progress


class Command(BaseCommand):
    help = (
        "Encrypt everything stored anew with the first key of FERNET_KEYS. Put the new key first and keep the old one "
        "behind it, restart, run this, then take the old key out. It may be interrupted and run again: it goes on "
        "where it was."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        _demand_that_workers_know_the_keys()
        done = rotation.rotate(watch=Progress(self.stdout))
        audit.record(
            "encryption keys rotated", actor=audit.COMMAND_LINE, renewed=done.renewed, unreadable=len(done.unreadable)
        )
        self.stdout.write(f"{done.renewed} rows encrypted anew, {done.fresh} were under the first key already.")
        self._demand_success(done)
        self.stdout.write(f"Everything is encrypted with the first key of FERNET_KEYS. {_of_the_others()}")

    def _demand_success(self, done: rotation.Rotation) -> None:
        for text in done.unreadable:
            self.stderr.write(text)
        if done.unreadable:
            raise CommandError("Not everything could be decrypted; all the rest is encrypted with the first key.")
        if done.left:
            raise CommandError(
                f"{done.left} rows were written under an older key meanwhile: something still runs with the settings "
                "of before. Restart web and workers, then run this again. Leave the old key where it is."
            )


def _demand_that_workers_know_the_keys() -> None:
    """What is encrypted with a key that a worker was not started with, it could not read: its mails would wait."""
    try:
        running = about.of_workers(within=1.0)
    except Exception:  # the broker is away, and each has errors of its own: then workers do nothing either
        return
    others = sorted(name for name, answer in running.items() if answer.get("keys", about.keys()) != about.keys())
    if others:
        raise CommandError(
            f"{', '.join(others)} runs with other keys, or in another order. Restart web and workers with the new key "
            "first, then run this again. Nothing was changed."
        )


def _of_the_others() -> str:
    older = len(settings.FERNET_KEYS) - 1
    return f"The {'others' if older > 1 else 'other one'} can be taken out." if older else "There is no other."
