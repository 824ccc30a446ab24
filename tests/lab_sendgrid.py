"""SendGrid's stand-in as the way out of a lab."""

from __future__ import annotations

import json
from typing import Any

from tests.fake_relay import Accepted
from tests.fake_sendgrid import FakeSendGrid
from tests.lab import Lab
from tests.lab_invariants import Story

API_KEY = "SG.correct-horse-0815.and-another-one"


def connect(lab: Lab, fake: FakeSendGrid, *, proven: bool = True, **values: Any) -> None:
    given = {"api_key": API_KEY, "base_url": fake.base_url, "default_from": "Desk <desk@example.com>"}
    lab.ask("connect", kind="sendgrid", values=given | values, proven=proven)


def ledger(fake: FakeSendGrid, *, since: int = 0) -> list[Accepted]:
    """Return the mails that the stand-in took, as the invariants read them."""
    taken = zip(fake.ledger[since:], fake.taken_at[since:], strict=True)
    return [_accepted(document, at=at) for document, at in taken]


def _accepted(document: dict[str, Any], *, at: float) -> Accepted:
    groups = document["personalizations"]
    people = tuple(one["email"] for group in groups for kind in ("to", "cc", "bcc") for one in group.get(kind, []))
    body = json.dumps({name: value for name, value in document.items() if name != "personalizations"})
    content = f"Message-ID: {document['headers']['Message-ID']}\r\n\r\n{body}".encode()
    return Accepted(document["from"]["email"], people, content, tls=True, began=at, at=at)


def tried(delivery: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the provider and the outcome of each attempt."""
    return {(one["provider"], one["outcome"]) for one in delivery["attempts"]}


def settle(fake: FakeSendGrid) -> int:
    """Let the stand-in be willing again; return how many mails it has."""
    fake.state, fake.calls, fake.slow, fake.fault = "", None, 0.0, ""
    fake.faults.clear()
    return len(fake.ledger)


def assert_invariants(lab: Lab, fake: FakeSendGrid, *, since: int) -> Story:
    """Look at what must hold where every mail leaves through SendGrid."""
    story = lab.assert_invariants(ledger=ledger(fake, since=since), providers=("sendgrid",))
    # A number that is kept is the one of a copy that was taken, by which events will find the delivery.
    numbers = {one["provider_id"] for one in story.deliveries if one["state"] == "accepted"}
    assert "" not in numbers
    assert len(numbers) == sum(one["state"] == "accepted" for one in story.deliveries)
    return story
