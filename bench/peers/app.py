"""The Celery application of the peers, and the task that people write for themselves."""

from __future__ import annotations

from typing import Any

import django
from celery import Celery
from django.core.mail import send_mail
from django.template.loader import render_to_string

from bench import mails

app = Celery("peers")
app.config_from_object("django.conf:settings", namespace="CELERY")
django.setup()
app.autodiscover_tasks()


def texts(context: dict[str, Any]) -> tuple[str, str, str]:
    """Return subject, text and HTML of a mail."""
    incident = context["incident"]
    subject = f"{incident['severity']} {incident['id']}: {incident['title']}"
    return subject, render_to_string("mail.txt", context), render_to_string("mail.html", context)


def send_now(context: dict[str, Any]) -> None:
    """Send through Django: what that means is said by EMAIL_BACKEND."""
    subject, text, html = texts(context)
    send_mail(subject, text, mails.SENDER, [context["person"]["address"]], html_message=html)


@app.task
def mail(context: dict[str, Any]) -> None:
    send_now(context)
