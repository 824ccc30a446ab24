"""Triggers events inside the process, through `workflows.services`: one a transaction, or a batch of them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import django

from bench import calling, mails


def prepare(first: int, count: int) -> list[object]:
    from workflows.events import Incoming

    return [Incoming("incident_created", mails.data(number)) for number in range(first, first + count)]


def act(incoming: Sequence[object], *, batch: int) -> None:
    from workflows import services

    if batch == 1:
        for one in incoming:
            services.trigger(one)
        return
    for begin in range(0, len(incoming), batch):
        services.trigger_all(incoming[begin : begin + batch])


def accepted() -> int:
    from workflows.models import Delivery

    return Delivery.objects.filter(state=Delivery.State.ACCEPTED).count()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "rootmail.settings")
    django.setup()
    accepted()  # imports everything, opens the connection
    calling.serve(act, prepare=prepare, accepted=accepted)
