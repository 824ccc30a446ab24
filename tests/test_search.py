"""Which deliveries: every filter alone and together, there and back as an address, as words, as pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.http import QueryDict
from django.utils import timezone

from integrations.providers import PROVIDERS
from tests.test_documents import SMALL
from workflows import documents, ids, search
from workflows.forms import FilterForm
from workflows.models import Attempt, Delivery, Event, Recipient, Run, Workflow
from workflows.search import DeliveryFilter

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def made(subject: str, *, hours_ago: float = 0.0, to: str = "a@example.org", **values: Any) -> Delivery:
    """Store a delivery as if it had been made so long before NOW, each in a run of its own."""
    slug = values.pop("slug", "tell")
    workflow = Workflow.objects.get_or_create(slug=slug, defaults={"name": slug, "trigger_type": "incident"})[0]
    event = Event.objects.create(name="incident_created", received_at=NOW)
    run = Run.objects.create(workflow=workflow, event=event, due_at=NOW, status=values.pop("status", "started"))
    earliest = ids.first_id_at(NOW - timedelta(hours=hours_ago))
    pk = UUID(int=earliest.int + ids.new_id().int % 2**60)
    own = {
        "message_id": f"<{pk.hex}@rootmail.example>",
        "triggered_at": NOW,
        "give_up_at": NOW,
        "content": b"To: a\r\n",
    }
    row = Delivery.objects.create(
        id=pk, run=run, workflow=workflow, action_name="Mail", position=1, subject=subject, **own | values
    )
    Recipient.objects.create(delivery=row, address=to, kind="to")
    return row


def found(**wanted: Any) -> list[str]:
    return [row.subject for row in search.matching(DeliveryFilter(**wanted))]


@pytest.fixture
def three() -> list[Delivery]:
    """Return one, two and three: the newest last."""
    rows = [
        made("one", hours_ago=50, state="failed", provider="smtp", to="Zoe@Example.org"),
        made("two", hours_ago=26, state="accepted", provider="sendgrid", slug="other", to="zoe@example.org.evil"),
        made("three 100% sure", hours_ago=1, state="held", provider="smtp", to="max@example.com"),
    ]
    Attempt.objects.create(delivery=rows[0], at=NOW, stage="auth", outcome="failed", code=535, enhanced_code="5.7.8")
    Recipient.objects.filter(delivery=rows[2]).update(code=450, enhanced_code="4.7.1")
    return rows


@pytest.mark.parametrize(
    ("wanted", "subjects"),
    [
        ({}, ["three 100% sure", "two", "one"]),
        ({"state": ("failed",)}, ["one"]),
        ({"state": ("failed", "held")}, ["three 100% sure", "one"]),
        ({"provider": "smtp"}, ["three 100% sure", "one"]),
        ({"workflow": "other"}, ["two"]),
        ({"workflow": "none"}, []),
        ({"recipient": "zoe@EXAMPLE.org"}, ["one"]),
        ({"recipient": "ZOE@"}, ["two", "one"]),
        ({"recipient": "@example.com"}, ["three 100% sure"]),
        ({"recipient": "z_e@"}, []),
        ({"since": NOW - timedelta(hours=26)}, ["three 100% sure", "two"]),
        ({"until": NOW - timedelta(hours=26)}, ["one"]),
        ({"code": "535"}, ["one"]),
        ({"code": "5.7.8"}, ["one"]),
        ({"code": "4.7.1"}, ["three 100% sure"]),
        ({"code": "250"}, []),
        ({"search": "THREE"}, ["three 100% sure"]),
        ({"search": "100%"}, ["three 100% sure"]),
        ({"search": "%%"}, []),
        ({"state": ("failed",), "provider": "smtp", "code": "535", "recipient": "zoe@example.org"}, ["one"]),
        ({"state": ("failed",), "provider": "sendgrid"}, []),
    ],
)
def test_finds_what_is_wanted_newest_first(three: list[Delivery], wanted: dict[str, Any], subjects: list[str]) -> None:
    assert found(**wanted) == subjects


def test_an_id_in_every_form_leads_to_the_mail(three: list[Delivery]) -> None:
    row = three[1]
    for text in (str(row.pk), row.pk.hex, str(row.pk).upper(), row.message_id, row.message_id[1:-1], str(row.run_id)):
        assert found(search=text) == ["two"], text
    assert found(run=row.run_id) == ["two"]
    assert found(search=row.pk.hex[:-1]) == []


def test_the_first_id_of_a_moment_parts_the_ids_made_before_from_those_made_after() -> None:
    before = ids.new_id()
    moment = ids.made_at(before) + timedelta(milliseconds=1)
    assert before < ids.first_id_at(moment)
    assert ids.made_at(ids.first_id_at(NOW)) == NOW
    assert abs(ids.made_at(before) - timezone.now()) < timedelta(seconds=5)
    assert ids.first_id_at(datetime(1969, 1, 1, tzinfo=UTC)).int >> 80 == 0
    assert ids.made_at(UUID(int=2**128 - 1)).year == 9999


FULL = DeliveryFilter(
    state=("failed", "held"),
    provider="smtp",
    workflow="tell",
    recipient="a+b@example.org",
    since=datetime(2026, 11, 24, tzinfo=UTC),
    until=datetime(2026, 11, 25, 10, 30, tzinfo=UTC),
    code="5.7.1",
    search="a & b = 'ü'",
    run=UUID(int=7),
)


def test_a_filter_survives_the_way_through_an_address() -> None:
    documents.load(SMALL)
    form = FilterForm(QueryDict(FULL.as_query()))
    assert form.is_valid(), form.errors
    assert form.wanted == FULL
    assert FilterForm(QueryDict("")).wanted == DeliveryFilter()
    assert DeliveryFilter().as_query() == ""


def test_says_a_filter_in_words() -> None:
    assert FULL.in_words() == (
        "failed or held through SMTP of workflow tell of run 00000000-0000-0000-0000-000000000007 to a+b@example.org "
        "since 24 November 2026 before 25 November 2026 10:30 because of 5.7.1 with ‘a & b = 'ü'’"
    )
    assert DeliveryFilter().in_words() == "all"
    assert not DeliveryFilter()
    assert DeliveryFilter(state=("held",), search="x").folded
    assert not DeliveryFilter(code="535").folded


NO_CODE = "--code: Enter a reply code such as 535, or an enhanced status code such as 5.7.1."


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ("state=lost", "--state: Select a valid choice. lost is not one of the available choices."),
        ("provider=pigeon", "--provider: Select a valid choice. pigeon is not one of the available choices."),
        ("workflow=none", "--workflow: Select a valid choice. none is not one of the available choices."),
        ("since=yesterday", "--since: Enter a day, or a day and a time, such as 2026-11-27 14:30."),
        ("since=03/04/2026", "--since: Enter a day, or a day and a time, such as 2026-11-27 14:30."),
        ("until=0001-01-01", "--until: Enter a time between 1970 and 2999."),
        ("since=9999-12-31T23:59:59", "--since: Enter a time between 1970 and 2999."),
        (
            "since=2026-11-24&until=2026-11-24",
            "--until: Enter a time later than the one in Since: nothing lies between them.",
        ),
        ("code=99", "--code: Enter a reply code such as 535, or an enhanced status code such as 5.7.1."),
        (
            "code=%D9%A3%D9%A3%D9%A3",
            "--code: Enter a reply code such as 535, or an enhanced status code such as 5.7.1.",
        ),
        ("run=7", "--run: This is no run's id."),
        ("search=a%00b", "--search: Null characters are not allowed."),
        ("recipient=" + "x" * 321, "--recipient: Ensure this value has at most 320 characters (it has 321)."),
    ],
)
def test_what_is_no_filter_gets_a_message(query: str, complaint: str) -> None:
    form = FilterForm(QueryDict(query))
    assert form.complaints() == [complaint]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-24 10:30", datetime(2026, 11, 24, 10, 30, tzinfo=UTC)),
        ("2026-11-24T10:30:15.5+01:00", datetime(2026, 11, 24, 9, 30, 15, 500_000, tzinfo=UTC)),
        ("2026-11-24T10:30Z", datetime(2026, 11, 24, 10, 30, tzinfo=UTC)),
    ],
)
def test_reads_a_time_as_programs_write_it(said: str, meant: datetime) -> None:
    assert FilterForm({"since": said}).wanted.since == meant


def test_what_is_no_text_gets_a_message() -> None:
    assert FilterForm({"search": "\udcff"}).complaints() == ["--search: This is not readable text."]


def test_the_ways_out_are_those_of_integrations() -> None:
    assert list(search.PROVIDERS) == [provider.name for provider in PROVIDERS]


def test_pages_go_on_from_an_id_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 3)
    for number in range(8):
        made(str(number), hours_ago=-number, state="failed" if number % 2 else "accepted")
    everything, odd = DeliveryFilter(), DeliveryFilter(state=("failed",))

    def subjects(page: search.Page) -> str:
        return "".join(row.subject for row in page.rows)

    first = search.page(everything)
    assert (subjects(first), first.newer) == ("765", None)
    second = search.page(everything, before=first.older)
    third = search.page(everything, before=second.older)
    assert (subjects(second), subjects(third), third.older) == ("432", "10", None)
    back = search.page(everything, after=third.newer)
    assert (subjects(back), back.older is not None) == ("432", True)
    top = search.page(everything, after=back.newer)
    assert (subjects(top), top.newer) == ("765", None)
    assert subjects(search.page(odd)) == "753"
    assert subjects(search.page(odd, before=search.page(odd).older)) == "1"


def test_a_page_knows_how_many_recipients_each_mail_has(monkeypatch: pytest.MonkeyPatch) -> None:
    row = made("one")
    Recipient.objects.bulk_create(Recipient(delivery=row, address=f"{n}@example.org", kind="cc") for n in range(30))
    shown: Any = search.page(DeliveryFilter()).rows[0]
    assert (shown.recipient_count, len(shown.first_recipients)) == (31, 20)
