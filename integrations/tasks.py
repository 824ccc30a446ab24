"""Celery entrances. A task carries no settings and no secret, only a number: of an errand, of a person."""

from __future__ import annotations

from celery import shared_task

from . import alerts, jobs, links


@shared_task  # type: ignore[untyped-decorator]
def run_errand(pk: str) -> None:
    jobs.carry_out(pk)


@shared_task  # type: ignore[untyped-decorator]
def forget_errands() -> None:
    jobs.forget_old()


@shared_task  # type: ignore[untyped-decorator]
def send_password_link(pk: int) -> None:
    links.send_if_asked(pk)


@shared_task  # type: ignore[untyped-decorator]
def tell_admins() -> None:
    alerts.tell_admins()


@shared_task  # type: ignore[untyped-decorator]
def mail_password_link(pk: int) -> None:
    links.mail(pk)
