"""Links to set a password: made for one person, the newest alone works, once and for a time; a worker mails them."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from . import audit
from .models import AuditEvent, PasswordLink
from .notices import notice
from .transports.base import TransportError

logger = logging.getLogger(__name__)

WORKER = "a worker"  # no account is named so: a username holds no blank
_ASKED = "password link asked for"
_NOT_MORE_OFTEN_THAN = timedelta(minutes=5)


class Tokens(PasswordResetTokenGenerator):
    """Django's tokens end with another password, log-in or address; ours with a newer link as well."""

    key_salt = "integrations.links"

    def check_token(self, user: User | None, token: str | None) -> bool:
        return user is not None and _in_force().filter(person=user.pk).exists() and super().check_token(user, token)

    def _make_hash_value(self, user: User, timestamp: int) -> str:
        stamp = PasswordLink.objects.filter(person=user.pk).values_list("stamp", flat=True).first()
        return f"{super()._make_hash_value(user, timestamp)}{stamp}"


TOKENS = Tokens()


def make(person: User, *, seconds: int) -> PasswordLink:
    """Make a link for a person; the one of before is worth nothing from now on."""
    fresh = {"stamp": uuid.uuid4(), "good_until": timezone.now() + timedelta(seconds=seconds), "mailed_at": None}
    return PasswordLink.objects.update_or_create(person=person, defaults=fresh)[0]


def void(person: User) -> None:
    PasswordLink.objects.filter(person=person).delete()


def outstanding() -> dict[int, PasswordLink]:
    """Return the links that still work, by the number of their person."""
    return {link.person_id: link for link in _in_force()}


def url_of(link: PasswordLink) -> str:
    """Return what lets whoever has it set this person's password, once.

    It starts with SITE_URL: what a request claims to be its host must not end up in a mail.
    """
    uid = urlsafe_base64_encode(force_bytes(link.person_id))
    path = reverse("password_reset_confirm", args=[uid, TOKENS.make_token(link.person)])
    return f"{settings.SITE_URL}{path}"


def mail(pk: int) -> bool:
    """Mail a person the link that was made, unless that was done. Returns whether it has to wait."""
    link = _in_force().select_related("person").filter(person=pk, person__is_active=True, mailed_at=None).first()
    return _send(link) if link and link.person.email else False


def send_if_asked(pk: int) -> bool:
    """Mail the link that a person asked for, at most every five minutes: nobody's inbox is to be flooded.

    Returns whether it has to wait.
    """
    person = User.objects.filter(pk=pk, is_active=True).first()
    if person is None:
        return False
    lately = AuditEvent.objects.filter(action=_ASKED, at__gt=timezone.now() - _NOT_MORE_OFTEN_THAN)
    if lately.filter(actor=person.get_username()).exists():
        return False
    audit.record(_ASKED, actor=person.get_username())
    return _send(_link_asked_for(person))


def _link_asked_for(person: User) -> PasswordLink:
    """Return a link for a person who asks; an invitation is neither ended nor shortened by whoever asks for another."""
    if person.has_usable_password():
        return make(person, seconds=settings.FORGOTTEN_LINK_TIMEOUT)
    invitation = _in_force().select_related("person").filter(person=person).first()
    return invitation or make(person, seconds=max(settings.FORGOTTEN_LINK_TIMEOUT, settings.PASSWORD_RESET_TIMEOUT))


def _in_force() -> QuerySet[PasswordLink]:
    return PasswordLink.objects.filter(good_until__gt=timezone.now())


def _send(link: PasswordLink) -> bool:
    """Mail it. What went wrong is told without the relay's own words, which may quote the link.

    Returns whether it has to wait: for a provider that is paused or limited, or for a fault that passes.
    """
    name = link.person.get_username()
    context = {"name": name, "link": url_of(link), "site": settings.SITE_URL, "until": link.good_until}
    text = render_to_string("email/password_link.txt", context)
    try:
        notice("Set your password for rootmail", text, to=[link.person.email]).send()
    except TransportError as error:
        if error.untried or not (error.permanent or error.outcome_unknown):
            logger.info("A link for person %s waits: %s, %s", link.person_id, error.stage, error.code)
            return True
        logger.warning("A link for person %s was not mailed: %s, %s", link.person_id, error.stage, error.code)
        audit.record("password link not mailed", actor=WORKER, name=name, stage=str(error.stage), code=error.code)
    else:
        PasswordLink.objects.filter(pk=link.pk, stamp=link.stamp).update(mailed_at=timezone.now())
    return False
