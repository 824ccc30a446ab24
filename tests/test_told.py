"""What SendGrid tells after it has accepted a mail: signed, stored once, in any order, and what follows from it."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrations import feedback
from integrations.models import SendGridIntegration
from integrations.transports.sendgrid_events import Kind, Notice, genuine, notices
from tests.damage import lose_key_of
from tests.effort import examples
from tests.fake_sendgrid import FakeSendGrid
from tests.test_deliveries_command import told as command
from tests.test_delivery import TO, stored
from tests.test_interventions import at_once
from tests.test_search import made
from workflows import delivery, delivery_documents, leases, suppression, told
from workflows.ids import new_id
from workflows.models import Attempt, Delivery, Recipient, Run
from workflows.told_models import Suppression, Told

AT = 1_764_000_000
MOMENT = datetime.fromtimestamp(AT, tz=UTC)


class Signer:
    """SendGrid's side of the signature."""

    def __init__(self, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> None:
        self.private = ec.generate_private_key(curve())
        der = self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key = base64.b64encode(der).decode()

    def sign(self, body: bytes, *, timestamp: str = "1764000000") -> str:
        return base64.b64encode(self.private.sign(timestamp.encode() + body, ec.ECDSA(SHA256()))).decode()


SIGNER, OTHER, WRONG_CURVE = Signer(), Signer(), Signer(ec.SECP384R1)
SIGNATURE, TIMESTAMP = "X-Twilio-Email-Event-Webhook-Signature", "X-Twilio-Email-Event-Webhook-Timestamp"


def event(kind: str, row: Delivery | None = None, *, to: str = "a@example.org", at: int = AT, **values: Any) -> Any:
    found = {"email": to, "timestamp": at, "event": kind, "sg_event_id": f"{kind}-{to}-{at}"}
    return found | ({"rootmail_delivery": str(row.pk)} if row else {}) | values


def post(client: Client, *events: Any, signer: Signer = SIGNER, path: str = "/events/sendgrid") -> Any:
    body = json.dumps(events).encode()
    signed = {SIGNATURE: signer.sign(body), TIMESTAMP: "1764000000"}
    return client.post(path, body, content_type="application/json", headers=signed)


@pytest.fixture
def webhook(db: None) -> SendGridIntegration:
    """SendGrid with the verification key, disconnected: what it accepted before is told of all the same."""
    return SendGridIntegration.objects.create(event_key=SIGNER.key)


def accepted(*addresses: str, **values: Any) -> Delivery:
    """Store a mail that SendGrid has accepted."""
    own = {"state": "accepted", "provider": "sendgrid", "accepted_at": MOMENT}
    row = made("Hello", to=addresses[0] if addresses else "a@example.org", **own | values)
    Recipient.objects.bulk_create(Recipient(delivery=row, address=one, kind="to") for one in addresses[1:])
    row.recipients.update(state="accepted", code=202, reply="queued as x")
    return row


def kinds(row: Delivery) -> list[tuple[str, str]]:
    return list(Told.objects.filter(recipient__delivery=row).values_list("recipient__address", "kind"))


# --- the signature ------------------------------------------------------------------------------


def test_what_was_signed_with_the_key_is_genuine() -> None:
    body = b'[{"a": 1}]\r\n'
    assert genuine(body, signature=SIGNER.sign(body, timestamp="7"), timestamp="7", key=SIGNER.key)


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": b"[]\n"},
        {"timestamp": "8"},
        {"timestamp": ""},
        {"key": OTHER.key},
        {"key": WRONG_CURVE.key},
        {"key": "MFkw"},
        {"key": ""},
        {"signature": ""},
        {"signature": "not base64 ü"},
        {"signature": base64.b64encode(b"\x30\x06\x02\x01\x00\x02\x01\x00").decode()},
        {"signature": SIGNER.sign(b"", timestamp="7")},
    ],
)
def test_nothing_else_is(wrong: dict[str, Any]) -> None:
    right = {"body": b"[]", "signature": SIGNER.sign(b"[]", timestamp="7"), "timestamp": "7", "key": SIGNER.key}
    body = right.pop("body")
    assert genuine(body, **right)  # type: ignore[arg-type]
    assert not genuine(wrong.pop("body", body), **right | wrong)  # type: ignore[arg-type]


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        ({"event": "processed"}, Kind.PROCESSED, ""),
        ({"event": "deferred", "response": "450 busy", "attempt": "5"}, Kind.DEFERRED, "450 busy"),
        ({"event": "delivered", "response": "250 OK"}, Kind.DELIVERED, "250 OK"),
        ({"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "no user"}, Kind.BOUNCE, "5.1.1 no user"),
        ({"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 x"}, Kind.BOUNCE, "550 5.1.1 x"),
        ({"event": "bounce", "type": "blocked", "reason": "spam"}, Kind.BLOCKED, "spam"),
        ({"event": "bounce"}, Kind.BLOCKED, ""),
        ({"event": "dropped", "reason": "Bounced Address"}, Kind.DROPPED, "Bounced Address"),
        ({"event": "spamreport"}, Kind.SPAM_REPORT, ""),
        ({"event": "dropped", "reason": "a\x00b\u202e" + "x" * 2000}, Kind.DROPPED, "ab" + "x" * 998),
    ],
)
def test_reads_each_kind_of_event(values: dict[str, Any], kind: Kind, reason: str) -> None:
    read = event("", sg_event_id="e1", sg_message_id="abc.filter0001.1-2", rootmail_delivery="7") | values
    assert notices(json.dumps([read]).encode()) == [
        Notice("e1", kind, MOMENT, address="a@example.org", delivery="7", message_id="abc", reason=reason)
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"event": "open"},
        {"event": "group_unsubscribe"},
        {"event": ["bounce"]},
        {"event": None},
        {"email": ""},
        {"email": 7},
        {"sg_event_id": ""},
        {"sg_event_id": "x" * 101},
        {"sg_event_id": "\x00"},
        {"timestamp": "1764000000"},
        {"timestamp": True},
        {"timestamp": -1},
        {"timestamp": 1e9},
        {"timestamp": 10**30},
        {"timestamp": None},
    ],
)
def test_passes_over_what_it_does_not_know(values: dict[str, Any]) -> None:
    body = json.dumps([event("bounce") | values, 7, None, [], event("delivered")]).encode()
    assert [one.kind for one in notices(body)] == ["delivered"]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"[", b"\xff", b"[" * 100_000, b'"x"', b"[" + b"9" * 5000 + b"]"]
)
def test_refuses_what_is_no_array(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        notices(body)


# --- the entrance -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/events/sendgrid", "/events/sendgrid/"])
def test_takes_signed_events_with_and_without_the_slash(webhook: SendGridIntegration, path: str) -> None:
    row = accepted()
    client = Client(enforce_csrf_checks=True)
    answer = post(client, event("delivered", row, response="250 OK"), path=path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert kinds(row) == [("a@example.org", "delivered")]
    webhook.refresh_from_db()
    assert webhook.event_heard_at is not None


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, SIGNER.key),
        ({SIGNATURE: SIGNER.sign(b"[]")}, SIGNER.key),
        ({SIGNATURE: OTHER.sign(b"[]"), TIMESTAMP: "1764000000"}, SIGNER.key),
        ({SIGNATURE: SIGNER.sign(b"[]"), TIMESTAMP: "1764000000"}, ""),
    ],
)
def test_refuses_what_is_not_signed_and_stores_nothing(
    client: Client, webhook: SendGridIntegration, headers: dict[str, str], key: str
) -> None:
    SendGridIntegration.objects.update(event_key=key)
    answer = client.post("/events/sendgrid", b"[]", content_type="application/json", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["title"] == "Forbidden"
    webhook.refresh_from_db()
    assert webhook.event_heard_at is None


def test_what_is_too_large_or_no_post_is_refused(client: Client, webhook: SendGridIntegration) -> None:
    assert post(client, "x" * 1024 * 1024).status_code == 413
    assert client.get("/events/sendgrid").status_code == 405


def test_plain_http_is_refused_where_the_site_has_https_and_never_redirected(
    client: Client, webhook: SendGridIntegration, settings: Any
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    answer = post(client, event("delivered"))
    assert (answer.status_code, "begins with https" in answer.json()["errors"][0]["detail"]) == (403, True)


def test_what_is_signed_and_no_array_is_refused(client: Client, webhook: SendGridIntegration) -> None:
    signed = {SIGNATURE: SIGNER.sign(b"{}"), TIMESTAMP: "1764000000"}
    answer = client.post("/events/sendgrid", b"{}", content_type="application/json", headers=signed)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["detail"] == "The body is not a JSON array of events: not an array."


def test_a_key_that_cannot_be_decrypted_does_not_matter(client: Client, webhook: SendGridIntegration) -> None:
    SendGridIntegration.objects.update(connected=True)
    webhook.connected, webhook.api_key = True, "SG.key"
    webhook.save()
    lose_key_of(webhook, "api_key")
    assert post(client).status_code == 204


# --- whose it is --------------------------------------------------------------------------------


def test_an_event_without_our_number_is_found_by_sendgrids(client: Client, webhook: SendGridIntegration) -> None:
    row, other = accepted(provider_id="abc"), accepted(provider_id="abcd")
    post(client, event("delivered", sg_message_id="abc.recvd-1-2"), event("processed", sg_message_id="unknown.1"))
    assert (kinds(row), kinds(other)) == ([("a@example.org", "delivered")], [])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Zoe@Example.org", "zoe@example.ORG"),
        ("zoe@münchen.example", "zoe@xn--mnchen-3ya.example"),
        ("zoe@MÜNCHEN.example", "ZOE@xn--mnchen-3ya.example"),
    ],
)
def test_an_address_in_another_spelling_is_the_same(
    client: Client, webhook: SendGridIntegration, ours: str, theirs: str
) -> None:
    row = accepted(ours)
    post(client, event("delivered", row, to=theirs))
    assert kinds(row) == [(ours, "delivered")]


def test_what_is_about_nobody_of_ours_is_passed_over(client: Client, webhook: SendGridIntegration) -> None:
    row = accepted()
    strangers = [event("bounce", row, to="stranger@example.org", type="bounce"), event("delivered")]
    strangers += [event("delivered", rootmail_delivery=text, sg_event_id=text) for text in ("x", str(UUID(int=7)))]
    assert post(client, *strangers).status_code == 204
    assert (kinds(row), Suppression.objects.count()) == ([], 0)


# --- what follows -------------------------------------------------------------------------------


def test_nothing_told_changes_what_was_accepted_or_sends_again(client: Client, webhook: SendGridIntegration) -> None:
    row = accepted()
    before = Delivery.objects.filter(pk=row.pk).values().get()
    deferred = [event("deferred", row, at=AT + number) for number in range(3)]
    post(client, event("processed", row), *deferred)
    assert Delivery.objects.filter(pk=row.pk).values().get() == before
    post(client, event("bounce", row, type="blocked", at=AT + 9), event("dropped", row, at=AT + 5))
    after = Delivery.objects.filter(pk=row.pk).values().get()
    assert after == before | {"bounced_at": datetime.fromtimestamp(AT + 5, tz=UTC)}
    assert list(row.recipients.values_list("state", "reply")) == [("accepted", "queued as x")]
    assert Suppression.objects.count() == 0, "neither of them speaks against the address"


def test_it_stands_beside_each_recipient(client: Client, webhook: SendGridIntegration, member: User) -> None:
    row = accepted("a@example.org", "b@example.org")
    post(
        client,
        event("processed", row),
        event("delivered", row, at=AT + 3, response="250 OK"),
        event("bounce", row, to="b@example.org", at=AT + 4, type="bounce", status="5.1.1", reason="<b>no</b>"),
    )
    client.force_login(member)
    page = " ".join(re.sub(r"<[^>]+>", " ", client.get(f"/deliveries/{row.pk}/").content.decode()).split())
    assert "2025-11-24 16:00:00 accepted by SendGrid 2025-11-24 16:00:00 processed" in page
    assert "2025-11-24 16:00:03 delivered · 250 OK" in page
    assert "2025-11-24 16:00:04 bounced · 5.1.1 &lt;b&gt;no&lt;/b&gt;" in page
    assert "told later that it did not reach 1 of 2 recipients." in page
    listed = client.get("/?bounced=on").content.decode()
    assert '<span class="badge tone failed">Bounced</span>' in listed
    assert 'Deliveries <b dir="auto">bounced afterwards</b>' in listed
    assert "No delivery fits" in client.get("/?bounced=on&state=failed").content.decode()


def test_scripts_are_told_too(client: Client, webhook: SendGridIntegration) -> None:
    row = accepted()
    post(client, event("delivered", row), event("bounce", row, type="bounce", reason="550 no", at=AT + 60))
    document = delivery_documents.deliveries(Delivery.objects.all())[0]
    assert document["bounced_at"] == "2025-11-24T16:01:00+00:00"
    assert document["recipients"][0]["told"] == [
        {"at": "2025-11-24T16:00:00+00:00", "kind": "delivered", "reason": None},
        {"at": "2025-11-24T16:01:00+00:00", "kind": "bounce", "reason": "550 no"},
    ]
    shown = command("--bounced")
    assert "         told 2025-11-24 16:01:00 UTC: bounced  550 no\n" in shown
    assert command("--bounced", "--state", "failed") == "No delivery fits.\n"


def test_a_thousand_events_cost_few_queries(
    client: Client, webhook: SendGridIntegration, django_assert_max_num_queries: Any
) -> None:
    row = accepted(*(f"r{number}@example.org" for number in range(250)))
    told_of = [
        event(kind, row, to=f"r{number}@example.org", type="bounce")
        for number in range(250)
        for kind in ("processed", "deferred", "bounce", "spamreport")
    ]
    with django_assert_max_num_queries(30):
        assert post(client, *told_of).status_code == 204
    assert (Told.objects.count(), Suppression.objects.filter(kind="complaint").count()) == (1000, 250)
    with django_assert_max_num_queries(12):
        assert post(client, *told_of).status_code == 204


EVENTS = [
    ("processed", "a@example.org", {}),
    ("deferred", "a@example.org", {"reason": "451 busy"}),
    ("delivered", "a@example.org", {}),
    ("bounce", "a@example.org", {"type": "bounce", "reason": "550 a"}),
    ("bounce", "a@example.org", {"type": "bounce", "reason": "550 b", "sg_event_id": "again", "timestamp": AT + 9}),
    ("spamreport", "A@example.ORG", {"timestamp": AT + 2}),
    ("bounce", "b@example.org", {"type": "blocked", "timestamp": AT + 1}),
    ("delivered", "b@example.org", {}),
    ("dropped", "c@example.org", {"reason": "Bounced Address", "timestamp": AT - 1}),
    ("bounce", "d@example.org", {"type": "bounce"}),
]


def end_state(batches: list[list[int]], row: Delivery) -> list[Any]:
    """Tell these events and return what is stored then; all of it is taken back."""
    with transaction.atomic():
        for batch in batches:
            events = [event(EVENTS[n][0], row, to=EVENTS[n][1], **EVENTS[n][2]) for n in batch]
            told.record(notices(json.dumps(events).encode()))
        found = [
            sorted(Told.objects.values_list("recipient", "kind", "at", "reason", "event_id")),
            sorted(Suppression.objects.values_list("address", "kind", "since", "reason", "delivery", "expires_at")),
            list(Delivery.objects.filter(pk=row.pk).values_list()),
            list(row.recipients.order_by("pk").values_list()),
            list(Run.objects.filter(pk=row.run_id).values_list("status", "status_message")),
        ]
        transaction.set_rollback(True)
    return found


SHUFFLED = st.lists(st.sampled_from(range(len(EVENTS))), max_size=12).flatmap(
    lambda more: st.permutations([*range(len(EVENTS)), *more])
)


@pytest.mark.parametrize("state", ["accepted", "unknown", "held", "failed"])
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=SHUFFLED, cuts=st.sets(st.integers(1, 20), max_size=4))
def test_any_order_and_any_repetition_lead_to_the_same_end(
    webhook: SendGridIntegration, state: str, order: list[int], cuts: set[int]
) -> None:
    with transaction.atomic():
        row = accepted("a@example.org", "b@example.org", "c@example.org", "d@example.org", state=state)
        if state != "accepted":
            row.recipients.update(state="failed" if state == "failed" else "queued")
        edges = [0, *sorted(cuts), len(order)]
        batches = [order[start:end] for start, end in pairwise(edges) if start < end]
        expected = end_state([list(range(len(EVENTS)))], row)
        assert len(expected[0]) == len(EVENTS)
        assert expected == end_state(batches, row)
        transaction.set_rollback(True)


# --- what nobody had heard the outcome of -------------------------------------------------------


def unheard(state: str, *addresses: str, **values: Any) -> Delivery:
    row = accepted(*addresses, state=state, accepted_at=None, next_attempt_at=timezone.now(), **values)
    row.recipients.update(state="queued", code=None, reply="")
    Attempt.objects.create(delivery=row, at=MOMENT, provider="sendgrid", stage="http", outcome="unknown")
    return row


@pytest.mark.parametrize("state", ["unknown", "held"])
@pytest.mark.parametrize("kind", ["processed", "delivered", "deferred", "dropped"])
def test_an_event_resolves_an_unknown_outcome(
    client: Client, webhook: SendGridIntegration, state: str, kind: str
) -> None:
    row = unheard(state)
    post(client, event(kind, row))
    row.refresh_from_db()
    assert (row.state, row.reason, row.accepted_at, row.next_attempt_at) == ("accepted", told.HEARD, MOMENT, None)
    assert list(row.recipients.values_list("state", "reply")) == [("accepted", "SendGrid told so later")]
    run = Run.objects.get()
    assert (run.status, run.status_message) == ("completed_with_errors", f"Mail: {told.HEARD}")


def test_only_who_was_told_of_is_accepted(client: Client, webhook: SendGridIntegration) -> None:
    row = unheard("unknown", "a@example.org", "b@example.org")
    post(client, event("processed", row))
    row.refresh_from_db()
    assert (row.state, list(row.recipients.values_list("state", flat=True))) == ("unknown", ["accepted", "queued"])
    post(client, event("processed", row, to="b@example.org"))
    row.refresh_from_db()
    assert row.state == "accepted"


@pytest.mark.parametrize("others", [[], ["b@example.org"]])
def test_what_failed_since_its_time_was_over_counts_as_accepted_once_it_is_told_of(
    client: Client, webhook: SendGridIntegration, others: list[str]
) -> None:
    row = unheard("failed", "a@example.org", *others, status="failed")
    row.recipients.update(state="failed")
    Delivery.objects.update(reason="Given up.", next_attempt_at=None)
    post(client, event("delivered", row))
    row.refresh_from_db()
    assert (row.state, row.reason, row.accepted_at) == ("accepted", told.HEARD, MOMENT)
    assert list(row.recipients.values_list("state", flat=True)) == ["accepted", *["failed"] * len(others)]
    run = Run.objects.get()
    assert (run.status, run.status_message) == ("completed_with_errors", f"Mail: {told.HEARD}")
    post(client, *(event("delivered", row, to=one, at=AT - 1) for one in others))
    assert set(row.recipients.values_list("state", flat=True)) == {"accepted"}


def test_what_sendgrid_refused_of_a_failed_mail_stays_refused(client: Client, webhook: SendGridIntegration) -> None:
    row = unheard("failed", status="failed")
    row.recipients.update(state="refused")
    post(client, event("dropped", row))
    row.refresh_from_db()
    assert (row.state, row.recipients.get().state) == ("failed", "refused")


@pytest.mark.parametrize("state", ["queued", "sending", "deferred", "failed", "cancelled"])
def test_no_other_state_is_touched(client: Client, webhook: SendGridIntegration, state: str) -> None:
    lease = {"lease": new_id(), "lease_expires_at": timezone.now()} if state == "sending" else {}
    row = unheard(state, **lease)
    post(client, event("delivered", row))
    row.refresh_from_db()
    assert (row.state, row.reason, row.recipients.get().state) == (state, "", "queued")


@pytest.mark.usefixtures("live_router")
def test_an_event_that_came_before_the_outcome_was_known_to_be_unknown_counts(
    client: Client, sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    SendGridIntegration.objects.update(event_key=SIGNER.key)
    run = stored({"to": ["a@example.org"]})
    row = Delivery.objects.get()
    sendgrid_api.fault = "reset"
    # The last thing that is done before the mail is handed over.
    monkeypatch.setattr(delivery, "spare_suppressed", lambda *_: post(client, event("delivered", row)))
    delivery.send_due()
    row.refresh_from_db()
    run.refresh_from_db()
    assert (row.state, row.reason, run.status) == ("accepted", told.HEARD, "completed_with_errors")
    assert [one.outcome for one in row.attempts.all()] == ["unknown"]


@pytest.mark.usefixtures("live_router")
def test_what_is_told_while_a_worker_holds_the_mail_keeps_it_from_being_sent_twice(
    client: Client, sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    SendGridIntegration.objects.update(event_key=SIGNER.key)
    stored(TO)
    row = Delivery.objects.get()
    Delivery.objects.update(state="unknown", provider="sendgrid")
    lease = leases.Lease()
    lease.claim()
    post(client, *(event("delivered", row, to=f"{one}@example.org") for one in "ab"))
    lease.give_back()
    delivery.send_due()
    assert list(row.recipients.values_list("state", flat=True)) == ["accepted", "accepted", "queued"]
    assert sendgrid_api.ledger == []
    delivery.send_due()
    row.refresh_from_db()
    assert (row.state, len(sendgrid_api.ledger)) == ("accepted", 1)
    assert "a@example.org" not in str(sendgrid_api.ledger[0]["personalizations"])


@pytest.mark.usefixtures("live_router")
def test_events_count_for_a_mail_whose_worker_died_before_it_noted_a_provider(
    client: Client, sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    SendGridIntegration.objects.update(event_key=SIGNER.key)
    stored({"to": ["a@example.org"]})
    row = Delivery.objects.get()
    leases.Lease().claim()
    Delivery.objects.update(lease_expires_at=MOMENT)
    delivery.free_expired_leases()
    Delivery.objects.update(next_attempt_at=MOMENT)
    leases.Lease().claim()
    post(client, event("delivered", row))
    Delivery.objects.update(state="unknown", lease=None, lease_expires_at=None)
    delivery.send_due()
    row.refresh_from_db()
    assert (row.state, row.provider, row.reason, sendgrid_api.ledger) == ("accepted", "sendgrid", told.HEARD, [])


@pytest.mark.usefixtures("live_router")
def test_events_count_where_time_is_over_meanwhile(
    client: Client, sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    SendGridIntegration.objects.update(event_key=SIGNER.key)
    stored({"to": ["a@example.org"]})
    row = Delivery.objects.get()
    Delivery.objects.update(state="unknown", provider="sendgrid")
    leases.Lease().claim()
    post(client, event("delivered", row))
    Delivery.objects.update(state="unknown", lease=None, lease_expires_at=None, give_up_at=MOMENT)
    delivery.send_due()
    row.refresh_from_db()
    assert (row.state, row.reason, sendgrid_api.ledger) == ("accepted", told.HEARD, [])


# --- several at once ----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_longer_than_a_batch(webhook: SendGridIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "BATCH", 1)
    one, other = accepted(), accepted()
    events = [event("bounce", row, type="bounce", sg_event_id=str(row.pk)) for row in (one, other)]
    read = notices(json.dumps(events).encode())
    enlist = suppression.enlist

    def stumble_at_the_last(findings: Any) -> None:
        found = list(findings)
        if any(row.delivery_id == other.pk for row in found):
            raise OperationalError("deadlock detected")
        enlist(found)

    monkeypatch.setattr(suppression, "enlist", stumble_at_the_last)
    with pytest.raises(OperationalError):
        told.record(read)
    assert (kinds(one), kinds(other)) == ([("a@example.org", "bounce")], [])
    monkeypatch.setattr(suppression, "enlist", enlist)
    told.record(read)
    assert (kinds(one), kinds(other)) == ([("a@example.org", "bounce")], [("a@example.org", "bounce")])


@pytest.mark.django_db(transaction=True)
def test_the_same_events_at_once_are_stored_once() -> None:
    mails = [accepted("a@example.org", f"r{number}@example.org") for number in range(20)]
    events = [event("bounce", row, type="bounce", sg_event_id=f"a-{row.pk}") for row in mails]
    events += [event("spamreport", row, to=f"r{number}@example.org") for number, row in enumerate(mails)]
    read = notices(json.dumps(events).encode())
    at_once(*(partial(told.record, read[::step]) for step in (1, -1, 1)))
    assert (Told.objects.count(), Suppression.objects.count()) == (40, 21)
    assert Delivery.objects.filter(bounced_at=MOMENT).count() == 20


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("live_router")
def test_events_and_workers_at_once_end_every_mail_once(
    sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid
) -> None:
    stored(*[{"to": ["a@example.org"]}] * 30)
    Delivery.objects.update(state="unknown", provider="sendgrid")
    events = [event("delivered", row, sg_event_id=str(row.pk)) for row in Delivery.objects.order_by("-pk")]
    read = notices(json.dumps(events).encode())

    def tell() -> None:
        for start in range(0, len(read), 3):
            told.record(read[start : start + 3])

    def work() -> None:
        for _ in range(3):
            delivery.send_due()

    at_once(work, tell, work)
    work()
    assert set(Delivery.objects.values_list("state", "lease", "next_attempt_at")) == {("accepted", None, None)}
    assert len(sendgrid_api.ledger) + Delivery.objects.filter(reason=told.HEARD).count() == 30
    assert Run.objects.get().status in ("completed", "completed_with_errors")


# --- setting it up ------------------------------------------------------------------------------


def test_the_page_explains_what_to_do_and_tells_whether_events_come(
    as_admin: Client, webhook: SendGridIntegration
) -> None:
    page = as_admin.get("/configuration/integrations/sendgrid/").content.decode()
    assert "http://127.0.0.1:8000/events/sendgrid</code>" in page
    assert "No event received yet." in page
    feedback.note_heard()
    assert "Last event received <time" in as_admin.get("/configuration/integrations/sendgrid/").content.decode()
    SendGridIntegration.objects.update(event_key="", event_heard_at=None)
    page = as_admin.get("/configuration/integrations/sendgrid/").content.decode()
    assert "No verification key is stored: events are refused." in page


@pytest.mark.parametrize("key", ["x", "-----BEGIN PUBLIC KEY-----", WRONG_CURVE.key, "MFkw"])
def test_a_key_that_is_none_is_refused_beside_the_field(
    as_admin: Client, sendgrid: SendGridIntegration, key: str
) -> None:
    values = {"base_url": sendgrid.base_url, "event_key": key, "default_from": sendgrid.default_from}
    page = as_admin.post("/configuration/integrations/sendgrid/", values)
    assert page.status_code == 422
    assert re.search(r'id="id_event_key_error">Paste the verification key as SendGrid shows it', page.content.decode())
    sendgrid.refresh_from_db()
    assert sendgrid.event_key == ""


def test_a_key_is_saved_and_outlives_the_connection(as_admin: Client, sendgrid: SendGridIntegration) -> None:
    values = {"base_url": sendgrid.base_url, "event_key": f" {SIGNER.key}\n", "default_from": sendgrid.default_from}
    assert as_admin.post("/configuration/integrations/sendgrid/", values).status_code == 302
    as_admin.post("/configuration/integrations/sendgrid/disconnect/")
    sendgrid.refresh_from_db()
    assert (sendgrid.connected, sendgrid.event_key) == (False, SIGNER.key)
    assert post(as_admin).status_code == 204


def test_the_command_line_takes_the_key(sendgrid: SendGridIntegration, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = ["connect", "sendgrid", "--api-key-stdin", "--no-check", "--base-url", sendgrid.base_url]
    monkeypatch.setattr(sys, "stdin", io.StringIO("SG.key"))
    call_command("integration", *connect, "--event-key", SIGNER.key, stdout=io.StringIO(), stderr=io.StringIO())
    sendgrid.refresh_from_db()
    assert sendgrid.event_key == SIGNER.key
