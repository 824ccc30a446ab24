"""The outcome of nearly every mail: accepted at once for everybody, the only mail of its run.

`outcomes` could write it, too, and writes every other one; here it costs one statement on PostgreSQL, and four short
ones on SQLite. A test compares the rows that both leave behind.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import connection, models, transaction

from integrations import clock
from integrations.transports.base import Receipt

from .models import Attempt, Delivery, Recipient
from .stubborn import stubbornly

logger = logging.getLogger(__name__)

MAIL = """
UPDATE workflows_delivery SET state = 'accepted', reason = '', provider = %(provider)s, provider_id = %(provider_id)s,
    sent_from = %(sent_from)s, accepted_at = %(at)s, next_attempt_at = NULL, tries = tries + 1, lease = NULL,
    lease_expires_at = NULL
WHERE id = %(id)s AND lease = %(lease)s
"""
ATTEMPT = """
INSERT INTO workflows_attempt (delivery_id, at, provider, stage, outcome, code, enhanced_code, reply, tls, milliseconds,
    transcript)
SELECT id, %(at)s, %(provider)s, 'data', 'accepted', %(code)s, %(enhanced_code)s, %(reply)s, %(tls)s, %(milliseconds)s,
    %(transcript)s FROM {mail}
"""
RECIPIENTS = """
UPDATE workflows_recipient SET state = 'accepted', code = %(code)s, enhanced_code = %(enhanced_code)s, reply = %(reply)s
WHERE delivery_id IN (SELECT id FROM {mail})
"""
RUN = """
UPDATE workflows_run SET status = 'completed', status_message = '', finished_at = %(at)s
WHERE status = 'started' AND id IN (SELECT run_id FROM {mail})
"""
# A statement that changes data sees nothing of what the others of its WITH do, but what they return.
AT_ONCE = "WITH mail AS ({mail}), attempt AS ({attempt}), recipients AS ({recipients}), run AS ({run}) {answer}".format(
    mail=f"{MAIL} RETURNING id, run_id",
    attempt=ATTEMPT.format(mail="mail"),
    recipients=RECIPIENTS.format(mail="mail"),
    run=RUN.format(mail="mail"),
    answer="SELECT count(*) FROM mail",
)
AFTERWARDS = [part.format(mail="workflows_delivery WHERE id = %(id)s") for part in (ATTEMPT, RECIPIENTS, RUN)]


def is_plain(delivery: Delivery, receipt: Receipt) -> bool:
    """Say whether the relay took the mail for everybody, and nothing else was known of anybody before."""
    return not receipt.refused and all(row.state == Recipient.State.QUEUED for row in delivery.recipients.all())


def record(delivery: Delivery, receipt: Receipt) -> bool:
    """Record a plain mail's acceptance, and its run's end; False where the lease was lost: then nothing is written."""
    write = partial(_write, _values(delivery, receipt))
    ours = stubbornly(write, what=f"delivery {delivery.pk}: its outcome")
    if ours:
        logger.info("delivery %s: accepted through %s", delivery.pk, receipt.provider)
    else:
        logger.warning("delivery %s: the lease was lost, nothing is recorded", delivery.pk)
    return ours


def _values(delivery: Delivery, receipt: Receipt) -> dict[str, Any]:
    return {
        "id": _stored(Delivery, "id", delivery.pk),
        "lease": _stored(Delivery, "lease", delivery.lease),
        "at": _stored(Attempt, "at", clock.now()),
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


def _stored(model: type[models.Model], name: str, value: Any) -> Any:
    return model._meta.get_field(name).get_db_prep_save(value, connection)  # type: ignore[union-attr]


def _write(values: dict[str, Any]) -> bool:
    """Write all of it or, where the lease is gone, nothing."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(AT_ONCE, values)
            return bool(cursor.fetchone()[0])
        with transaction.atomic():
            cursor.execute(MAIL, values)
            if not cursor.rowcount:
                return False
            for statement in AFTERWARDS:
                cursor.execute(statement, values)
    return True
