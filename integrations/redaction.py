"""What servers and transports say is stored and shown; the encrypted columns' values are taken out of it first.

The connection check is for the admin who typed the address in, and is not stored: it keeps the names.
"""

from __future__ import annotations

import re
from dataclasses import replace

from .transports.base import Receipt, Reply, Stage, TransportError


def redact_error(error: TransportError, *, host: str, user_name: str) -> None:
    """Take the relay's address, and at AUTH the username, out of an error's words."""
    secret = user_name if error.stage == Stage.AUTH else ""
    error.text = _without(error.text, host=host, user_name=secret)
    error.args = (error.text,)
    error.reply = _reply(error.reply, host=host, user_name=secret) if error.reply else None
    error.refused = {address: _reply(reply, host=host) for address, reply in error.refused.items()}


def redact_receipt(receipt: Receipt, *, host: str) -> Receipt:
    """Return the receipt without the relay's address."""
    refused = {address: _reply(reply, host=host) for address, reply in receipt.refused.items()}
    return replace(receipt, reply=_reply(receipt.reply, host=host), refused=refused)


def _reply(reply: Reply, *, host: str, user_name: str = "") -> Reply:
    return replace(reply, text=_without(reply.text, host=host, user_name=user_name))


def _without(text: str, *, host: str, user_name: str = "") -> str:
    for word, instead in ((host, "the relay"), (user_name, "the username")):
        if word:
            text = re.sub(rf"(?<![\w.-]){re.escape(word)}(?::\d+)?(?![\w-])", instead, text, flags=re.IGNORECASE)
    return text[:1].upper() + text[1:] if text.startswith("the relay") else text
