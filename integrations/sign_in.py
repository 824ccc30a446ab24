"""Who knocks at the door: what the lock counts by, and what the audit log keeps of it.

Django and django-axes tell by signals. A name that nobody has is never kept: people type passwords into that field.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from axes.models import AccessAttempt
from axes.utils import reset
from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import Max, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from . import audit
from .models import AuditEvent, LinkRequest

UNKNOWN = "unknown name"  # no account is named so: a username holds no blank
ASKED_TOO_OFTEN = "password links asked for too often"
LINKS_AT_MOST = 10
NAMES_AT_MOST = 10  # so many times what locks one name locks an address for every name
LINKS_WITHIN = timedelta(minutes=10)


def client_address(request: HttpRequest) -> str | None:
    """Return who sent a request. Only the proxy that BEHIND_PROXY speaks of is believed, and only its own entry."""
    claimed = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_PROXY:
        claimed = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or claimed
    for candidate in (claimed, request.META.get("REMOTE_ADDR", "")):
        with suppress(ValueError):
            address = ipaddress.ip_address(_without_port(candidate))
            return str(getattr(address, "ipv4_mapped", None) or address)
    return None


def _without_port(text: str) -> str:
    """Return the address of '192.0.2.1:5050' and '[2001:db8::1]:5050'; some proxies pass the port on."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def counted_address(request: HttpRequest) -> str | None:
    """Return what the lock counts by: a customer with IPv6 has a whole /64 to knock from."""
    address = client_address(request)
    if address is None or ":" not in address:
        return address
    return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False).network_address)


def counted_name(request: HttpRequest | None, credentials: dict[str, Any] | None) -> str:
    """Return the name that was typed if somebody has it, else a digest of it."""
    typed = str((credentials or {}).get("username") or "")
    if _is_known(typed):
        return typed
    return salted_hmac("rootmail.sign-in", typed.lower()).hexdigest()


def is_own_password(request: HttpRequest, password: str) -> bool:
    """Check the password of who has logged in: a wrong one counts like a failed log-in, a lock holds here as well.

    While it is locked, django-axes replaces the answer, whatever it is.
    """
    name = request.user.get_username()
    if authenticate(request, username=name, password=password) is None:
        return False
    reset(username=name, ip=counted_address(request))
    return True


def locked_until(request: HttpRequest, credentials: dict[str, Any] | None) -> datetime:
    """Return when this name may be tried again from this address."""
    tried = AccessAttempt.objects.filter(
        username=counted_name(request, credentials), ip_address=counted_address(request)
    )
    last: datetime = tried.aggregate(last=Max("attempt_time"))["last"] or timezone.now()
    return last + settings.AXES_COOLOFF_TIME


def address_locked_until(request: HttpRequest) -> datetime | None:
    """Return until when nobody may log in from this address, where one password was tried with many names."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    tried = AccessAttempt.objects.filter(ip_address=counted_address(request), attempt_time__gt=since)
    found = tried.aggregate(failures=Sum("failures_since_start"), last=Max("attempt_time"))
    last: datetime | None = found["last"]
    if last is None or found["failures"] < NAMES_AT_MOST * settings.AXES_FAILURE_LIMIT:
        return None
    return last + settings.AXES_COOLOFF_TIME


def may_ask_for_link(request: HttpRequest) -> bool:
    """Count a request for a link to set a password, and say whether its client's address may make it now."""
    address, since = counted_address(request) or "", timezone.now() - LINKS_WITHIN
    LinkRequest.objects.filter(at__lte=since).delete()
    mine = LinkRequest.objects.create(address=address, at=timezone.now())
    # It is counted after it was written, so that several at once cannot all be the last one.
    if LinkRequest.objects.filter(address=address).count() <= LINKS_AT_MOST:
        return True
    mine.delete()
    if not AuditEvent.objects.filter(action=ASKED_TOO_OFTEN, at__gt=since, details__address=address).exists():
        audit.record(ASKED_TOO_OFTEN, actor=UNKNOWN, address=address)
    return False


def listen() -> None:
    """Have the audit log told. Called after django-axes has connected its own receivers, which count first."""
    user_logged_in.connect(_signed_in, dispatch_uid="audit")
    user_logged_out.connect(_signed_out, dispatch_uid="audit")
    user_login_failed.connect(_failed, dispatch_uid="audit")


def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    audit.record("signed in", actor=user.get_username(), address=client_address(request))


def _signed_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    if user:
        audit.record("signed out", actor=user.get_username(), address=client_address(request))


def _failed(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    if request is None or not _was_counted(request):
        return
    typed = str(credentials.get("username") or "")
    actor = typed if _is_known(typed) else UNKNOWN
    action = "wrong password" if request.user.is_authenticated else "sign-in failed"
    audit.record(action, actor=actor, address=client_address(request))
    if getattr(request, "axes_locked_out", False):
        audit.record("locked out", actor=actor, address=client_address(request))


def _was_counted(request: HttpRequest) -> bool:
    """Say whether this attempt was tried at all; while the lock holds, none is, and the log is not to be flooded."""
    return getattr(request, "axes_failures_since_start", None) is not None


def _is_known(name: str) -> bool:
    return User.objects.filter(username=name).exists()


def forget_sessions() -> None:
    """Delete those that have ended by time: Django only stops believing them."""
    SessionStore.clear_expired()
