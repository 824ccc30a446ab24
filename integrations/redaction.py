"""What servers and transports say is stored and shown; the encrypted columns' values are taken out of it first.

The connection check is for the admin who typed the address in, and is not stored: it keeps the names.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

from .transports.base import Receipt, Reply, Scope, Stage, TransportError
from .transports.transcript import without
from .transports.veil import without_names

_BEGINS_MAIL = re.compile(r"\n(?:\* \d+ mails? later\n)?> MAIL ")


def redact_error(error: TransportError, *, host: str, user_name: str) -> None:
    """Take the relay's address out of an error's words; the username, too, at AUTH and in the reason of a pause.

    The reason stands on every page, in the mail to the admins, and for ever in the audit log.
    """
    secret = user_name if error.stage == Stage.AUTH or error.scope == Scope.PROVIDER else ""
    error.text = without_names(error.text, host=host, user_name=secret)
    error.args = (error.text,)
    error.reply = _reply(error.reply, host=host, user_name=secret) if error.reply else None
    error.refused = {address: _reply(reply, host=host) for address, reply in error.refused.items()}
    error.transcript = _transcript(error.transcript, host=host, user_name=user_name)


def redact_receipt(receipt: Receipt, *, host: str, user_name: str = "", **filled_in: Any) -> Receipt:
    """Return the receipt without the relay's address, its transcript without the username, some fields filled in."""
    return replace(
        receipt,
        reply=_reply(receipt.reply, host=host),
        refused={address: _reply(each, host=host) for address, each in receipt.refused.items()},
        transcript=_transcript(receipt.transcript, host=host, user_name=user_name),
        **filled_in,
    )


def _reply(reply: Reply, *, host: str, user_name: str = "") -> Reply:
    if not _is_named(reply.text, host, user_name) and not reply.text.startswith("the relay"):
        return reply  # nearly always
    return replace(reply, text=without_names(reply.text, host=host, user_name=user_name))


def _transcript(text: str, *, host: str, user_name: str) -> str:
    """Look once more, whichever transport wrote it; nearly always it has left nothing to do."""
    if not _is_named(text, host, user_name):
        return text
    found = _BEGINS_MAIL.search(text)
    begin = found.start() if found else len(text)
    opening, mail = _without(text[:begin], host=host, user_name=user_name), text[begin:]
    if not _is_named(mail, host, user_name):
        return opening + mail
    return opening + without(mail, lambda words: without_names(words, host=host, user_name=user_name))


@lru_cache(maxsize=256)  # the opening of a session stands before each of its mails
def _without(opening: str, *, host: str, user_name: str) -> str:
    return without(opening, lambda words: without_names(words, host=host, user_name=user_name))


def _is_named(text: str, *names: str) -> bool:
    folded = text.casefold()
    return any(name and name.rstrip(".").casefold() in folded for name in names)
