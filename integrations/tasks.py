"""Celery entrances. A task carries no settings and no secret, only the number of an errand."""

from __future__ import annotations

from celery import shared_task

from . import jobs


@shared_task  # type: ignore[untyped-decorator]
def run_errand(pk: str) -> None:
    jobs.carry_out(pk)


@shared_task  # type: ignore[untyped-decorator]
def forget_errands() -> None:
    jobs.forget_old()
