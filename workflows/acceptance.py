"""The outcome of nearly every mail: accepted at once for everybody, the only mail of its run.

It is written in two steps. Its attempt is noted as soon as the relay has answered: one short statement, and the truth
from then on. What follows from it for mail, recipients and run is settled for many mails together, by whoever gives
up the lease under which they were noted, or takes it over from the dead.

`outcomes` could write it, too, and writes every other one. A test compares the rows that both leave behind.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from functools import cache, partial
from typing import Any

from django.db import OperationalError, connection

from integrations import clock
from integrations.transports.base import Receipt

from . import starts
from .models import Attempt, Delivery, Recipient, Run
from .plans import among, keys_of
from .reading import stored
from .stubborn import AWAY, stubbornly

logger = logging.getLogger(__name__)

# A second time it does nothing. PostgreSQL locks the mail, so that a sweeper takes it over before or after that.
NOTE = """
INSERT INTO workflows_attempt (delivery_id, at, provider, stage, outcome, code, enhanced_code, reply, tls, milliseconds,
    transcript, lease, sent_from, provider_id)
SELECT id, %(at)s, %(provider)s, 'data', 'accepted', %(code)s, %(enhanced_code)s, %(reply)s, %(tls)s, %(milliseconds)s,
    %(transcript)s, lease, %(sent_from)s, %(provider_id)s
FROM workflows_delivery WHERE id = %(id)s AND lease = %(lease)s AND {quickly}
LOCK ON CONFLICT DO NOTHING
"""
Note = dict[str, Any]  # the values of that statement
HELD = """
SELECT workflows_delivery.id, run_id, EXISTS (
    SELECT 1 FROM workflows_attempt AS noted
    WHERE noted.delivery_id = workflows_delivery.id AND noted.lease = %(noted_under)s
) FROM workflows_delivery WHERE lease = %(held_under)s ORDER BY id {lock}
"""
# As subselects and not by UPDATE .. FROM, which SQLite has known since 3.33 only.
MAILS = """
UPDATE workflows_delivery SET state = 'accepted', reason = '', next_attempt_at = NULL, tries = tries + 1, lease = NULL,
    lease_expires_at = NULL, (provider, provider_id, sent_from, accepted_at) = (
        SELECT noted.provider, noted.provider_id, noted.sent_from, noted.at FROM workflows_attempt AS noted
        WHERE noted.delivery_id = workflows_delivery.id AND noted.lease = %(noted_under)s
    )
WHERE lease = %(held_under)s AND id {among}
"""
RECIPIENTS = """
UPDATE workflows_recipient SET state = 'accepted', (code, enhanced_code, reply) = (
    SELECT noted.code, noted.enhanced_code, noted.reply FROM workflows_attempt AS noted
    WHERE noted.delivery_id = workflows_recipient.delivery_id AND noted.lease = %(noted_under)s
)
WHERE delivery_id {among}
"""
RUNS = """
UPDATE workflows_run SET status = 'completed', status_message = '', finished_at = %(now)s
WHERE id {among} AND status = 'started'
"""


class NotNoted(OperationalError):
    """A mail was accepted, and the database was away for longer than we wait: `noted` is what it has not heard."""

    def __init__(self, said: object, *, noted: Note) -> None:
        super().__init__(str(said))
        self.noted = noted


def is_plain(delivery: Delivery, receipt: Receipt) -> bool:
    """Say whether the relay took the mail for everybody, and nothing else was known of anybody before."""
    return not receipt.refused and all(row.state == Recipient.State.QUEUED for row in delivery.people)


def note(delivery: Delivery, receipt: Receipt) -> Note | None:
    """Note that a plain mail was accepted. Returns what is noted; None where the lease was lost, and nothing is.

    Raises NotNoted. The disk is waited for when it is settled; see `note_again`.
    """
    noted = _values(delivery, receipt)
    # What a crash of the database takes along is noticed later, unless the lease cannot tell of one (see `starts`).
    write = partial(_note, noted, wait=not starts.is_noticed(delivery.lease))
    try:
        ours = stubbornly(write, what=f"delivery {delivery.pk}: its outcome")
    except AWAY as error:
        raise NotNoted(error, noted=noted) from error
    if ours:
        logger.info("delivery %s: accepted through %s", delivery.pk, receipt.provider)
        return noted
    logger.warning("delivery %s: the lease was lost, nothing is recorded", delivery.pk)
    return None


def note_again(notes: Iterable[Note]) -> None:
    """Note what the database has not heard or a crash may have undone, within the transaction that settles it."""
    for noted in notes:
        _note(noted, wait=True)


def _values(delivery: Delivery, receipt: Receipt) -> Note:
    return {
        "id": stored(Delivery, "id", delivery.pk),
        "lease": stored(Delivery, "lease", delivery.lease),
        "at": stored(Attempt, "at", clock.now()),
        "provider": receipt.provider,
        "provider_id": receipt.provider_id,
        "sent_from": receipt.sender,
        "code": receipt.reply.code,
        "enhanced_code": receipt.reply.enhanced,
        "reply": receipt.reply.text,
        "tls": receipt.tls,
        "milliseconds": receipt.milliseconds,
        "transcript": receipt.transcript,
    }


def _note(values: Note, *, wait: bool) -> bool:
    return bool(connection.write_alone(_how_to_note(), values, wait=wait)) or _is_noted(values)  # type: ignore[attr-defined]


@cache
def _how_to_note() -> str:
    return NOTE.replace("LOCK", "FOR NO KEY UPDATE" if connection.vendor == "postgresql" else "")


def _is_noted(values: Note) -> bool:
    """Say whether it was noted before, by a statement whose success was not heard."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM workflows_attempt WHERE delivery_id = %(id)s AND lease = %(lease)s", values)
        return cursor.fetchone() is not None


def settle(*, held_under: uuid.UUID, noted_under: uuid.UUID) -> int:
    """Finish the mails of a lease that were noted under it, or under the one before; return how many are left.

    Called within a transaction.
    """
    database: Any = connection
    leases = {"held_under": _lease(held_under), "noted_under": _lease(noted_under)}
    held = database.ask(HELD.format(lock="FOR UPDATE" if connection.vendor == "postgresql" else ""), leases)
    noted = {key: run for key, run, is_noted in held if is_noted}
    if noted:
        for statement in (MAILS, RECIPIENTS):
            database.write_alone(statement.format(among=among("keys")), leases | {"keys": keys_of(noted)}, wait=True)
        _end_runs(noted.values())
    return len(held) - len(noted)


def _lease(key: uuid.UUID) -> Any:
    return stored(Attempt, "lease", key)


def _end_runs(runs: Iterable[Any]) -> None:
    values = {"keys": keys_of(runs), "now": stored(Run, "finished_at", clock.now())}
    connection.write_alone(RUNS.format(among=among("keys")), values, wait=True)  # type: ignore[attr-defined]
