"""To whom a mail goes at the moment in which it is handed over: not to who has it, nor to who is suppressed."""

from __future__ import annotations

from collections.abc import Mapping

from . import suppression
from .models import Delivery, Recipient
from .recipients import canonical
from .told_models import Suppression


def spare_suppressed(delivery: Delivery, found: Mapping[str, Suppression]) -> bool:
    """Mark the recipients that nothing is sent to; whoever records the outcome writes it. Returns whether any is left.

    `found` holds suppressions in force by `canonical` address, of these recipients at least.

    Test mails and account mails are no deliveries, so they reach a suppressed address, too.
    """
    due = [row for row in delivery.people if row.state in Recipient.OPEN]
    for row in due if found else ():
        reason = found.get(canonical(row.address))
        if reason:
            row.state, row.code, row.enhanced_code = Recipient.State.SUPPRESSED, None, ""
            row.reply = suppression.in_words(reason)
    return any(row.state in Recipient.OPEN for row in due)
