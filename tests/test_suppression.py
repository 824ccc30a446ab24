"""Whom nothing is sent to: who is listed, how a mail spares them, and how it ends."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.mail import EmailMessage
from django.db import connection
from django.test import Client
from django.utils import timezone

from integrations.models import AuditEvent, SendGridIntegration, SmtpIntegration
from tests.fake_relay import FakeRelay
from tests.fake_sendgrid import FakeSendGrid
from tests.statements import watched
from tests.test_delivery import TO, said, stored
from tests.test_search import made
from workflows import delivery, interventions, retention, story, suppression
from workflows.models import Attempt, Delivery, Recipient, Run
from workflows.recipients import canonical
from workflows.suppression import Wanted
from workflows.told_models import Suppression

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_router")]

SINCE = timezone.now().replace(microsecond=0) - timedelta(hours=3)
AT_SENDGRID = "SendGrid keeps such a list of its own: remove the address there, too, or SendGrid drops the mail."
ON = f"{SINCE.day} {SINCE:%B %Y}"


def listed(address: str, kind: str = "bounce", **values: Any) -> Suppression:
    """List an address as SendGrid would have it."""
    own = {"since": SINCE, "reason": "550 no such user", "told_by": "sendgrid", "delivery_id": None}
    found = suppression.finding(address, kind, **own | values)
    suppression.enlist([found])
    return Suppression.objects.get(address=found.address)


def in_force() -> list[tuple[str, str]]:
    return list(suppression.in_force().order_by("address").values_list("address", "kind"))


# --- who is listed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "spelling"),
    [
        ("Zoe.B@Example.ORG", "zoe.b@example.org"),
        ("zoe@MÜNCHEN.example", "zoe@xn--mnchen-3ya.example"),
        ("zoe@xn--mnchen-3ya.example", "zoe@xn--mnchen-3ya.example"),
        ("zoe@\u2028", "zoe@\u2028"),
    ],
)
def test_an_address_has_one_spelling(address: str, spelling: str) -> None:
    assert canonical(address) == spelling


@pytest.mark.parametrize("enhanced", ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"])
def test_whom_the_relay_does_not_know_is_listed(smtp: SmtpIntegration, relay: FakeRelay, enhanced: str) -> None:
    relay.replies = {"RCPT TO:<b@": f"550 {enhanced} no such user"}
    stored()
    delivery.send_due()
    row = Suppression.objects.get()
    assert (row.address, row.kind, row.told_by) == ("b@example.org", "refused", "smtp")
    assert (row.reason, row.delivery) == (f"550 {enhanced} no such user", Delivery.objects.get())
    assert row.expires_at == row.since + timedelta(days=180)
    entry = AuditEvent.objects.get(action="addresses suppressed")
    assert (entry.actor, entry.details) == ("SMTP", {"addresses": 1, "deliveries": [str(row.delivery_id)]})


def earlier(state: str, *, days: int, to: str = "b@example.org", enhanced: str = "5.1.1") -> None:
    """Store what became of a mail so many days ago."""
    at = timezone.now() - timedelta(days=days)
    mail = made(f"{state} {days}", hours_ago=24 * days, to=to, triggered_at=at)
    mail.recipients.update(state=state, code=550, enhanced_code=enhanced if state == "refused" else "")
    Attempt.objects.create(delivery=mail, at=at, stage="rcpt", outcome="failed" if state == "refused" else "accepted")


@pytest.mark.parametrize(
    ("before", "is_listed"),
    [
        ([], True),
        ([("accepted", 30)], False),
        ([("accepted", 30), ("refused", 0)], False),
        ([("accepted", 30), ("refused", 2)], True),
        ([("refused", 30), ("accepted", 2)], False),
        ([("refused", 2), ("accepted", 1), ("refused", 0)], False),
        ([("accepted", 9), ("failed", 2)], False),
    ],
)
def test_whoever_took_mail_before_is_listed_after_a_day_of_refusals(
    smtp: SmtpIntegration, relay: FakeRelay, before: list[tuple[str, int]], is_listed: bool
) -> None:
    """A relay that has lost its directory for an hour must not keep the next incident from everybody."""
    stored()
    for state, days in before:
        earlier(state, days=days)
    earlier("accepted", days=3, to="c@example.org")
    relay.replies = {"RCPT TO:<b@": "550 5.1.1 no such user"}
    delivery.send_due()
    assert Recipient.objects.filter(state="refused", reply="no such user").exists()
    assert [row.address for row in Suppression.objects.all()] == (["b@example.org"] if is_listed else [])


def test_the_day_begins_with_the_refusal_and_not_with_the_event(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    """A mail may have waited for a day before it was first refused."""
    stored()
    earlier("accepted", days=9)
    earlier("refused", days=2)
    Attempt.objects.filter(outcome="failed").update(at=timezone.now() - timedelta(seconds=5))
    relay.replies = {"RCPT TO:<b@": "550 5.1.1 no such user"}
    delivery.send_due()
    assert not Suppression.objects.exists()


def test_a_refusal_for_another_reason_is_none_of_those(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored()
    earlier("accepted", days=9)
    earlier("refused", days=2, enhanced="5.7.1")
    relay.replies = {"RCPT TO:<b@": "550 5.1.1 no such user"}
    delivery.send_due()
    assert not Suppression.objects.exists()


@pytest.mark.parametrize(
    "reply",
    [
        "550 5.7.1 not from you",
        "550 5.1.8 your domain does not exist",
        "550 5.1.7 bad sender",
        "550 no such user",
        "552 5.2.2 mailbox full",
        "450 4.1.1 no such user yet",
        "250 5.1.1 nonsense",
    ],
)
def test_nobody_is_listed_for_any_other_reply(smtp: SmtpIntegration, relay: FakeRelay, reply: str) -> None:
    relay.replies = {"RCPT TO:<b@": reply}
    stored()
    delivery.send_due()
    assert Suppression.objects.count() == 0


def test_a_refusal_of_the_message_or_of_our_own_lists_nobody(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"DATA": "550 5.1.1 what is this"}
    stored(TO, {"to": ["zoë@example.org"]})
    delivery.send_due()
    assert Recipient.objects.exclude(state="accepted").count() == 4
    assert Suppression.objects.count() == 0


@pytest.mark.parametrize(
    ("days", "kind", "expected"),
    [(180, "bounce", 180), (7, "refused", 7), (0, "bounce", None), (-1, "refused", None), (180, "complaint", None)],
)
def test_it_expires_but_for_complaints(settings: Any, days: int, kind: str, expected: int | None) -> None:
    settings.SUPPRESSION_DAYS = days
    row = listed("a@example.org", kind)
    assert row.expires_at == (SINCE + timedelta(days=expected) if expected else None)
    Suppression.objects.exclude(kind="complaint").update(expires_at=timezone.now() - timedelta(seconds=1))
    assert in_force() == ([("a@example.org", "complaint")] if kind == "complaint" else [])


@pytest.mark.parametrize("days", [4_000_000, 10**12])
def test_more_days_than_a_calendar_has_lose_no_answer(
    settings: Any, smtp: SmtpIntegration, relay: FakeRelay, days: int
) -> None:
    settings.SUPPRESSION_DAYS = days
    relay.replies = {"RCPT TO:<b@": "550 5.1.1 no such user"}
    stored(TO)
    delivery.send_due()
    assert Delivery.objects.get().state == "accepted"
    assert in_force() == [("b@example.org", "refused")]


def test_what_counts_more_stays() -> None:
    listed("a@example.org", "complaint")
    listed("A@Example.org", "bounce", since=SINCE + timedelta(hours=1))
    listed("b@example.org", "refused")
    listed("b@example.org", "bounce", since=SINCE - timedelta(hours=1))
    assert in_force() == [("a@example.org", "complaint"), ("b@example.org", "bounce")]
    assert AuditEvent.objects.filter(action="addresses suppressed").count() == 2, "each was listed once"


def test_an_expired_one_makes_room_for_any_newer() -> None:
    listed("a@example.org", "bounce", since=SINCE - timedelta(days=400))
    listed("a@example.org", "refused")
    assert in_force() == [("a@example.org", "refused")]


# --- how it ends --------------------------------------------------------------------------------


def test_a_released_one_is_not_listed_again_for_what_happened_before() -> None:
    row = listed("a@example.org", delivery_id=made("one").pk)
    assert suppression.release(row.pk, actor="ada") == row
    assert suppression.release(row.pk, actor="ada") is None
    listed("a@example.org")
    listed("a@example.org", "complaint", since=SINCE + timedelta(hours=1))
    assert in_force() == []
    entry = AuditEvent.objects.get(action="address released")
    details = {"suppression": row.pk, "kind": "bounce", "delivery": str(row.delivery_id)}
    assert (entry.actor, entry.details) == ("ada", details)
    assert "a@example.org" not in str(list(AuditEvent.objects.values())), "an entry could never be deleted"
    listed("a@example.org", since=timezone.now() + timedelta(seconds=2))
    assert in_force() == [("a@example.org", "bounce")]


def test_addresses_long_free_are_forgotten() -> None:
    rows = {name: listed(f"{name}@example.org") for name in ("expired", "released", "lately", "kept")}
    long_ago = timezone.now() - timedelta(days=401)
    Suppression.objects.filter(pk=rows["expired"].pk).update(expires_at=long_ago)
    Suppression.objects.filter(pk=rows["released"].pk).update(released_at=long_ago)
    Suppression.objects.filter(pk=rows["lately"].pk).update(released_at=timezone.now())
    retention.forget_old()
    assert list(Suppression.objects.order_by("pk")) == [rows["lately"], rows["kept"]]


# --- how a mail spares them ---------------------------------------------------------------------


def test_a_mail_reaches_the_others(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    listed("B@example.org")
    run = stored()
    delivery.send_due()
    assert relay.ledger[0].recipients == ("a@example.org", "c@example.org")
    assert said() == [
        ("a@example.org", "accepted", 250, "2.0.0"),
        ("b@example.org", "suppressed", None, ""),
        ("c@example.org", "accepted", 250, "2.0.0"),
    ]
    row = Delivery.objects.get()
    reason = f"b@example.org suppressed: bounced on {ON}, told by SendGrid: 550 no such user"
    assert (row.state, row.reason) == ("accepted", reason)
    run.refresh_from_db()
    assert (run.status, run.status_message) == ("completed_with_errors", f"Mail: {reason}")


def test_a_mail_with_nobody_left_fails_without_an_attempt(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    for one, kind in (("a", "bounce"), ("b", "complaint"), ("c", "refused")):
        listed(f"{one}@example.org", kind, told_by="smtp" if kind == "refused" else "sendgrid")
    run = stored()
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.state, row.tries, row.lease, row.next_attempt_at, row.provider) == ("failed", 0, None, None, "")
    assert row.reason == (
        f"a@example.org suppressed: bounced on {ON}, told by SendGrid: 550 no such user; "
        f"b@example.org suppressed: reported as spam on {ON}, told by SendGrid: 550 no such user; "
        f"c@example.org suppressed: refused on {ON}, told by SMTP: 550 no such user"
    )
    run.refresh_from_db()
    assert (relay.ledger, Attempt.objects.count(), run.status) == ([], 0, "failed")


def test_through_any_provider(sendgrid: SendGridIntegration, sendgrid_api: FakeSendGrid) -> None:
    listed("b@example.org", "refused", told_by="smtp")
    stored()
    delivery.send_due()
    assert "b@example.org" not in str(sendgrid_api.ledger[0]["personalizations"])
    assert [state for _, state, _, _ in said()] == ["accepted", "suppressed", "accepted"]


def test_a_released_or_expired_address_is_sent_to_at_once(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    suppression.release(listed("a@example.org").pk, actor="ada")
    listed("b@example.org", since=timezone.now() - timedelta(days=181))
    stored()
    delivery.send_due()
    assert relay.ledger[0].recipients == ("a@example.org", "b@example.org", "c@example.org")


def test_it_is_decided_when_the_mail_is_handed_over(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    relay.replies = {"RCPT TO:<b@": ["450 4.7.1 later"]}
    stored()
    delivery.send_due()
    listed("b@example.org")
    Delivery.objects.update(next_attempt_at=timezone.now())
    delivery.send_due()
    row = Delivery.objects.get()
    assert (row.state, len(relay.ledger), row.attempts.count()) == ("accepted", 1, 1)
    assert row.reason.startswith("b@example.org suppressed: bounced on")
    assert row.accepted_at is not None


def test_test_mails_and_account_mails_reach_them(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    listed("a@example.org")
    assert EmailMessage("Your link", "x", to=["a@example.org"], connection=mail.get_connection()).send() == 1
    assert relay.ledger[0].recipients == ("a@example.org",)


def test_looking_costs_one_query_for_a_mail(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    stored(*[TO] * 4)
    asked: list[str] = []
    with watched(connection, lambda statement, _: asked.append(statement)):
        delivery.send_due()
    assert len([one for one in asked if "workflows_suppression" in one]) == 4


# --- sending again ------------------------------------------------------------------------------


def test_send_again_says_why_not(smtp: SmtpIntegration, relay: FakeRelay) -> None:
    row, other = made("one", state="failed", to="Zoe@Example.org"), made("two", state="accepted")
    Recipient.objects.filter(delivery=other).update(state="accepted")
    Recipient.objects.create(delivery=other, address="zoe@example.org", kind="cc", state="suppressed")
    suppressed = listed("zoe@example.org")
    outcome = interventions.intervene("send-again", [row.pk, other.pk], actor="ada")
    assert (outcome.done, dict(outcome.left)) == (0, {"everybody left is suppressed": 2})
    Recipient.objects.create(delivery=other, address="max@example.org", kind="cc", state="refused")
    assert interventions.intervene("send-again", [other.pk], actor="ada").done == 1
    suppression.release(suppressed.pk, actor="ada")
    assert interventions.intervene("send-again", [row.pk], actor="ada").done == 1


# --- the page -----------------------------------------------------------------------------------


@pytest.fixture
def browsers(team: dict[str, User]) -> dict[str, Client]:
    found = {role: Client() for role in team}
    for role, person in team.items():
        found[role].force_login(person)
    return found


def words(client: Client, address: str = "/suppressed/") -> str:
    main = client.get(address).content.decode().partition("<main")[2]
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


def test_a_release_speaks_of_sendgrids_list_only_where_sendgrid_told(browsers: dict[str, Client]) -> None:
    row = listed("zoe@example.org", "refused", told_by="smtp")
    answer = browsers["Admin"].post(f"/suppressed/{row.pk}/release/", follow=True)
    assert "zoe@example.org is released: the next mail goes there again." in answer.content.decode()
    assert AT_SENDGRID not in answer.content.decode()


def test_editors_see_who_is_suppressed_and_admins_release(browsers: dict[str, Client]) -> None:
    row = listed("zoe@example.org", reason="<b>550</b> no", delivery_id=made("one").pk)
    listed("max@example.org", "complaint", since=SINCE + timedelta(hours=1))
    page = words(browsers["Editor"])
    assert re.search(r"max@example.org Reported as spam .* until an Admin releases it", page)
    assert re.search(r"zoe@example.org Bounced .* told by SendGrid about this mail · until", page)
    assert page.index("max@") < page.index("zoe@"), "the newest first"
    assert "&lt;b&gt;550" in page
    assert "Release" not in page
    assert "Release" in words(browsers["Admin"])
    assert browsers["Editor"].post(f"/suppressed/{row.pk}/release/").status_code == 403
    answer = browsers["Admin"].post(f"/suppressed/{row.pk}/release/", follow=True)
    assert f"zoe@example.org is released: the next mail goes there again. {AT_SENDGRID}" in answer.content.decode()
    assert in_force() == [("max@example.org", "complaint")]
    again = browsers["Admin"].post(f"/suppressed/{row.pk}/release/", follow=True)
    assert "Nothing was changed: it is not suppressed any more." in again.content.decode()


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("zoe@example.org", ["zoe@example.org"]),
        ("ZOE", ["zoe@example.org"]),
        ("@example.org", ["max@example.org", "zoe@example.org"]),
        ("bo@münchen.example", ["bo@xn--mnchen-3ya.example"]),
        ("o_@", []),
    ],
)
def test_finds_an_address_by_a_part_of_it(search: str, found: list[str]) -> None:
    for address in ("zoe@example.org", "max@example.org", "bo@münchen.example"):
        listed(address)
    assert sorted(row.address for row in suppression.page(Wanted(search))[0]) == found


def test_pages_go_on_from_an_address(browsers: dict[str, Client], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "PAGE", 2)
    for number in range(5):
        listed(f"r{number}@example.org", since=SINCE + timedelta(minutes=number // 2))
    shown, place = [], None
    while True:
        rows, place = suppression.page(Wanted(), before=place)
        shown += [row.address[:2] for row in rows]
        if place is None:
            break
    assert shown == ["r4", "r3", "r2", "r1", "r0"]
    assert 'href="?search=r&amp;before=' in browsers["Editor"].get("/suppressed/?search=r").content.decode()
    assert browsers["Editor"].get("/suppressed/?before=x").status_code == 404
    assert browsers["Editor"].get("/suppressed/?search=%00").status_code == 422
    assert "Enter a day, or a day and a time" in words(browsers["Editor"], "/suppressed/?since=yesterday")


def test_many_are_released_at_once(browsers: dict[str, Client]) -> None:
    """A relay that lost its directory had refused everybody since a certain time."""
    for name in ("max", "zoe", "kim"):
        listed(f"{name}@example.org", "refused", told_by="smtp", since=SINCE)
    listed("old@example.org", "refused", told_by="smtp", since=SINCE - timedelta(days=1))
    listed("bo@example.org", "bounce", since=SINCE)
    listed("spam@example.org", "complaint", since=SINCE)
    wanted = Wanted(kind="refused", since=SINCE)
    page = browsers["Admin"].get(f"/suppressed/?{wanted.as_query()}").content.decode()
    assert "Release these 3<" in page
    assert "Release these" not in browsers["Editor"].get(f"/suppressed/?{wanted.as_query()}").content.decode()
    until = re.findall(r'name="until" value="([^"]+)"', page)
    late = listed("late@example.org", "refused", told_by="smtp", since=timezone.now() + timedelta(seconds=1))
    answer = browsers["Admin"].post("/suppressed/release/", wanted.named() | {"until": until[0]}, follow=True)
    assert "3 addresses are released: the next mails go there again." in answer.content.decode()
    assert AT_SENDGRID.replace("the address", "them") not in answer.content.decode()
    left = [address for address, _ in in_force()]
    assert left == ["bo@example.org", late.address, "old@example.org", "spam@example.org"]
    entry = AuditEvent.objects.get(action="addresses released")
    assert entry.details == {"addresses": 3, "kind": "refused", "since": str(SINCE)}


def test_a_release_of_all_leaves_reports_of_spam_and_speaks_of_sendgrids_list(browsers: dict[str, Client]) -> None:
    for name, kind in (("a", "bounce"), ("b", "refused"), ("c", "complaint")):
        listed(f"{name}@example.org", kind)
    assert "Release all 2 For when a relay has refused everybody by mistake. Reports of spam stay." in words(
        browsers["Admin"]
    )
    now = timezone.now().isoformat()
    answer = browsers["Admin"].post("/suppressed/release/", {"until": now}, follow=True).content.decode()
    assert (
        f"2 addresses are released: the next mails go there again. {AT_SENDGRID}".replace("the address", "them")
        in answer
    )
    assert in_force() == [("c@example.org", "complaint")]
    again = browsers["Admin"].post("/suppressed/release/", {"until": now}, follow=True).content.decode()
    assert "Nothing was changed: they are not suppressed any more." in again


@pytest.mark.parametrize("wrong", [{"until": "x"}, {}, {"until": "2026-11-27T10:00:00Z", "kind": "everybody"}])
def test_what_was_not_understood_releases_nobody(browsers: dict[str, Client], wrong: dict[str, str]) -> None:
    listed("a@example.org", since=SINCE)
    answer = browsers["Admin"].post("/suppressed/release/", wrong, follow=True).content.decode()
    assert "Nobody was released: look at the list again." in answer
    assert in_force() == [("a@example.org", "bounce")]


def test_empty_pages_say_so(browsers: dict[str, Client]) -> None:
    assert "Nobody is suppressed" in words(browsers["Editor"])
    assert "Nothing suppressed fits ‘ zoe ’." in words(browsers["Editor"], "/suppressed/?search=zoe")
    assert "Nothing suppressed fits this filter." in words(browsers["Editor"], "/suppressed/?kind=bounce")


def test_the_page_of_the_mail_says_what_to_do(browsers: dict[str, Client]) -> None:
    listed("a@example.org")
    run = stored({"to": ["a@example.org"]})
    delivery.send_due()
    row = Delivery.objects.get()
    page = words(browsers["Editor"], f"/deliveries/{row.pk}/")
    assert "Nobody is left to send it to: earlier mails to all its recipients bounced" in page
    assert "an Admin releases it under Suppressed addresses; then send it again." in page
    assert f"to · Suppressed · bounced on {ON}, told by SendGrid: 550 no such user" in page
    assert "Send again" not in page
    assert Run.objects.get(pk=run.pk).status == "failed"


def test_a_mail_to_hundreds_of_whom_all_are_suppressed_says_so(browsers: dict[str, Client]) -> None:
    row = made("one", state="failed", reason="r suppressed: x")
    rows = (Recipient(delivery=row, address=f"r{n}@example.org", kind="to") for n in range(story.RECIPIENTS + 5))
    Recipient.objects.bulk_create(rows)
    row.recipients.update(state="suppressed", reply="bounced")
    assert "Nobody is left to send it to" in words(browsers["Editor"], f"/deliveries/{row.pk}/")
