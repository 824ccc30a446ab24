"""What SendGrid tells of a mail after it has accepted it: the signed POSTs of its Event Webhook. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from .base import storable

LONGEST_ID = 100  # as SendGrid documents it
LONGEST_REASON = 1000
LATEST = 4_102_444_800  # the year 2100: what lies beyond is no time of an event


class Kind(StrEnum):
    """What happened to a mail for one recipient."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    DROPPED = "dropped"
    BLOCKED = "blocked"
    BOUNCE = "bounce"
    SPAM_REPORT = "spam_report"


EVENTS = {
    "processed": Kind.PROCESSED,
    "deferred": Kind.DEFERRED,
    "delivered": Kind.DELIVERED,
    "dropped": Kind.DROPPED,
    "bounce": Kind.BOUNCE,
    "spamreport": Kind.SPAM_REPORT,
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One event about one recipient. `delivery` is what we had written on the mail, `message_id` SendGrid's number."""

    event_id: str
    kind: Kind
    at: datetime
    address: str
    delivery: str = ""
    message_id: str = ""
    reason: str = ""


def public_key(text: str) -> ec.EllipticCurvePublicKey:
    """Read a verification key as SendGrid shows it; ValueError where it is none."""
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except UnsupportedAlgorithm as error:
        raise ValueError("a key of an unknown kind") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a key of the curve P-256")
    return key


def genuine(body: bytes, *, signature: str, timestamp: str, key: str) -> bool:
    """Tell whether the owner of the key signed this timestamp and these very bytes.

    How long ago does not matter: SendGrid tries again for a day, and events are told apart by their ids.
    """
    try:
        signed = base64.b64decode(signature, validate=True)
        public_key(key).verify(signed, timestamp.encode() + body, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def notices(body: bytes) -> list[Notice]:
    """Return what a POST tells of, without what we do not know; ValueError where it is no JSON array."""
    try:
        events = json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(events, list):
        raise ValueError("not an array")
    return list(_known(events))


def _known(events: list[Any]) -> Iterator[Notice]:
    for event in events:
        notice = _notice(event) if isinstance(event, dict) else None
        if notice:
            yield notice


def _notice(event: dict[str, Any]) -> Notice | None:
    """Return one event; None where it is of no interest, or lacks what it would be known by."""
    event_id, address, kind, at = _text(event, "sg_event_id"), _text(event, "email"), _kind(event), _time(event)
    if kind is None or at is None or not address or not 0 < len(event_id) <= LONGEST_ID:
        return None
    return Notice(
        event_id,
        kind,
        at,
        address=address,
        delivery=_text(event, "rootmail_delivery"),
        message_id=_text(event, "sg_message_id").partition(".")[0],
        reason=_reason(event),
    )


def _kind(event: dict[str, Any]) -> Kind | None:
    kind = EVENTS.get(_text(event, "event"))
    # Only what SendGrid itself calls a bounce speaks against the address: a blocked mail was refused for other reasons.
    return Kind.BLOCKED if kind is Kind.BOUNCE and _text(event, "type") != "bounce" else kind


def _time(event: dict[str, Any]) -> datetime | None:
    seconds = event.get("timestamp")
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds < LATEST:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC)


def _reason(event: dict[str, Any]) -> str:
    status, words = _text(event, "status"), _text(event, "reason") or _text(event, "response")
    return (words if status in words else f"{status} {words}".strip())[:LONGEST_REASON]


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    return storable(value).strip() if isinstance(value, str) else ""
