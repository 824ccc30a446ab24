"""Who may log in, and as what: invite, change role or address, deactivate, reactivate, have links mailed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from . import audit, errands, links, tasks, validators

logger = logging.getLogger(__name__)

NO_ADDRESS = "No address is known. `manage.py changepassword` sets a password on the server."


class Role(models.TextChoices):
    """The names of the groups that hold the permissions; a migration makes them."""

    ADMIN = "Admin", "Admin: everything"
    EDITOR = "Editor", "Editor: workflows"
    VIEWER = "Viewer", "Viewer: reads"


class Refused(Exception):
    """It would lock people out, or two would have one address; the text says so."""


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A link that was made: what an Admin may see of it, how long it works, why no worker mails it, or ''."""

    shown: str
    good_until: datetime
    problem: str


class AlreadyThere(Exception):
    """Somebody has an account, so nobody can be the first any more."""


def role_of(person: User) -> Role:
    names = {group.name for group in person.groups.all()}
    if person.is_superuser or Role.ADMIN in names:
        return Role.ADMIN
    return Role.EDITOR if Role.EDITOR in names else Role.VIEWER


def listed() -> QuerySet[User]:
    return User.objects.prefetch_related("groups").order_by("-is_active", "username")


def create_first_admin(name: str, *, address: str, password: str) -> User:
    """Make the account that makes all others. Raises AlreadyThere."""
    with transaction.atomic():
        _one_at_a_time()
        if User.objects.exists():
            raise AlreadyThere
        person = User.objects.create_user(name, address, password)
        _give(person, Role.ADMIN)
        audit.record("first admin created", actor=name)
    return person


def invite(name: str, *, address: str, role: Role, actor: str) -> User:
    """Make an account without a password. Raises ValidationError with one message per field."""
    person = User(username=User.normalize_username(name), email=User.objects.normalize_email(address))
    person.set_unusable_password()
    with transaction.atomic():
        _one_at_a_time()
        _demand_address(person.email)
        demand_unlike_others(person)
        person.full_clean(exclude=["password"])
        person.save()
        _give(person, role)
        audit.record("person invited", actor=actor, name=person.username, role=role)
    return person


def demand_unlike_others(person: User) -> None:
    """Raise ValidationError where two accounts would be taken for each other: one spelling, or one address."""
    if User.objects.filter(username__iexact=person.username).exists():
        raise ValidationError({"username": f"There is an account named '{person.username}'. Take another name."})
    _demand_nobodys(person.email, among=User.objects.exclude(email=""))


def _demand_nobodys(address: str, *, among: QuerySet[User]) -> None:
    if among.filter(email__iexact=address).exists():
        raise ValidationError({"email": "Another account has this address."})


def _demand_address(address: str) -> None:
    if not address:
        raise ValidationError({"email": "Enter an address: the link to set a password goes there."})
    try:
        validators.validate_address(address)
        User._meta.get_field("email").clean(address, None)
    except ValidationError as error:
        raise ValidationError({"email": error.messages}) from error


def change_address(person: User, address: str, *, actor: str) -> bool:
    """Give a person another address; links that went to the old one end.

    Returns whether it changed anything; raises ValidationError with a message for the field.
    """
    address = User.objects.normalize_email(address)
    with transaction.atomic():
        _one_at_a_time()
        _demand_address(address)
        _demand_nobodys(address, among=User.objects.filter(is_active=True).exclude(pk=person.pk))
        done = User.objects.filter(pk=person.pk).exclude(email=address).update(email=address)
        if done:
            person.email = address
            links.void(person)
            audit.record("e-mail changed", actor=actor, name=person.get_username())
    return bool(done)


def set_role(person: User, role: Role, *, actor: str) -> bool:
    """Change what a person may do. Returns whether it changed anything; raises Refused."""
    with transaction.atomic():
        _one_at_a_time()
        before = role_of(User.objects.get(pk=person.pk))
        if before == role and person.groups.filter(name=role).exists():
            return False
        _demand_that_an_admin_remains(person, actor=actor)
        _give(person, role)
        audit.record("role changed", actor=actor, name=person.username, before=before, role=role)
    return True


def deactivate(person: User, *, actor: str) -> bool:
    """Lock a person out at once, everywhere. Returns whether it changed anything; raises Refused."""
    with transaction.atomic():
        _one_at_a_time()
        _demand_that_an_admin_remains(person, actor=actor)
        done = User.objects.filter(pk=person.pk, is_active=True).update(is_active=False)
        if done:
            _end_sessions(person)
            links.void(person)
            audit.record("person deactivated", actor=actor, name=person.username)
    return bool(done)


def reactivate(person: User, *, actor: str) -> bool:
    """Let a person in again, with the role and the password of before.

    Returns whether it changed anything; raises Refused where somebody else has got the address meanwhile.
    """
    with transaction.atomic():
        _one_at_a_time()
        _demand_that_nobody_has_the_address_now(person)
        done = User.objects.filter(pk=person.pk, is_active=False).update(is_active=True)
        if done:
            audit.record("person reactivated", actor=actor, name=person.username)
    return bool(done)


def hand_out_link(person: User, *, actor: str) -> HandedOut:
    """Make a link to set a password, and have a worker mail it.

    The link of somebody who has a password already is for that person alone: with it another one could come in
    under this name.
    """
    link = links.make(person, seconds=settings.PASSWORD_RESET_TIMEOUT)
    audit.record("password link made", actor=actor, name=person.get_username())
    shown = "" if person.has_usable_password() else links.url_of(link)
    problem = _have_mailed(person) if person.email else NO_ADDRESS
    return HandedOut(shown, link.good_until, problem)


def _have_mailed(person: User) -> str:
    return "" if _rung(tasks.mail_password_link, person.pk) else errands.NO_BROKER


def ask_for_link(address: str) -> None:
    """Have a worker mail a link to whoever has this address.

    A worker is rung whether somebody has it or not: neither the answer nor the time it takes tells which.
    """
    person = User.objects.filter(email__iexact=address, is_active=True).order_by("pk").first()
    _rung(tasks.send_password_link, person.pk if person else 0)


def _rung(task: Any, number: int) -> bool:
    """Tell a worker; a broker that is down costs a log line, not the request."""
    try:
        task.apply_async([number], retry=False)
    except Exception as error:
        logger.warning("The broker does not answer (%s). A link to set a password is not mailed.", error)
        return False
    return True


def password_changed(person: User, *, by: str, actor: str = "") -> None:
    """Record who did it, the person unless named, and by what. A link that is still there ends."""
    links.void(person)
    whose = {"name": person.get_username()} if actor else {}
    audit.record("password changed", actor=actor or person.get_username(), by=by, **whose)


def active_admins() -> QuerySet[User]:
    """Return those who could come in and put things right: an invited person has no password yet."""
    admins = User.objects.filter(Q(is_superuser=True) | Q(groups__name=Role.ADMIN), is_active=True)
    return admins.exclude(password__startswith=UNUSABLE_PASSWORD_PREFIX)


def _demand_that_an_admin_remains(person: User, *, actor: str) -> None:
    if person.get_username() == actor:
        raise Refused("Nobody may demote or deactivate their own account. Ask another Admin to do it.")
    if not active_admins().exclude(pk=person.pk).exists():
        raise Refused(f"{person.get_username()} is the last active Admin. Make another one first.")


def _demand_that_nobody_has_the_address_now(person: User) -> None:
    address = User.objects.values_list("email", flat=True).get(pk=person.pk)
    others = User.objects.filter(is_active=True).exclude(pk=person.pk)
    if address and others.filter(email__iexact=address).exists():
        raise Refused(f"Another account has the address of {person.get_username()} now. Change one of the two first.")


def _one_at_a_time() -> None:
    """Make others who do the same wait for the end of this transaction: two Admins might demote each other."""
    list(Group.objects.select_for_update().filter(name=Role.ADMIN))


def _give(person: User, role: Role) -> None:
    """Make this the one role of a person: no right of another origin outlives it, not a superuser's either."""
    User.objects.filter(pk=person.pk).update(is_superuser=False, is_staff=False)
    person.user_permissions.clear()
    person.groups.set([Group.objects.get(name=role)])
    person.refresh_from_db()


def _end_sessions(person: User) -> None:
    """Delete them: an inactive person's session does nothing, but would come to life with a reactivation."""
    current = Session.objects.filter(expire_date__gte=timezone.now()).iterator()
    own = [one.pk for one in current if one.get_decoded().get(SESSION_KEY) == str(person.pk)]
    Session.objects.filter(pk__in=own).delete()
