"""What an endpoint shows of the last POSTs: never a header, and no value that looks like a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import F

from integrations import clock

from . import events
from .webhook_models import WebhookEndpoint, WebhookReceipt

if TYPE_CHECKING:
    from .intake import Answer, Made, Refused

KEPT = 50  # of each endpoint
MOST = 16_384  # characters of a body
BEHIND = 4096  # bytes behind them: a secret at the end is seen whole, and left out
VEIL = "(not kept)"
_AT_ONCE = timedelta(minutes=5)
_SECRET = re.compile(r"(?i)pass(word|wd|phrase)|secret|token|api_?-?key|authorization|credential|cookie|signature")
_SECRET_TEXT = re.compile(rf'(?i)("[^"]*(?:{_SECRET.pattern[4:]})[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"?')


def record(endpoint: WebhookEndpoint, answer: Answer, *, body: bytes) -> None:
    """Note a POST that was taken."""
    _save(
        endpoint,
        WebhookReceipt(
            endpoint=endpoint,
            at=clock.now(),
            outcome=answer.outcome,
            status=answer.status,
            reason=answer.reason,
            made=[
                {"name": one.name, "event": _event_of(one, answer=answer), "repeat": not one.is_new}
                for one in answer.made
            ],
            body=readable(body, secrets=endpoint.secrets),
        ),
    )


def record_refusal(endpoint: WebhookEndpoint, error: Refused, *, body: bytes) -> None:
    """Note a POST that was refused; the same refusal again within minutes is counted, not listed.

    It is so whatever came in between: strangers who are refused for several reasons by turns cannot fill the list.
    """
    now = clock.now()
    told = {"outcome": WebhookReceipt.Outcome.REFUSED, "status": error.status, "reason": error.text}
    same = endpoint.receipts.filter(**told, at__gt=now - _AT_ONCE).order_by("-pk").first()
    if same:
        WebhookReceipt.objects.filter(pk=same.pk).update(times=F("times") + 1, at=now)
        return
    text = readable(body, secrets=endpoint.secrets)
    _save(endpoint, WebhookReceipt(endpoint=endpoint, at=now, body=text, **told))


def _save(endpoint: WebhookEndpoint, receipt: WebhookReceipt) -> None:
    receipt.save(force_insert=True)
    old = endpoint.receipts.order_by("-pk").values_list("pk", flat=True)[KEPT : KEPT + 1].first()
    if old:
        endpoint.receipts.filter(pk__lte=old).delete()


def _event_of(made: Made, *, answer: Answer) -> str | None:
    if made.triggered is None or answer.outcome == WebhookReceipt.Outcome.TEST:
        return None  # the event of a test was taken back
    return str(made.triggered.event.pk)


def readable(body: bytes, *, secrets: Iterable[str]) -> str:
    """Return the beginning of a body for people, without what looks like a secret or is one of these."""
    text = _without_secrets(body)
    whole = len(text) <= MOST
    for spelling in (one for secret in secrets for one in _spellings(secret)):
        text = text.replace(spelling, VEIL)
    return text if whole else f"{text[:MOST]}\n… cut here, of {len(body)} bytes."


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it stands in JSON, with and without letters beyond ASCII, and as it is."""
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield secret


def _without_secrets(body: bytes) -> str:
    try:
        return events.beginning(_veiled(events.read_json(body)), most=MOST)
    except (events.EventError, RecursionError):
        text: str = events.storable(body[: MOST + BEHIND].decode("utf-8", errors="replace"))
        return _SECRET_TEXT.sub(rf'\1"{VEIL}"', text)


def _veiled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: VEIL if _SECRET.search(key) and item else _veiled(item) for key, item in value.items()}
    return [_veiled(item) for item in value] if isinstance(value, list) else value
