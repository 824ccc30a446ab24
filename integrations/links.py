"""Links to set a password: made for one person, valid once and for a time, mailed through the router."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from . import audit
from .models import AuditEvent
from .transports.base import TransportError

_ASKED = "password link asked for"
_NOT_MORE_OFTEN_THAN = timedelta(minutes=5)


def link_for(person: User) -> str:
    """Return a link that lets whoever has it set this person's password, once.

    It starts with SITE_URL: what a request claims to be its host must not end up in a mail.
    """
    uid = urlsafe_base64_encode(force_bytes(person.pk))
    path = reverse("password_reset_confirm", args=[uid, default_token_generator.make_token(person)])
    return f"{settings.SITE_URL}{path}"


def hand_out(person: User, *, actor: str) -> tuple[str, str]:
    """Mail a person a new link. Returns what an Admin may see of it, and why the mail did not leave, or ''.

    The link of somebody who has a password already is for that person alone: with it another one could come in
    under this name.
    """
    audit.record("password link made", actor=actor, name=person.get_username())
    link = link_for(person)
    shown = "" if person.has_usable_password() else link
    if not person.email:
        return shown, "No address is known. `manage.py changepassword` sets a password on the server."
    try:
        _send(person, link)
    except TransportError as error:
        return shown, str(error)
    return shown, ""


def send_if_asked(pk: int) -> None:
    """Mail the link that a person asked for, at most every five minutes: nobody's inbox is to be flooded."""
    person = User.objects.filter(pk=pk, is_active=True).first()
    if person is None:
        return
    lately = AuditEvent.objects.filter(action=_ASKED, at__gt=timezone.now() - _NOT_MORE_OFTEN_THAN)
    if lately.filter(actor=person.get_username()).exists():
        return
    audit.record(_ASKED, actor=person.get_username())
    _send(person, link_for(person))


def _send(person: User, link: str) -> None:
    hours = settings.PASSWORD_RESET_TIMEOUT // 3600
    context = {"person": person, "link": link, "site": settings.SITE_URL, "hours": hours}
    text = render_to_string("email/password_link.txt", context)
    send_mail("Set your password for rootmail", text, None, [person.email])
