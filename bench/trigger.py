"""Triggers events inside the process, through `workflows.services`: one a transaction, or a batch of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import django

from bench import calling, mails

if TYPE_CHECKING:  # Django has to be set up first
    from workflows.events import Incoming


def prepare(first: int, count: int) -> list[Incoming]:
    from workflows.events import Incoming

    return [Incoming("incident_created", mails.data(number)) for number in range(first, first + count)]


def act(prepared: Sequence[Incoming], *, batch: int) -> None:
    from workflows import services

    if batch == 1:
        for one in prepared:
            services.trigger(one)
        return
    for begin in range(0, len(prepared), batch):
        services.trigger_all(prepared[begin : begin + batch])


def accepted() -> int:
    from workflows.models import Delivery

    return Delivery.objects.filter(state=Delivery.State.ACCEPTED).count()


def set_up() -> None:
    """Import everything and open the connection to the database, before any clock runs."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rootmail.settings")
    django.setup()
    accepted()


if __name__ == "__main__":
    set_up()
    calling.serve(act, prepare=prepare, accepted=accepted)
