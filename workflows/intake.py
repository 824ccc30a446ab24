"""What becomes of what other systems post: proved, read, stored in one transaction, answered."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.db import transaction

from integrations import audit, clock

from . import endpoints, events, receipts, services
from .events import Incoming
from .ids import new_id
from .models import Event
from .occasions import laid_over
from .services import Triggered
from .webhook_models import WebhookEndpoint, WebhookKey, WebhookReceipt, WebhookSubject
from .webhooks import SENDERS, Foreign, Reading, Unreadable
from .webhooks.parts import instant
from .webhooks.signatures import refusal

Outcome = WebhookReceipt.Outcome
MINUTE = 60
LONGEST = 200  # characters of a key or a subject; a longer one is kept as its hash
MOST_EVENTS = 1000  # new ones of one POST: one transaction stores them, for which the others wait
LATE = timedelta(minutes=1)  # what was sent before an end, and held up, has come by then
GROUP = "let the sender tell less at once, or choose one event for each group."
TOLD_BEFORE = "All of it was told before."
TRIED = "A test from this page: nothing was stored, nothing is sent."


class Refused(Exception):
    """A POST of which nothing is stored; the text is for whoever looks after the sender."""

    def __init__(self, status: int, text: str, *, retry_after: int = 10, challenge: str = "") -> None:
        super().__init__(text)
        self.status, self.text, self.retry_after, self.challenge = status, text, retry_after, challenge


@dataclass(frozen=True, slots=True)
class Posted:
    """A POST as it came; `headers` by lower-case names."""

    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Made:
    """One event of a POST; `triggered` is None where it repeats what is known."""

    name: str
    triggered: Triggered | None = None

    @property
    def is_new(self) -> bool:
        return self.triggered is not None and not self.triggered.repeated

    def as_dict(self) -> dict[str, Any]:
        found = self.triggered.as_dict() if self.triggered else {}
        return {"event": self.name, "repeat": not self.is_new, **found}


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a POST that was taken."""

    outcome: str
    reason: str = ""
    made: Sequence[Made] = ()

    @property
    def status(self) -> int:
        return 202 if self.outcome == Outcome.STORED else 200

    def as_dict(self) -> dict[str, Any]:
        return {"outcome": self.outcome, "reason": self.reason, "events": [one.as_dict() for one in self.made]}


def receive(address: str, posted: Posted) -> Answer:
    """Take a POST; all of its events are committed together when this returns. Raises Refused."""
    endpoint = _in_service(address)
    try:
        _demand_proof(endpoint, posted)
        reading = _read(endpoint, posted)
        with transaction.atomic():
            answer = _answer(endpoint, reading)
            receipts.record(endpoint, answer, body=posted.body)
    except Refused as error:
        if error.status != HTTPStatus.NOT_FOUND:  # deleted just now: there is nobody to note it for
            receipts.record_refusal(endpoint, error, body=b"" if error.status == 401 else posted.body)
        raise
    return answer


def note_unread(address: str, refused: Refused) -> None:
    """Note a POST that is refused before its body is read, thus without proof, where its address is in service."""
    with contextlib.suppress(Refused):
        receipts.record_refusal(_in_service(address), refused, body=b"")


def rehearse(endpoint: WebhookEndpoint, posted: Posted, *, actor: str) -> Answer:
    """Do everything that `receive` does but ask for proof, and take it back. Raises Refused."""
    audit.record("webhook tested", actor=actor, name=endpoint.name, kind=endpoint.kind, scheme=endpoint.scheme)
    reading = _read(endpoint, posted)
    with transaction.atomic():
        done = _answer(endpoint, reading)
        transaction.set_rollback(True)
    answer = Answer(Outcome.TEST, " ".join(text for text in (done.reason, TRIED) if text), done.made)
    receipts.record(endpoint, answer, body=posted.body)
    return answer


def _in_service(address: str) -> WebhookEndpoint:
    endpoint = endpoints.find(address)
    if endpoint is None:
        raise Refused(404, "There is no such address. Copy it from Configuration, Webhooks.")
    if endpoint.retired_at:
        raise Refused(410, "This address is retired. Take it out of the sender's settings.")
    return endpoint


def _demand_proof(endpoint: WebhookEndpoint, posted: Posted) -> None:
    reason = refusal(
        endpoint.scheme,
        headers=posted.headers,
        body=posted.body,
        secrets=endpoint.secrets,
        options=endpoint.options,
        now=clock.now().timestamp(),
    )
    if reason:
        raise Refused(401, reason, challenge='Basic realm="rootmail"' if endpoint.scheme == "basic" else "Bearer")


def _read(endpoint: WebhookEndpoint, posted: Posted) -> Reading:
    sender = SENDERS[endpoint.kind]
    try:
        body = events.read_json(posted.body) if posted.body or not sender.bodiless else None
        return sender.read(posted.headers, body, endpoint.options)
    except Unreadable as error:
        raise Refused(error.status, str(error)) from error
    except events.EventError as error:
        raise Refused(400, str(error)) from error


def _answer(endpoint: WebhookEndpoint, reading: Reading) -> Answer:
    if not reading.events:
        return Answer(Outcome.IGNORED, reading.ignored)
    made = _store(endpoint, reading.events)
    if any(one.is_new for one in made):
        return Answer(Outcome.STORED, reading.ignored, made)
    return Answer(Outcome.DUPLICATE, TOLD_BEFORE, made)


def _store(endpoint: WebhookEndpoint, told: Sequence[Foreign]) -> list[Made]:
    now = clock.now()
    events_before = _take_room(endpoint, now=now)
    ledger = _Ledger(endpoint, told)
    try:
        news = {number: incoming for number, one in enumerate(told) if (incoming := ledger.enter(one, now=now))}
    except events.EventError as error:
        raise Refused(400, str(error)) from error
    if len(news) > MOST_EVENTS:
        raise Refused(413, f"This POST holds {len(news)} new events, and there may be {MOST_EVENTS}: {GROUP}")
    ledger.save()
    triggered = dict(zip(news, services.trigger_all(list(news.values())), strict=True)) if news else {}
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(events=events_before + len(news))
    return [
        Made(news[number].name if number in news else one.name, triggered.get(number))
        for number, one in enumerate(told)
    ]


def _take_room(endpoint: WebhookEndpoint, *, now: datetime) -> int:
    """Count this POST and return the events of this minute so far; Refused where the endpoint has had its share.

    It holds the endpoint's row until the end of the transaction: one POST at a time reads and writes its states.
    """
    stored = WebhookEndpoint.objects.select_for_update().only("minute", "posts", "events").filter(pk=endpoint.pk)
    row = stored.first()
    if row is None:
        raise Refused(404, "This address was deleted just now.")
    minute = now.replace(second=0, microsecond=0)
    if row.minute != minute:
        row.posts = row.events = 0
    if row.posts >= endpoint.posts_per_minute or row.events >= endpoint.events_per_minute:
        raise Refused(503, "This address takes no more in this minute: send it again.", retry_after=MINUTE - now.second)
    stored.update(minute=minute, posts=row.posts + 1)
    return row.events


class _Ledger:
    """What an endpoint has been told before, for the events of one POST."""

    def __init__(self, endpoint: WebhookEndpoint, told: Sequence[Foreign]) -> None:
        self._endpoint = endpoint
        keys = [_short(one.key) for one in told]
        subjects = [_short(one.subject) for one in told if one.subject]
        self._known = set(endpoint.keys.filter(key__in=keys).values_list("key", flat=True))
        # Of what was told so long ago that its key is forgotten: told again, it is something new.
        made = [self._event_key(one) for one in told]
        self._used = set(Event.objects.filter(key__in=made).values_list("key", flat=True))
        self._subjects = {row.subject: row for row in endpoint.subjects.filter(subject__in=subjects)}
        self._new_keys: list[WebhookKey] = []

    def enter(self, told: Foreign, *, now: datetime) -> Incoming | None:
        """Note what is told; return the event that it makes, or None where it is known. Raises EventError."""
        key, row = _short(told.key), self._subjects.get(_short(told.subject))
        told = _of_occurrence(told, row, now=now)
        is_new_key = key not in self._known
        overtaken = row is not None and told.ordered and _is_older(told.data, than=row.data)
        repeat = self._is_repeat(told, row, overtaken=overtaken, now=now)
        name = told.first if told.first and (row is None or row.ended or overtaken) else told.name
        data = laid_over(row.data, told.data) if row and told.thin else told.data
        if told.subject:
            confirmed = told.ordered and row is not None and row.state == _short(told.state)
            self._note(told, now=now, changed=not overtaken and (confirmed or not repeat))
        if is_new_key:
            self._known.add(key)
            self._new_keys.append(WebhookKey(endpoint=self._endpoint, key=key))
        return None if repeat else events.make_event(name, data, key=self._free_key(told))

    def _is_repeat(self, told: Foreign, row: WebhookSubject | None, *, overtaken: bool, now: datetime) -> bool:
        is_known = _short(told.key) in self._known
        if row is None:
            return is_known
        if overtaken:  # by later news: of what is over, and of a state of before, nobody needs to hear
            return is_known or row.ended or not told.first
        same_state = bool(told.state and row.state == _short(told.state))
        return same_state or (is_known and not (told.first and _is_over(row, now=now)))

    def _event_key(self, told: Foreign) -> str:
        return _short(f"webhook:{self._endpoint.pk}:{told.key}")

    def _free_key(self, told: Foreign) -> str:
        key = self._event_key(told)
        return _short(f"{key}:{new_id()}") if key in self._used else key

    def _note(self, told: Foreign, *, now: datetime, changed: bool) -> None:
        subject = _short(told.subject)
        new = WebhookSubject(endpoint=self._endpoint, subject=subject)
        row = self._subjects.setdefault(subject, new)
        row.seen_at = now
        if changed:
            row.state = _short(told.state) or row.state
            row.data = row.data if told.thin else told.data
            row.ended = told.last

    def save(self) -> None:
        WebhookKey.objects.bulk_create(self._new_keys)
        WebhookSubject.objects.bulk_create(
            self._subjects.values(),
            update_conflicts=True,
            unique_fields=["endpoint", "subject"],
            update_fields=["state", "data", "ended", "seen_at"],
        )


def _of_occurrence(told: Foreign, row: WebhookSubject | None, *, now: datetime) -> Foreign:
    """Return what is told of an alert under the id with which it began, and under another one where it begins anew.

    So its end is the end of what began, and nothing but that: runs are about what has that id.
    """
    alert, before = told.data.get("alert"), row.data.get("alert") if row else None
    if row is None or not isinstance(alert, dict) or not isinstance(before, dict) or not before.get("id"):
        return told
    identity = alert.get("id")
    if not (row.ended and told.first):
        identity = before["id"]
    elif str(before["id"]).startswith(str(identity)):  # it fires again with the start of before
        identity = f"{identity}-{now:%Y-%m-%dT%H:%M:%S.%f}Z"
    return replace(told, data={**told.data, "alert": {**alert, "id": identity}})


def _is_over(row: WebhookSubject, *, now: datetime) -> bool:
    """Say whether a subject ended so long ago that what begins it, however like the first time, is no late repeat."""
    end = _time_in(row.data, "ended_at")
    return row.ended and end is not None and now - end > LATE


def _is_older(data: Mapping[str, Any], *, than: Mapping[str, Any]) -> bool:
    told, known = _time_in(data, "updated_at"), _time_in(than, "updated_at")
    return told is not None and known is not None and told < known


def _time_in(data: Mapping[str, Any], name: str) -> datetime | None:
    alert = data.get("alert")
    return instant(alert.get(name)) if isinstance(alert, dict) else None


def _short(text: str) -> str:
    """Return a text that fits into its column and can be stored."""
    text = events.storable(text)
    return text if len(text) <= LONGEST else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
