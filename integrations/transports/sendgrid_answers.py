"""Pure: what an answer of SendGrid's v3 API means."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from .base import Scope, Stage

LONGEST_WAIT = 3600  # a clock that is wrong, theirs or ours, must not stop mail for days
BLOCKED_WAIT = 300  # a mail sent earlier would be one more bad request
CREDITS_WAIT = 600
LONGEST_WORDS = 1000  # they are stored for every recipient


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read as far as we need it."""

    status: int
    headers: httpx.Headers
    body: bytes
    tls: str

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Return the error documents; front ends answer HTML, which has none."""
        document = self.document
        rows = document.get("errors") if isinstance(document, dict) else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    @property
    def document(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def words(self) -> str:
        texts = [_with_field(_message(row), field=row.get("field")) for row in self.errors]
        said = "; ".join(text for text in texts if text)[: 10 * LONGEST_WORDS]
        return said or httpx.codes.get_reason_phrase(self.status)


def _message(row: Mapping[str, Any]) -> str:
    return str(row.get("message") or "")[:LONGEST_WORDS]


def _with_field(message: str, *, field: object) -> str:
    return f"{message} (field {field})" if field else message


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whose fault a refusal is, whether another try can help, what to do, and how long to wait where nothing says."""

    scope: Scope
    permanent: bool = False
    advice: str = ""
    wait: int | None = None
    stage: Stage = Stage.HTTP


_MESSAGE = Verdict(Scope.MESSAGE, permanent=True)
_SENDER = Verdict(
    Scope.MESSAGE, permanent=True, advice="Verify the sender or its domain at SendGrid, or send from another."
)
_KEY = Verdict(
    Scope.PROVIDER,
    advice="Check the API key: it must be valid and may send mail ('Mail Send').",
    stage=Stage.AUTH,
)
_MAY_NOT = Verdict(
    Scope.PROVIDER,
    advice="Check the API key's permission 'Mail Send', and at SendGrid whether the account is under review.",
    stage=Stage.AUTH,
)
_CREDITS = Verdict(Scope.PROVIDER, advice="The plan is used up: wait for its reset, or raise it.", wait=CREDITS_WAIT)
_BLOCKED = Verdict(Scope.PROVIDER, advice="Too many bad requests came before: wait some minutes.", wait=BLOCKED_WAIT)
_THEIRS = Verdict(Scope.PROVIDER)
_ELSEWHERE = Verdict(Scope.PROVIDER, advice="Check the API address.")

# Read from the top, the first row that fits decides. A status alone does not tell: 401 and 403 mean several
# things, so the words count (looked for in message and field, in small letters).
VERDICTS: tuple[tuple[int, str, Verdict], ...] = (
    (400, "", _MESSAGE),
    (401, "maximum credits exceeded", _CREDITS),
    (401, "not authorized to send mail", _MAY_NOT),
    (401, "", _KEY),
    (403, "temporarily blocked", _BLOCKED),
    (403, "from address", _SENDER),
    (403, "sender identity", _SENDER),
    (403, "(field from", _SENDER),
    (403, "", _KEY),
    (408, "", _THEIRS),
    (413, "", Verdict(Scope.MESSAGE, permanent=True, advice="The mail is too large.")),
    (422, "", _MESSAGE),
    (429, "", _THEIRS),
)


def verdict(answer: Answer) -> Verdict:
    """Say what a refusal means."""
    words = answer.words.lower()
    for status, pattern, found in VERDICTS:
        if status == answer.status and pattern in words:
            return found
    return _THEIRS if answer.status >= 500 else _ELSEWHERE


def stated_seconds(headers: httpx.Headers, *, now: float) -> int | None:
    """Return how long SendGrid asks us to wait, within reason."""
    after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if after.isdecimal() and len(after) < 20:
        return min(int(after), LONGEST_WAIT)
    if reset.isdecimal() and len(reset) < 20 and headers.get("X-RateLimit-Remaining", "0") == "0":
        return min(max(int(reset) - int(now), 1), LONGEST_WAIT)
    return None


_OF_A_PERSON = re.compile(r"personalizations\.(\d{1,4})\.(to|cc|bcc)(?:\.(\d{1,4})(?:\.email)?)?")


def blamed(answer: Answer, *, document: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with whom, where a 400 is about addresses alone; otherwise nothing.

    The request is refused as a whole for the sake of one of them: without that one the others get their mail.
    """
    found: dict[str, str] = {}
    for row in answer.errors if answer.status == 400 else ():
        address = _person_at(str(row.get("field") or ""), document=document)
        if address is None:
            return {}
        found[address] = _message(row)
    return found


def _person_at(field: str, *, document: Mapping[str, Any]) -> str | None:
    match = _OF_A_PERSON.fullmatch(field)
    if not match:
        return None
    groups = document["personalizations"]
    people = groups[int(match[1])].get(match[2], []) if int(match[1]) < len(groups) else []
    place = int(match[3]) if match[3] else 0
    if place >= len(people) or (not match[3] and len(people) > 1):
        return None
    return str(people[place]["email"])
