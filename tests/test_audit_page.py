"""Configuration → Audit log: filter, pages, CSV."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from integrations import audit
from integrations.models import AuditEvent

pytestmark = pytest.mark.django_db

AUDIT = "/configuration/audit/"
CSV = "/configuration/audit.csv"


def shown(answer: Any) -> list[tuple[str, str]]:
    """Return who and what of each entry on a page."""
    page = unescape(answer.content.decode())
    return re.findall(r'</time></td>\s*<td class="wrap">(.*?)</td>\s*<td>(.*?)</td>', page, re.S)


def rows(answer: Any) -> list[list[str]]:
    return list(csv.reader(io.StringIO(answer.getvalue().decode())))


def made(*entries: tuple[str, str, datetime]) -> None:
    AuditEvent.objects.bulk_create([AuditEvent(actor=actor, action=action) for actor, action, _ in entries])
    # `at` is filled in by itself; the model's own queryset refuses to change it.
    for event, (_, _, at) in zip(AuditEvent.objects.order_by("pk"), entries, strict=False):
        QuerySet(AuditEvent).filter(pk=event.pk).update(at=at)


@pytest.fixture
def on_page(client: Client, admin: Any) -> Client:
    """An Admin whose own log-in is not among the entries that a test counts."""
    client.force_login(admin)
    QuerySet(AuditEvent).delete()
    return client


def day(number: int, hour: int = 12) -> datetime:
    return datetime(2026, 11, number, hour, tzinfo=UTC)


def test_shows_the_newest_first(on_page: Client) -> None:
    made(("ada", "one", day(1)), ("max", "two", day(3)), ("ada", "three", day(2)))
    assert shown(on_page.get(AUDIT)) == [("max", "two"), ("ada", "three"), ("ada", "one")]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"actor": "ada"}, ["three", "one"]),
        ({"actor": "nobody"}, []),
        ({"action": "two"}, ["two"]),
        ({"actor": "ada", "action": "two"}, []),
        ({"since": "2026-11-02"}, ["three", "two"]),
        ({"until": "2026-11-02"}, ["two", "one"]),
        ({"since": "2026-11-02", "until": "2026-11-02"}, ["two"]),
    ],
)
def test_filters_by_who_what_and_when(on_page: Client, asked: dict[str, str], found: list[str]) -> None:
    made(("ada", "one", day(1)), ("max", "two", day(2, 23)), ("ada", "three", day(3, 0)))
    if "action" in asked or found:
        assert [what for _, what in shown(on_page.get(AUDIT, asked))] == found
    assert [row[2] for row in rows(on_page.get(CSV, asked))[1:]] == found


def test_details_are_words_and_no_programming(on_page: Client) -> None:
    audit.record("smtp connected", actor="ada", changed=["port", "user_name"], checked=True, address=None, others=[])
    page = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", unescape(on_page.get(AUDIT).content.decode())))
    assert "ada smtp connected changed port, user_name · checked yes · others nothing" in page


@pytest.mark.parametrize(
    "asked", [{"action": "a\0b"}, {"actor": "a\0b"}, {"until": "9999-12-31"}, {"since": "0001-01-01"}]
)
def test_what_no_database_can_look_for_is_refused(on_page: Client, asked: dict[str, str]) -> None:
    assert on_page.get(AUDIT, asked).status_code == 422


def test_an_action_that_is_no_longer_offered_can_be_asked_for(on_page: Client) -> None:
    assert on_page.get(AUDIT, {"action": "long ago"}).status_code == 200


def test_an_impossible_filter_is_named_and_exports_nothing(on_page: Client) -> None:
    answer = on_page.get(AUDIT, {"since": "yesterday"})
    assert answer.status_code == 422
    assert "Enter a valid date." in unescape(answer.content.decode())
    assert on_page.get(CSV, {"since": "yesterday"}).status_code == 404


def test_goes_through_all_pages_without_losing_or_repeating_an_entry(on_page: Client) -> None:
    same = timezone.now() - timedelta(days=1)
    AuditEvent.objects.bulk_create([AuditEvent(actor="ada", action=f"a{number}") for number in range(120)])
    QuerySet(AuditEvent).update(at=same)
    seen: list[str] = []
    address = f"{AUDIT}?actor=ada"
    sizes = []
    while address:
        answer = on_page.get(address)
        found = [what for _, what in shown(answer)]
        sizes.append(len(found))
        seen += found
        audit.record("meanwhile", actor="max")
        link = re.search(r'href="([^"]*before=\d+)"', answer.content.decode())
        address = unescape(link[1]) if link else ""
    assert sizes == [50, 50, 20]
    assert seen == [f"a{number}" for number in reversed(range(120))]


@pytest.mark.parametrize("position", ["x", "-1", "9" * 30, "²"])
def test_an_impossible_position_is_not_found(on_page: Client, position: str) -> None:
    assert on_page.get(AUDIT, {"before": position}).status_code == 404


def test_a_page_costs_as_few_queries_as_ever(on_page: Client, django_assert_max_num_queries: Any) -> None:
    AuditEvent.objects.bulk_create([AuditEvent(actor="ada", action="same") for _ in range(2000)])
    with django_assert_max_num_queries(12):
        on_page.get(AUDIT, {"before": AuditEvent.objects.order_by("pk")[100].pk})


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " ="])
def test_no_cell_of_the_export_is_a_formula(on_page: Client, start: str) -> None:
    hostile = f'{start}HYPERLINK("http://evil.test","x")'
    audit.record(hostile[:60], actor=hostile, value=hostile)
    _, *found = rows(on_page.get(CSV))
    [row] = found
    assert (row[1], row[2]) == (f"'{hostile}", f"'{hostile[:60]}")
    assert row[3].startswith('{"value"')


def test_the_export_is_a_streamed_file_with_the_names_of_its_columns(on_page: Client) -> None:
    audit.record("smtp connected", actor="ada", changed=["port"])
    answer = on_page.get(CSV)
    assert answer.streaming
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="audit-\d{4}-\d\d-\d\d.csv"', answer["Content-Disposition"])
    head, row = rows(answer)
    assert head == ["time", "actor", "action", "details"]
    assert row[1:] == ["ada", "smtp connected", '{"changed": ["port"]}']
    assert datetime.fromisoformat(row[0])


def test_nothing_in_an_entry_is_markup(on_page: Client) -> None:
    audit.record("<script>1</script>", actor="<script>2</script>", **{"<script>3</script>": "<script>4</script>"})
    assert "<script>" not in re.sub(r"<script src=[^>]*>", "", on_page.get(AUDIT).content.decode())
