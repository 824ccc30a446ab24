"""The mails of rootmail itself: test mails, password links, alerts."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.mail import EmailMessage
from django.core.mail.message import make_msgid

from . import senders


def notice(subject: str, text: str, *, to: Sequence[str]) -> EmailMessage:
    """Make a mail that no absence notice answers (RFC 3834), and whose Message-ID does not name this machine."""
    domain = senders.default_sender().domain
    headers = {"Message-ID": make_msgid(domain=domain), "Auto-Submitted": "auto-generated"}
    return EmailMessage(subject, text, to=to, headers=headers)
