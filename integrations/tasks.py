"""Celery entrances. A task carries no settings and no secret, only a number: of an errand, of a person."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from . import alerts, jobs, links, sign_in

AGAIN_AFTER = 20  # seconds, for a link that waits; each time for twice as long
AT_LEAST_EVERY = 600


@shared_task  # type: ignore[untyped-decorator]
def run_errand(pk: str) -> None:
    jobs.carry_out(pk)


@shared_task  # type: ignore[untyped-decorator]
def forget_errands() -> None:
    jobs.forget_old()


@shared_task  # type: ignore[untyped-decorator]
def forget_sessions() -> None:
    sign_in.forget_sessions()


@shared_task  # type: ignore[untyped-decorator]
def send_password_link(pk: int) -> None:
    if links.send_if_asked(pk):
        mail_password_link.apply_async([pk], countdown=AGAIN_AFTER)


@shared_task  # type: ignore[untyped-decorator]
def tell_admins() -> None:
    alerts.tell_admins()


@shared_task  # type: ignore[untyped-decorator]
def recheck_integrations() -> None:
    jobs.recheck_due()


@shared_task(bind=True, max_retries=None)  # type: ignore[untyped-decorator]
def mail_password_link(self: Any, pk: int) -> None:
    """Mail it as soon as mail leaves. It ends with the link: one that does not work any more waits for nothing."""
    if links.mail(pk):
        raise self.retry(countdown=wait_after(self.request.retries))


def wait_after(retries: int) -> int:
    """Return seconds until a link is tried again."""
    return int(min(AGAIN_AFTER * 2**retries, AT_LEAST_EVERY))
