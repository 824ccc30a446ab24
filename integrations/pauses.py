"""The pause of a provider: after a fault of its own, mail waits, one mail tries it again, and people are told.

    open -> paused -> (from next_try_at on) one mail is the probe -> open, or paused for longer

Refused credentials pause until the settings change or a person presses 'Try now'.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error as DatabaseTrouble
from django.db.models import F, Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import Truncator

from . import audit, clock
from .models import AuditEvent, ProviderState
from .transports.base import Scope, Stage, TransportError

logger = logging.getLogger(__name__)

DELAYS = (10, 30, 60, 120, 300, 600)  # seconds until the next probe
SCATTER = 0.2
LONGEST = timedelta(days=1)
PROBE = timedelta(seconds=200)  # outlasts one mail
AT_MOST_EVERY = timedelta(hours=1)  # an entry in the audit log for a pause that passes
FUTURE = timedelta(minutes=1)  # a pause that begins only then was noted by a clock that was ahead
NOT_SHOWN_YET = "Connected without a check: the next mail will show whether it works."
CREDENTIALS_REFUSED = (530, 534, 535)  # RFC 4954 section 6; some relays say so at MAIL only
BY_ITSELF = "rootmail itself"  # no account is named so: a username holds no blank
OPEN: dict[str, Any] = {"paused_at": None, "next_try_at": None, "probe_until": None, "failures": 0, "reason": ""}


def next_delay(error: TransportError, *, failures: int, scatter: float = 0.0) -> int | None:
    """Return seconds until the next probe, or None where only other settings can help. Pure.

    `failures` counts those before this one. A time that the server named is obeyed, with a day as ceiling.
    """
    if needs_other_settings(error):
        return None
    if error.retry_after is not None:
        return min(max(error.retry_after, 1), int(LONGEST.total_seconds()))
    base = DELAYS[min(failures, len(DELAYS) - 1)]
    return base + round(base * SCATTER * scatter)


def needs_other_settings(error: TransportError) -> bool:
    """Say whether the server refused who we are. A temporary failure (454) is none, nor is a quota."""
    code = error.code or 0
    return code in CREDENTIALS_REFUSED or (error.stage == Stage.AUTH and (code >= 500 or code in (401, 403)))


@dataclass(frozen=True, slots=True)
class Admission:
    """One mail may pass. `probing`: it is the one that tries a paused provider. `version`: of the settings in force."""

    probing: bool = False
    version: int = 0


def admit(name: str) -> Admission:
    """Let one mail pass, or raise TransportError (untried) where mail has to wait."""
    state = ProviderState.objects.filter(pk=name).first()
    if state is None:
        return Admission()
    if state.paused_at is None:
        return Admission(version=state.version)
    now = clock.now()
    mine = ProviderState.objects.filter(_due(now), pk=name, version=state.version)
    if mine.update(probe_until=now + PROBE):
        return Admission(probing=True, version=state.version)
    raise waiting(state)


def note_success(name: str, admission: Admission) -> None:
    """A probe that was accepted ends the pause. Never raises: the mail has been accepted, whatever happens here."""
    if admission.probing:
        try:
            lift(name, version=admission.version)
        except DatabaseTrouble:
            logger.exception("%s works again, but that could not be noted", name)


def note_error(error: TransportError, admission: Admission | None = None) -> None:
    """Pause the provider where the fault is its own. Never raises: the error is what counts.

    An answer that was not heard is such a fault, too: the next mail would fare no better. A probe that the server
    refused for the mail's own sake has shown that it works; one that we refused ourselves, or that never left this
    machine, has shown nothing.
    """
    try:
        if error.scope == Scope.MACHINE:
            logger.error("%s", error.text)
        if error.scope == Scope.PROVIDER and not error.untried:
            begin(error.provider, error, version=admission.version if admission else None)
        elif admission and admission.probing:
            end_probe = lift if _is_answered(error) else release
            end_probe(error.provider, version=admission.version)
    except DatabaseTrouble:
        logger.exception("a fault of %s could not be noted", error.provider)


def note_nothing(name: str, admission: Admission) -> None:
    """Leave the probe to another mail: this one was not handed over, or a defect came between. Never raises."""
    if admission.probing:
        try:
            release(name, version=admission.version)
        except DatabaseTrouble:
            logger.exception("%s has a probe that came to no end", name)


def _is_answered(error: TransportError) -> bool:
    return any(reply.code for reply in (error.reply, *error.refused.values()) if reply)


def demand_open(name: str) -> None:
    """Raise TransportError (untried) where no mail may pass now."""
    state = paused(name)
    if state and not ProviderState.objects.filter(_due(clock.now()), pk=name).exists():
        raise waiting(state)


def _due(now: datetime) -> Q:
    """A probe may go: its time has come, and no other is under way. What lies absurdly far ahead is a clock's fault."""
    nobody = Q(probe_until=None) | Q(probe_until__lte=now) | Q(probe_until__gt=now + PROBE + PROBE)
    wrong = Q(next_try_at__gt=now + LONGEST + LONGEST) | Q(next_try_at__gt=now, paused_at__gt=now + FUTURE)
    come = Q(next_try_at__lte=now) | wrong
    return Q(paused_at__isnull=False) & come & nobody


def waiting(state: ProviderState) -> TransportError:
    """Return what a mail meets that has to wait."""
    text = f"{state.name} is paused: {state.reason}"
    seconds = (state.next_try_at - clock.now()).total_seconds() if state.next_try_at else None
    retry_after = None if seconds is None else max(round(seconds), 1)
    error = TransportError(text, stage=Stage.CONNECT, scope=Scope.PROVIDER, retry_after=retry_after, untried=True)
    error.provider = state.name
    return error


def paused(name: str) -> ProviderState | None:
    """Return the state of a provider where it is paused."""
    return ProviderState.objects.filter(pk=name, paused_at__isnull=False).first()


def all_paused(request: Any) -> dict[str, ProviderState]:
    """Return the paused providers by name, asked for once in a request: its page shows them, and the banner does."""
    if not hasattr(request, "paused_providers"):
        rows = ProviderState.objects.filter(paused_at__isnull=False)
        request.paused_providers = {state.name: state for state in rows}
    found: dict[str, ProviderState] = request.paused_providers
    return found


def begin(name: str, error: TransportError, *, version: int | None = None) -> None:
    """Pause a provider after a fault of its own, or pause it for longer.

    What a straggler meets while others know of the pause already does not lengthen it, except that credentials were
    refused: to try these again would be one AUTH too many. What happened under settings of an older version counts
    for nothing.
    """
    now = clock.now()
    state, _ = ProviderState.objects.get_or_create(pk=name)
    delay = next_delay(error, failures=state.failures, scatter=secrets.randbelow(1000) / 1000)
    news = Q(paused_at=None) | Q(next_try_at__lte=now) | Q(probe_until__gt=now)
    if delay is None:
        news |= Q(next_try_at__isnull=False)
    rows = ProviderState.objects.filter(news, pk=name, version=state.version if version is None else version)
    changed = rows.update(
        paused_at=min(state.paused_at or now, now),
        next_try_at=None if delay is None else now + timedelta(seconds=delay),
        probe_until=None,
        failures=F("failures") + 1,
        reason=error.text,
    )
    if changed and not state.failures:
        logger.warning("%s is paused", name)
    if changed and not _is_recorded(name, lasts=delay is None or state.failures > 0):
        audit.record(f"{name} paused", actor=BY_ITSELF, reason=error.text)


def lift(name: str, *, version: int) -> None:
    """Let mail leave again: a mail was accepted, under these settings."""
    if ProviderState.objects.filter(pk=name, version=version, paused_at__isnull=False).update(**OPEN):
        logger.info("%s is open again", name)
        if _last_recorded(name) == f"{name} paused":
            audit.record(f"{name} open again", actor=BY_ITSELF)


def _is_recorded(name: str, *, lasts: bool) -> bool:
    """Tell whether the audit log has this pause, or has had one within the hour and need not have one that passes.

    A relay that breaks off after every few mails would fill it, and an entry is never deleted.
    """
    lately = AuditEvent.objects.filter(action=f"{name} paused", at__gt=clock.now() - AT_MOST_EVERY)
    return _last_recorded(name) == f"{name} paused" or (not lasts and lately.exists())


def _last_recorded(name: str) -> str:
    """Return the newest action in the audit log that begins or ends a pause, or ''."""
    actions = [f"{name} {what}" for what in ("paused", "open again", "connected", "disconnected")]
    newest = AuditEvent.objects.filter(action__in=actions).order_by("-at", "-pk")
    return newest.values_list("action", flat=True).first() or ""


def release(name: str, *, version: int) -> None:
    """Let another mail be the probe: this one never came as far as the provider."""
    ProviderState.objects.filter(pk=name, version=version).update(probe_until=None)


def version_of(name: str) -> int:
    """Return the version of the settings in force; read it before them, so that it is never newer than they are."""
    return ProviderState.objects.filter(pk=name).values_list("version", flat=True).first() or 0


def forget(name: str, *, proven: bool) -> None:
    """Begin anew with other settings. Where no check has proved them, one mail alone tries them first."""
    ProviderState.objects.get_or_create(pk=name)
    now = None if proven else clock.now()
    values = OPEN | {"paused_at": now, "next_try_at": now, "reason": "" if proven else NOT_SHOWN_YET}
    ProviderState.objects.filter(pk=name).update(version=F("version") + 1, **values)


def hasten(name: str) -> bool:
    """Let the next mail be the probe. Returns whether the provider was paused."""
    return bool(ProviderState.objects.filter(pk=name, paused_at__isnull=False).update(next_try_at=clock.now()))


def try_now(name: str, *, actor: str) -> bool:
    """Let the next mail be the probe, since a person wants it. Returns whether the provider was paused."""
    done = hasten(name)
    if done:
        audit.record(f"{name} to be tried now", actor=actor)
    return done


def in_words(state: ProviderState, *, at_most: int = 1000) -> str:
    """Return the pause as sentences: since when, why (so many characters at the most), and how it ends."""
    if not state.failures:
        return state.reason
    why = Truncator(state.reason).chars(at_most)
    stop = "" if why.endswith((".", "…", "!", "?")) else "."
    return f"Paused since {_hour(state.paused_at)}. {why}{stop} {_how_it_ends(state)}"


def _how_it_ends(state: ProviderState) -> str:
    if state.next_try_at is None:
        return (
            "It is not tried again before its settings are changed, or an Admin presses 'Try now' under Integrations."
        )
    if state.next_try_at <= clock.now():
        return "The next mail tries it again."
    return f"The next try is at {_hour(state.next_try_at)}."


def _hour(at: datetime | None) -> str:
    """Return a time of today by its hour, another one with its date."""
    local = timezone.localtime(at)
    return date_format(local, "H:i:s" if local.date() == timezone.localdate() else "j F, H:i")
