"""Mail: through whom it leaves, what waits, what can be read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings

from integrations import clock, pauses, rotation, senders, stored
from integrations.certificates import EXPIRES_SOON
from integrations.models import KINDS
from integrations.transports.default import FileSettings, default_settings
from workflows.models import Delivery, Run

from .. import lost_keys
from .findings import Area, Check, Finding, ok, problem, warning

LATE, MUCH_TOO_LATE = timedelta(minutes=1), timedelta(minutes=15)
OVERDUE_CHECK = timedelta(days=1)
LARGE_OUTBOX = 1024**3
READY = ("database", "migrations")
LOOK_AT = "Integrations → {label} → Check says what to change (manage.py integration check {kind})."


def look_at_encrypted_values() -> Iterator[Finding]:
    found = rotation.survey()
    if found.unreadable:
        yield problem(
            f"{len(found.unreadable)} of {found.total} rows cannot be decrypted: {found.unreadable[0]}",
            lost_keys.advice(found),
        )
    if found.older:
        yield warning(
            f"{len(found.older)} of {found.total} rows under an older key", "manage.py rotate_encryption_keys"
        )
    if not found.unreadable and not found.older:
        yield ok(f"{found.total} rows, all under the first key")


def look_at_default_sender() -> Iterator[Finding]:
    """Mail leaves through it where nothing is connected; what admins are told when nothing works always does."""
    try:
        found = default_settings(settings.DEFAULT_SENDER_URL)
        domain = senders.parse_mailbox(settings.DEFAULT_FROM_EMAIL).domain
    except (ValueError, senders.SenderError) as error:
        yield problem(str(error), "Set DEFAULT_SENDER and DEFAULT_SENDER_URL right and restart: docs/operations.md.")
        return
    if isinstance(found, FileSettings):
        yield warning(
            f"its mails are only written to {found.folder}",
            "Set DEFAULT_SENDER_URL to smtp://... or smtps://..., or nobody hears of it when the integration fails.",
        )
    elif domain.endswith("localhost"):
        yield warning(f"From is of {domain}, which no server accepts", "Set DEFAULT_SENDER to an address of yours.")
    else:
        yield ok(f"through a server, from {domain}")


def look_at_integrations() -> Iterator[Finding]:
    first = stored.in_force()
    for kind in KINDS:
        if stored.is_connected(kind) and not stored.problem(kind, in_use=True):
            yield from _of_integration(kind, in_force=first.name == kind)
    paused = pauses.paused(first.name)
    if paused:
        yield problem(
            f"mail waits: {pauses.in_words(paused, at_most=300)}",
            f"{LOOK_AT.format(label=first.label, kind=first.name)} Is it mended, let the next mail try: "
            f"manage.py integration try {first.name}.",
        )
    else:
        yield ok(f"mail leaves through {first.label}")


def _of_integration(kind: str, *, in_force: bool) -> Iterator[Finding]:
    row, now = stored.demand_connected(kind), clock.now()
    label = str(row._meta.verbose_name)
    until = getattr(row, "certificate_until", None)
    if row.check_failed_at:
        found = f"{label}, checked at {row.check_failed_at:%Y-%m-%d %H:%M} UTC: {row.check_problem}"
        yield (problem if in_force else warning)(found, LOOK_AT.format(label=label, kind=kind))
    if row.next_check_at and row.next_check_at < now - OVERDUE_CHECK and not pauses.paused(kind):
        yield warning(
            f"{label} was due for its daily check at {row.next_check_at:%Y-%m-%d %H:%M} UTC", "Does beat run?"
        )
    if until and until < now + timedelta(days=EXPIRES_SOON):
        yield warning(
            f"the certificate of {label} ends at {until:%Y-%m-%d %H:%M} UTC", "Have the server's people renew it."
        )


def look_at_deliveries() -> Iterator[Finding]:
    now = clock.now()
    oldest = Delivery.objects.filter(next_attempt_at__lte=now).order_by("next_attempt_at").first()
    late = now - oldest.next_attempt_at if oldest and oldest.next_attempt_at else timedelta()
    if late > LATE:
        waiting = Delivery.objects.filter(next_attempt_at__lte=now).count()
        yield (problem if late > MUCH_TOO_LATE else warning)(
            f"{waiting} are due, the oldest for {_minutes(late)}",
            "See workers, and integrations (a pause or a limit makes mail wait): manage.py deliveries --state queued",
        )
    yield from _undecided()
    if late <= LATE:
        yield ok("none is late")


def _undecided() -> Iterator[Finding]:
    held = Delivery.objects.filter(state=Delivery.State.HELD).count()
    unknown = Delivery.objects.filter(state=Delivery.State.UNKNOWN).count()
    if held:
        yield warning(
            f"{held} held: a relay may have taken them",
            "Decide in Deliveries, State held: send again, cancel, or consider delivered. At their deadline they fail.",
        )
    if unknown:
        yield warning(f"{unknown} with an unknown outcome", "Nothing: they are sent once more, by themselves.")


def look_at_runs() -> Iterator[Finding]:
    now = clock.now()
    oldest = Run.objects.filter(status=Run.Status.QUEUED, due_at__lte=now).order_by("due_at").first()
    late = now - oldest.due_at if oldest else timedelta()
    if late > LATE:
        yield (problem if late > MUCH_TOO_LATE else warning)(
            f"one is due for {_minutes(late)}", "See workers and beat."
        )
    else:
        yield ok("none is late")


def _minutes(late: timedelta) -> str:
    return f"{int(late.total_seconds() // 60)} minutes"


def look_at_outbox() -> Iterator[Finding]:
    """Nothing is ever deleted there by rootmail."""
    try:
        found = default_settings(settings.DEFAULT_SENDER_URL)
    except ValueError:
        found = None  # the default sender's check says so
    folder = found.folder if isinstance(found, FileSettings) else settings.ROOTMAIL_VAR / "outbox"
    sizes = [path.stat().st_size for path in folder.glob("*.eml")] if folder.is_dir() else []
    said = f"{len(sizes)} mails, {sum(sizes) / 1024**2:.0f} MB"
    if sum(sizes) > LARGE_OUTBOX:
        yield warning(said, f"Delete what nobody needs in {folder}: rootmail never does.")
    else:
        yield ok(said)


MAIL = Area(
    "Mail",
    (
        Check("default sender", look_at_default_sender),
        Check("encrypted values", look_at_encrypted_values, needs=READY, seconds=60),
        Check("integrations", look_at_integrations, needs=READY),
        Check("runs", look_at_runs, needs=READY),
        Check("deliveries", look_at_deliveries, needs=READY, seconds=15),
        Check("outbox", look_at_outbox, seconds=15),
    ),
)
