"""Triggers mails as a peer's user would, one call each; then runs the command that sends, where the peer has one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from bench import calling, mails
from bench.peers import app

TEMPLATES = Path(__file__).parent / "templates"


def post(context: dict[str, Any]) -> None:
    from post_office import mail

    person = context["person"]["address"]
    # Rendering in the two processes that send was faster than here.
    mail.send(person, mails.SENDER, template="bench", context=context, render_on_delivery=True)


def make_template() -> None:
    from post_office.models import EmailTemplate

    EmailTemplate.objects.get_or_create(
        name="bench",
        subject="{{ incident.severity }} {{ incident.id }}: {{ incident.title }}",
        content=(TEMPLATES / "mail.txt").read_text(),
        html_content=(TEMPLATES / "mail.html").read_text(),
    )


CALLS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "plain": app.mail.delay,
    "celery-email": app.send_now,
    "mailer": app.send_now,
    "post-office": post,
}
COMMANDS = {
    "mailer": [["send_mail"]] * settings.MAILER_PROCESSES,
    "post-office": [["send_queued_mail", "--processes", "2", "--lockfile", str(settings.FOLDER / "post_office")]],
}


def prepare(first: int, count: int) -> list[dict[str, Any]]:
    return [mails.data(number) for number in range(first, first + count)]


def act(prepared: list[dict[str, Any]], *, batch: int) -> None:
    for context in prepared:
        CALLS[settings.PEER](context)
    sending = [
        subprocess.Popen([sys.executable, "-m", "django", *words], stdout=sys.stderr)
        for words in COMMANDS.get(settings.PEER, [])
    ]
    for process in sending:
        process.wait()


if __name__ == "__main__":
    if settings.PEER == "post-office":
        make_template()
    calling.serve(act, prepare=prepare)
