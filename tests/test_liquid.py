import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workflows import liquid
from workflows.liquid import Kind, TemplateError, fill
from workflows.liquid.foreign_html import CONVERTER
from workflows.liquid.shielding import to_characters, to_entities

NOW = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
EXAMPLES = Path(__file__).parent.parent / "workflows" / "examples"
EXAMPLE: dict[str, Any] = json.loads((EXAMPLES / "incident.json").read_text(encoding="utf-8"))


def filled(source: str, *, kind: Kind = Kind.PLAIN, **variables: Any) -> str:
    return fill(source, kind=kind, variables=variables, now=NOW).text


def warnings(source: str, **variables: object) -> tuple[str, ...]:
    return fill(source, kind=Kind.PLAIN, variables=variables, now=NOW).warnings


def error(source: str, **variables: Any) -> tuple[str, int | None]:
    with pytest.raises(TemplateError) as caught:
        filled(source, **variables)
    return str(caught.value), caught.value.line


@pytest.mark.parametrize(
    ("source", "kind", "text"),
    [
        (
            "{{ incident.raw_services | map: 'notify_emails' | flatten | join: ',' }}",
            Kind.LIST,
            "checkout-team@example.com,shop-owners@example.org,payments-team@example.com,shop-owners@example.org",
        ),
        (
            "{{ incident.raw_severity | get: 'notify_emails' | join: ',' }}",
            Kind.LIST,
            "severe@example.com,duty-manager@example.com",
        ),
        ("{{ incident.notify_emails }}", Kind.LIST, "incident-leads@example.com,support-desk@example.org"),
        (
            "{{ incident.severity }} - {{ incident.name }} incident has been started",
            Kind.PLAIN,
            "SEV1 - Checkout fails for card payments incident has been started",
        ),
        (
            'incident-{{ incident.started_at | date: "%Y%m%d" }}-{{ incident.slug }}',
            Kind.PLAIN,
            "incident-20261122-checkout-fails-for-card-payments",
        ),
        (
            "{% for role in incident.roles %}* {{ role.incident_role.name }}: {{ role.user.name }}\n{% endfor %}",
            Kind.BODY,
            "* Commander: Anna Kowalska\n* Communications: Kenji Sato\n* Operations: Zoë Müller\n",
        ),
        (
            "{{ incident.custom_fields | find: 'custom_field.slug', 'affected-region' | get: 'value' }}",
            Kind.PLAIN,
            "Europe, Türkiye",
        ),
    ],
)
def test_fills_what_people_write(source: str, kind: Kind, text: str) -> None:
    assert fill(source, kind=kind, variables=EXAMPLE, now=NOW) == liquid.Filled(text=text, warnings=())


def test_draws_a_timeline() -> None:
    source = "{{ incident.events | to_table: 'events', 'Timeline', 'Europe/Berlin', 'markdown' }}"
    assert fill(source, kind=Kind.BODY, variables=EXAMPLE, now=NOW).text.split("\n")[:7] == [
        "",
        "**Timeline**",
        "",
        "| Time | Event | By |",
        "| --- | --- | --- |",
        "| 2026-11-22 14:02 | Deploy 2026.11.22-3 reached production | Deploy bot |",
        "| 2026-11-22 14:05 | Alert: card authorisations \U000f003c 65 % \\| checkout-eu |  |",
    ]


def test_draws_tables_in_ascii_and_html() -> None:
    rows = [{"name": "A <b>", "notes": None}, {"name": "Bo", "notes": "x"}]
    assert filled("{{ rows | to_table: '', 'T', 'UTC', 'ascii' }}", rows=rows) == (
        "T\n"
        "+-------+-------+\n"
        "| Name  | Notes |\n"
        "+-------+-------+\n"
        "| A <b> |       |\n"
        "| Bo    | x     |\n"
        "+-------+-------+"
    )
    drawn = filled("{{ rows | to_table: '', 'T', 'UTC', 'html' }}", kind=Kind.BODY, rows=rows)
    assert to_entities(drawn) == (
        '<table class="data"><caption>T</caption><thead><tr><th>Name</th><th>Notes</th></tr></thead><tbody>'
        "<tr><td>A &lt;b&gt;</td><td></td></tr><tr><td>Bo</td><td>x</td></tr></tbody></table>"
    )


@pytest.mark.parametrize(
    ("value", "blank"),
    [
        (None, True),
        (False, True),
        ("", True),
        (" \n\t", True),
        ([], True),
        ({}, True),
        (0, False),
        ("x", False),
        ([None], False),
    ],
)
def test_knows_what_is_blank(value: object, blank: bool) -> None:
    source = "{% if v.x == blank %}blank{% endif %}{% if v.x != blank %}full{% endif %}"
    assert filled(source, v={"x": value}) == ("blank" if blank else "full")


def test_takes_what_is_missing_for_blank() -> None:
    source = "{% if v.x == blank and blank == v.x %}blank{% endif %}{% unless v.x != blank %}!{% endunless %}"
    assert filled(source, v={}) == "blank!"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ nothing | join: ',' }}", ""),
        ("{{ v.none | join: ',' }}", ""),
        ("{{ v.none | append: v.none | prepend: nil }}", ""),
        ("{{ v.names | join }}", "a  b"),
        ("{{ v.none | concat: v.names | compact | join: '+' }}", "a+b"),
        ("{{ v.none }}{{ v.yes }}{{ v.object }}", 'true{"k": "ü"}'),
        ("{{ v.names }}", "ab"),
        ("{{ v.object | to_json }} {{ nothing | to_json }}", '{"k": "ü"} null'),
        ("{{ v.object | to_values | first }}{{ v.names | last }}", "üb"),
        ("{{ v.people | map: 'user.name' | join: ',' }}", "Ann,Bo"),
        ("{{ v.people | where: 'user.name', 'Bo' | size }}", "1"),
        ("{{ v.people | get: '1.user.name' }}", "Bo"),
        ("{{ v.people | find: 'user.name', 'No' | get: 'user.name' }}", ""),
        ("{{ v.people | find: 'id', '2' | get: 'user.name' }}{{ v.people | where: 'id', '1' | size }}", "Bo1"),
        ("{{ v.people | find: 'user', '' | to_json }}", "null"),
        ("{{ v.people | size }} {{ 'four' | size }} {{ v.none | size }} {{ 5 | size }}", "2 4 0 0"),
        ("{{ v.people | first | slice: 'id' | to_json }}", '{"id": 1}'),
        ("{{ 'abcdef' | slice: 1, 3 }}", "bcd"),
        ("{{ 'a,b' | split: ',' | last }}", "b"),
        ("{{ v.people | map: 'id' | concat: v.people | uniq | size }}", "4"),
        ("{{ 'in_time_zone' | dasherize }} {{ 'Ab c, d!' | parameterize }}", "in-time-zone ab-c-d"),
        ("{{ 'in_time_zone' | camelize }} {{ 'in_time_zone' | titleize }}", "InTimeZone In Time Zone"),
        ("{{ 'author_id' | humanize }}", "Author"),
        ("{{ 'service' | pluralize }} {{ 'categories' | singularize }} {{ v.none | pluralize }}", "services category "),
        ("{{ v.people | shuffle | map: 'id' | sort | join: ',' }}{{ v.none | shuffle | join: ',' }}", "1,2"),
        ("{{ '<p>Hi <b>all</b></p><script>x()</script><ul><li>a</li></ul>' | html_to_markdown }}", "Hi **all**\n\n- a"),
        (r"{{ 'SEV1: x  y' | regex_replace: '\s+', ' ' | regex_match: 'SEV\d' }}", "SEV1"),
        (r"{{ 'a1b2' | regex_replace: '([a-z])(\d)', '\2\1' }}", "1a2b"),
        ("{{ 'abc' | replace: '', 'x' }}", "abc"),
        ("{{ 'a &amp; <b>' | escape_once }} {{ 'a &amp; <b>' | escape }}", "a &amp; &lt;b&gt; a &amp;amp; &lt;b&gt;"),
    ],
)
def test_filters(source: str, text: str) -> None:
    people = [{"id": 1, "user": {"name": "Ann"}}, {"id": 2, "user": {"name": "Bo"}}]
    v = {"none": None, "yes": True, "names": ["a", None, "b"], "object": {"k": "ü"}, "people": people}
    assert filled(source, v=v) == text


ALERT = "Alert\nSeverity: high\nHost: db-2 (0xFf)\n"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ v | regex_match: '^Severity: .+$' }}", "Severity: high"),
        ("{{ v | regex_match: 'SEVERITY', 'i' }}{{ v | regex_match: 'SEVERITY' }}", "Severity"),
        ("{{ v | regex_match: 'alert.severity', 'im' | size }}", "1"),
        ("{{ v | regex_match: ' h i g h ', 'x' }}", "high"),
        ("{{ v | regex_match: '(?<key>Host): (?<name>\\S+)' | last }}", "db-2"),
        ("{{ v | regex_match: '(?<=0x)\\h+' }} {{ v | regex_match: '[x\\h]{4}' }}", "Ff 0xFf"),
        ("{{ 'ab\nab' | regex_replace: 'b\\z', '!' }}", "ab\na!"),
        ("{{ v | regex_match: '[(?<a]+' }} {{ 'a\\h' | regex_match: 'a\\\\h' }}", "( a\\h"),
        ("{{ v | regex_replace: '^', '> ' | regex_match: '> H.*' }}", "> Host: db-2 (0xFf)"),
        ("{{ v | regex_match_all: 'H', 'i' | join: ',' }}", "h,h,H"),
        (
            "{% assign m = v | regex_match: '(\\w+): (high)' %}{{ m }}|{{ m[1] }}|{{ m.last }}|{{ m.size }}",
            "M|Severity|high|3",
        ),
        (
            "{% assign m = v | regex_match: '(\\w+): (high)' %}{% for part in m %}{{ part }},{% endfor %}",
            "M,Severity,high,",
        ),
        ("{% assign m = v | regex_match: '(\\w+): (high)' %}{{ m | first }}|{{ m | join: ',' }}", "M|M,Severity,high"),
        (
            "{% assign m = v|regex_match: 'h(ig)h' %}{% if m == 'high' and m contains 'gh' %}{{ m|upcase }}{% endif %}",
            "HIGH",
        ),
        ("{{ v | regex_match: 'h(x)?igh' | size }} {{ v | regex_match: 'nothing' | last }}", "2 "),
    ],
)
def test_patterns_are_those_of_ruby(source: str, text: str) -> None:
    assert filled(source, v=ALERT) == text.replace("M", "Severity: high")


def test_a_flag_that_nobody_knows_is_an_error() -> None:
    assert error("{{ 'x' | regex_match: 'x', 'q' }}") == ('a pattern knows the flags i, m and x, not "q"', 1)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ v.items | sort: 'due' | map: 'id' | join: ',' }}", "3,1,2,4"),
        ("{{ v.items | sort: 'owner.name' | map: 'id' | join: ',' }}", "2,1,3,4"),
        ("{{ v.items | sort_natural: 'due' | map: 'id' | join: ',' }}", "3,1,2,4"),
        ("{{ v.items | sort: 'mixed' | map: 'id' | join: ',' }}", "2,1,3,4"),
        ("{{ v.letters | sort | join: ',' }} {{ v.letters | sort_natural | join: ',' }}", "C,a,b, a,b,C,"),
        ("{{ v.numbers | sort | join: ',' }} {{ v.void | sort | size }} {{ 'x' | sort | join }}", "2,10, 0 x"),
        ("{% if v.number contains '4' or v.yes contains 'true' or v.void contains 'x' %}!{% endif %}", ""),
        ("{% if v.object contains v.letters or v.object contains 'b' %}!{% endif %}", ""),
        ("{% if v.object contains 'a' and v.letters contains 'b' and 'x42' contains v.number %}!{% endif %}", "!"),
        ("{% case v.void %}{% when blank %}blank{% else %}full{% endcase %}", "blank"),
        ("{% case v.none %}{% when 'x', '', blank %}blank{% else %}full{% endcase %}", "blank"),
        ("{% case v.number %}{% when blank %}blank{% when 42 %}full{% endcase %}", "full"),
        ("{% case 'x' %}{% when 'y' %}y{% when nil or 'x' %}x{% endcase %}", "x"),
        ("{% for n in v.numbers limit: v.void offset: v.missing %}{{ n }},{% endfor %}", "10,,2,"),
        ("{% for n in v.numbers limit: v.missing offset: v.void %}{{ n }},{% endfor %}", "10,,2,"),
        (
            "{{ 2.5 | round }} {{ 3.5 | round }} {{ -2.5 | round }} {{ '0.5' | round }} {{ v.void | round }}",
            "3 4 -3 1 0",
        ),
        (
            "{{ 1.005 | round: 2 }} {{ 7 | round: 2 }} {{ 2.5 | round: v.void }} {{ '1e30' | round: 3 }}",
            "1.01 7 3 1e+30",
        ),
    ],
)
def test_nothing_and_mixed_things_do_no_harm(source: str, text: str) -> None:
    items = [
        {"id": 1, "due": "2026-02-01", "owner": {"name": "Bo"}, "mixed": 9},
        {"id": 2, "due": None, "owner": {"name": "Ann"}, "mixed": "10"},
        {"id": 3, "due": "2026-01-01", "mixed": "a"},
        {"id": 4, "mixed": None},
    ]
    simple = {"void": None, "none": "", "number": 42, "yes": True, "object": {"a": 1}}
    assert (
        filled(source, v={"items": items, "letters": ["b", None, "a", "C"], "numbers": [10, None, 2], **simple}) == text
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ '2026-11-22T14:02:11+01:00' | date: '%Y-%m-%d %H:%M %z' }}", "2026-11-22 14:02 +0100"),
        ("{{ '2026-11-22T13:02:11.250Z' | date: '%-d %b %L %:z %s %P %%' }}", "22 Nov 250 +00:00 1795352531 pm %"),
        ("{{ '2026-11-22 13:02:11 UTC' | to_iso8601 }}", "2026-11-22T13:02:11Z"),
        ("{{ 'now' | date: '%F' }} {{ 'today' | date: '%H:%M' }}", "2026-11-22 13:30"),
        ("{{ 1795352531 | date: '%F' }}", "2026-11-22"),
        ("{{ 'soon' | date: '%F' }}{{ nil | date: '%F' }}", "soon"),
        ("{{ 'now' | in_time_zone: 'Asia/Tokyo' }}", "2026-11-22 22:30:00 +0900"),
        ("{{ '2026-07-01T12:00:00Z' | in_time_zone: 'Europe/Berlin' | date: '%H:%M %Z' }}", "14:00 CEST"),
        ("{{ '2026-11-22T14:02:11+01:00' | to_utc }}", "2026-11-22 13:02:11 +0000"),
        ("{{ '2026-01-31' | date_add: 1, 'month' | date: '%F' }}", "2026-02-28"),
        ("{{ 'now' | date_add: 2, 'hours' | date: '%H:%M' }}", "15:30"),
        ("{{ 'now' | date_minus: 1, 'year' | date: '%F' }}", "2025-11-22"),
        ("{{ 'now' | smart_date: 'tomorrow' }}", "2026-11-23 12:00:00 +0000"),
        ("{{ 'now' | smart_date: 'next friday' | date: '%F' }}", "2026-11-27"),
        ("{{ '2026-11-22T13:00:00Z' | distance_of_time_in_words: 'now' }}", "30 minutes"),
        ("{{ '2026-11-22T10:00:00Z' | distance_of_time_in_words_to_now }}", "about 4 hours"),
        ("{{ '2026-11-22T10:00:00Z' | distance_of_time_in_words_to_now: 'precise' }}", "about 4 hours"),
        (
            "{{ 3720 | distance_of_time_in_words }} {{ 3720 | distance_of_time_in_words: 0, 'precise' }}",
            "about 1 hour about 1 hour",
        ),
        ("{{ 1795352400 | distance_of_time_in_words: 'now' }}", "30 minutes"),
        ("{{ '2024-01-01' | distance_of_time_in_words: '2026-12-01' }}", "almost 3 years"),
    ],
)
def test_dates(source: str, text: str) -> None:
    assert filled(source) == text


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Mar 2, 2026, 9:15 PM", "2026-03-02T21:15:00Z"),
        ("Monday, March 2nd, 2026 at 9:15 pm", "2026-03-02T21:15:00Z"),
        ("2 Mar 2026", "2026-03-02T00:00:00Z"),
        ("Mon Mar  2 21:15:00 PST 2026", "2026-03-02T21:15:00-08:00"),
        ("02-Mar-2026 21:15", "2026-03-02T21:15:00Z"),
        ("2026/03/02 9:15 PM", "2026-03-02T21:15:00Z"),
        ("2026-03-02T21:15:00 EDT", "2026-03-02T21:15:00-04:00"),
        ("Mon, 02 Mar 2026 21:15:00 +01:00", "2026-03-02T21:15:00+01:00"),
        ("Mon Mar 02 2026 21:15:00 GMT+0100", "2026-03-02T21:15:00+01:00"),
        ("Mon, 02 Mar 2026 21:15:00 +0100 (CET)", "2026-03-02T21:15:00+01:00"),
        ("2 Mar 26 21:15 EST", "2026-03-02T21:15:00-05:00"),
    ],
)
def test_reads_dates_in_words(text: str, read: str) -> None:
    assert filled("{{ v | to_iso8601 }}", v=text) == read


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 2 Mar 2026 21:15:00 CET",
        "Mar 2, 2026 9:15 PM ET",
        "3/2/2026 9:15 PM",
        "2026-13-01",
        "March 2026",
        "Tuesday, March 2026",
        "Feb 30, 2026",
        "Mar 2 2026 2027",
        "Mar 2, 2026 13:15 PM",
        "Deploy of May 2 2026",
        "Mon, 2 Mar 2026 21:15:00 +9900",
        "Mar 2, 2026 " + "," * 60,
    ],
)
def test_what_is_not_clearly_a_date_stays_as_it_is(text: str) -> None:
    assert filled("{{ v | date: '%F %H:%M' }}", v=text) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ now | in_time_zone: 'Asia/Tokyo' }}", "2026-11-22 22:30:00 +0900"),
        ("{{ now }} {{ today }}", "2026-11-22 13:30:00 +0000 2026-11-22"),
        ("{{ now | date: '%H:%M %z' }} {{ today | date: '%d %b' }}", "13:30 +0000 22 Nov"),
    ],
)
def test_now_and_today_without_quotes_are_the_time_of_the_run(source: str, text: str) -> None:
    assert filled(source) == text


def test_a_now_of_the_event_goes_before_the_time_of_the_run() -> None:
    assert filled("{{ now }}", now="mine") == "mine"


@pytest.mark.parametrize("number", [1772442000456000000, 1772442000123, 10**40, float("nan"), float("inf")])
@pytest.mark.parametrize("filter_", ["date: '%F'", "to_iso8601", "to_utc", "date_add: 1, 'day'", "in_time_zone: 'UTC'"])
def test_a_number_that_is_no_time_stays_as_it_is(number: float, filter_: str) -> None:
    assert filled("{{ n | " + filter_ + " }}", n=number) == str(number)


@pytest.mark.parametrize(
    "source",
    [
        "{{ v | in_time_zone: 'America/New_York' }}",
        "{{ v | date_minus: 1, 'day' }}",
        "{{ v | date_minus: 1, 'month' }}",
        "{{ v | date_add: 9999, 'years' }}",
        "{{ v | date_add: 99999999999, 'weeks' }}",
        "{{ v | smart_date: 'yesterday' }}",
    ],
)
def test_a_date_never_leaves_the_calendar(source: str) -> None:
    assert filled(source, v="0001-01-01T00:00:00Z") == "0001-01-01T00:00:00Z"


def test_a_table_shows_what_is_no_time_as_it_is() -> None:
    rows = [{"created_at": 1772442000456000000}, {"created_at": "0001-01-01T00:00:00Z"}, {"created_at": 1795352531}]
    drawn = filled("{{ rows | to_table: '', '', 'America/New_York' }}", rows=rows)
    assert drawn.split("\n")[3:6] == ["| 1772442000456000000 |", "| 0001-01-01T00:00:00Z |", "| 2026-11-22 08:02 |"]


def test_whatever_a_filter_raises_is_an_error_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(_: str) -> str:
        raise AssertionError("a parser that gives up")

    monkeypatch.setattr(CONVERTER, "convert", convert)
    assert error("{{ v | html_to_markdown }}", v="x") == ("a parser that gives up", 1)


@pytest.mark.parametrize(
    ("source", "message", "line"),
    [
        ("a\n{{ x | foo }}", 'unknown filter "foo"', 2),
        ("a\n\n{% foo %}", 'unknown tag "foo"', 3),
        ("{% include 'secrets' %}", 'unknown tag "include"', 1),
        ("{% render 'secrets' %}", 'unknown tag "render"', 1),
        ("{{ x | safe }}", 'unknown filter "safe"', 1),
        ("{{ 'now' | in_time_zone: 'Mars/Base' }}", 'unknown time zone "Mars/Base"', 1),
        ("\n{{ 'now' | date_add: 1, 'moon' }}", 'unknown unit "moon"', 2),
        ("a\n{% if x %}b\n{% if y %}{% endif %}", "endif is missing", 2),
        ("a\n\n{%- for a in b %}\n", "endfor is missing", 3),
        ("{{ (1..100000000) | join: 'x' }}", "a range may have 10000 numbers", 1),
        ("{% for i in (1..100000000) reversed %}{% endfor %}", "a range may have 10000 numbers", 1),
        ("{% assign r = (1..99999999999999999999999) %}", "a range may have 10000 numbers", 1),
    ],
)
def test_an_error_names_the_line_and_the_culprit(source: str, message: str, line: int) -> None:
    assert error(source) == (message, line)


@pytest.mark.parametrize(
    "source",
    [
        "{% if x %}",
        "{{ x",
        "{% for %}{% endfor %}",
        "{{ [[[[ }}",
        "{{ " + "[" * 5000 + " }}",
        "{% if " + " and ".join(["x"] * 5000) + " %}{% endif %}",
        "{% if x %}" * 50 + "{% endif %}" * 50,
        "x" * 100_001 + "{{ x }}",
        "{% for i in (1..200) %}{% for j in (1..200) %}{% endfor %}{% endfor %}",
        "{% assign s = 'x' %}" + "{% assign s = s | append: s %}" * 40 + "{{ s }}",
        "{% assign n = 9999999999 %}" + "{% assign n = n | times: n %}" * 12 + "{{ n }}",
        "{% assign x = 99999 %}{% for i in (1..18) %}{% assign x = x | times: x %}{% endfor %}"
        "{% assign y = x | times: x %}{{ y | modulo: x }}",
        "{% assign s = 'xxxxxxxxxx' %}" + "{% assign s = s | replace: 'x', s %}" * 9 + "{{ s }}",
        "{% for i in (1..9000) %}" + "x" * 100 + "{% endfor %}",
    ],
)
def test_wrong_or_greedy_templates_end_soon_with_an_error(source: str) -> None:
    started = time.monotonic()
    error(source)
    assert time.monotonic() - started < 30, "without the limits it takes minutes"


def test_a_number_of_thousands_of_digits_is_refused_before_it_is_reckoned_with() -> None:
    assert filled("{{ n | modulo: 7 }}", n=10**3000) == "1"
    assert "a number has thousands of digits" in error("{{ 1 | times: n }}", n=10**4000)


def test_stops_at_the_deadline() -> None:
    with pytest.raises(TemplateError, match="took longer than 2 seconds"):
        fill("{{ x }}", kind=Kind.PLAIN, variables={}, now=NOW, deadline=time.monotonic() - 1)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", "a?" * 30 + "a" * 30, ".*" * 8 + "x", r"(.*)\1\1x"]
)
def test_a_pattern_that_could_run_for_ever_is_not_used(pattern: str) -> None:
    value = "a" * 2000
    assert filled("{{ v | regex_replace: p, '' }}", v=value, p=pattern) == value
    assert warnings("{{ v | regex_match: p }}", v=value, p=pattern) != ()


def test_a_value_is_written_before_the_deadline_or_not_at_all() -> None:
    with pytest.raises(liquid.TemplateError, match="took longer"):
        fill("{{ v.a }}", kind=Kind.PLAIN, variables={"v": {"a": "x"}}, now=NOW, deadline=time.monotonic() - 1)


def test_lists_what_the_event_does_not_have() -> None:
    noted = "{{ v.a }}{{ v.b | upcase }}{% for x in v.e %}{% endfor %}"
    not_noted = "{{ v.c | default: 'x' }}{% if v.d %}{% endif %}{{ v.f }}"
    assert warnings(noted + not_noted, v={"f": None}) == (
        "v.a is not in this event",
        "v.b is not in this event",
        "v.e is not in this event",
    )


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ d.a }} {{ d.b.c }} {{ d.n }}.", "1 2 ."),
        ("{{ d.size }} {{ e.size }} {{ l.size }} {{ s.size }}", "3 7 2 4"),
        ("{{ l.first.a }} {{ l.last.a }} {{ d.first }}", "5 6 a1"),
        ("{% for d in l %}{{ d.a }}{% endfor %}{{ d.a }}", "561"),
        ("{% assign d = e %}{{ d.size }}{{ d.a }}.", "7."),
        ("{% capture d %}x{% endcapture %}{{ d }}{{ d.a }}", "x"),
        ("{{ s.a }}{{ d.a.x }}{{ d.missing.x }}{{ missing }}.", "."),
    ],
)
def test_names_mean_the_same_wherever_they_stand(source: str, text: str) -> None:
    values = {"d": {"a": 1, "b": {"c": 2}, "n": None}, "e": {"size": 7}, "l": [{"a": 5}, {"a": 6}], "s": "four"}
    assert filled(source, **values) == text
    with_filter = re.sub(r" }}", " | prepend: '' }}", source)  # the long way, for the same
    assert filled(with_filter.replace("d.first | prepend: ''", "d.first"), **values) == text


class Treasure:
    secret = "password"

    def __getitem__(self, key: str) -> str:
        return self.secret


@pytest.mark.parametrize(
    "source",
    ["{{ v.secret }}", "{{ v['secret'] }}", "{{ v | get: 'secret' }}", "{{ v | map: 'secret' }}", "{{ s.__class__ }}"],
)
def test_reads_data_and_never_the_attributes_of_python_objects(source: str) -> None:
    assert filled(source, v=Treasure(), s="x") == ""


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("<i>{{ v }}</i>", '<i>&lt;b title="x">&amp;lt;</i>'),
        ("{% capture c %}<i>{{ v }}</i>{% endcapture %}{{ c }}", '<i>&lt;b title="x">&amp;lt;</i>'),
        ("{% assign c = '<hr>' %}{{ c }}{{ c | append: v }}", '<hr>&lt;hr>&lt;b title="x">&amp;lt;'),
        ("{{ l | join: '<br>' }}", "&lt;p><br>&amp;"),
        ("{{ l | last | newline_to_br }}", "&amp;"),
        ("{{ v | escape }}", '&lt;b title="x">&amp;lt;'),
        ("{% echo v %}{% cycle v %}", '&lt;b title="x">&amp;lt;' * 2),
        ("{% liquid echo v %}", '&lt;b title="x">&amp;lt;'),
        ("{% ifchanged %}<i>{{ v }}</i>{% endifchanged %}", '<i>&lt;b title="x">&amp;lt;</i>'),
        ("<p title='{{ v }}'>", "<p title='&lt;b&#32;title&#61;&quot;x&quot;&gt;&amp;lt;'>"),
        ("<p title='>{{ v }}'>", "<p title='>&lt;b&#32;title&#61;&quot;x&quot;&gt;&amp;lt;'>"),
        ("<p {% ifchanged %}{{ v }}{% endifchanged %}>", "<p &lt;b&#32;title&#61;&quot;x&quot;&gt;&amp;lt;>"),
        (
            "{% capture c %}{{ v }}{% endcapture %}<p title='{{ c }}'>",
            "<p title='&lt;b&#32;title&#61;&quot;x&quot;&gt;&amp;lt;'>",
        ),
        ("<{{ w }} {{ w }}>", "<&#98; b>"),
        ("<{{ u }}>", "<https://example.org/?a&#61;1&amp;b&#61;2>"),
        ("1 < 2 {{ v }}", '1 < 2 &lt;b title="x">&amp;lt;'),
    ],
)
def test_in_a_body_values_are_text_and_the_markup_of_the_author_is_markup(source: str, html: str) -> None:
    values = {"v": '<b title="x">&lt;', "l": ["<p>", "&"], "w": "b", "u": "https://example.org/?a=1&b=2"}
    assert to_entities(filled(source, kind=Kind.BODY, **values)) == html


BOLD = "&lt;b>x&lt;/b>"
JOINED = "{% assign j = l | join: ', ' %}"
CAPTURED = "{% capture c %}{{ v }}{% endcapture %}"


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("{{ l | join: ', ' | url_encode }}", "%3Cb%3Ex%3C%2Fb%3E%2C+R%26D"),
        ("{{ l | join: ', ' | replace: '&', ' and ' }}", f"{BOLD}, R and D"),
        ("{{ l | join: '<br>' | upcase }}", "&lt;B>X&lt;/B>&lt;BR>R&amp;D"),
        ("{{ l | join: ',' | split: ',' | join: '<br>' }}", f"{BOLD}<br>R&amp;D"),
        (JOINED + "{% if j contains 'R&D' and j contains l[0] %}{{ j }}{% endif %}", f"{BOLD}, R&amp;D"),
        (JOINED + "{% if j == '<b>x</b>, R&D' and '<b>x</b>, R&D' == j %}{{ j }}{% endif %}", f"{BOLD}, R&amp;D"),
        (JOINED + "{% if j != '<b>x</b>, R&D' %}!{% endif %}", ""),
        (JOINED + "{% case j %}{% when '<b>x</b>, R&D' %}{{ j }}{% endcase %}", f"{BOLD}, R&amp;D"),
        (
            JOINED + "{% assign k = j | split: ', ' %}{% if k contains 'R&D' and k[0] == l[0] %}{{ k[0] }}{% endif %}",
            BOLD,
        ),
        (CAPTURED + "{{ c | url_encode }}", "%3Cb%3Ex%3C%2Fb%3E"),
        (CAPTURED + "{{ c | append: v | prepend: c }}", BOLD * 3),
        (CAPTURED + "{{ 'x' | append: c }}{{ c | size }}", f"x{BOLD}8"),
        (CAPTURED + "{{ c | escape }}{{ c | escape_once }}{{ c | strip_html }}", f"{BOLD}{BOLD}x"),
        (CAPTURED + "{{ c | regex_replace: 'x', '<hr>' }}", "&lt;b>&lt;hr>&lt;/b>"),
        ("{% capture c %}<i>{{ v }}</i>{% endcapture %}{{ c | default: '-' }}", f"<i>{BOLD}</i>"),
        ("{% capture c %}<i>{{ v }}</i>{% endcapture %}{{ l | concat: c | last }}", f"<i>{BOLD}</i>"),
        ("{% capture c %}<i>{{ v }}</i>{% endcapture %}{{ c | upcase }}", "&lt;I>&lt;B>X&lt;/B>&lt;/I>"),
        ("{% capture c %}<p title='{{ q }}'>{% endcapture %}{{ c | upcase }}", "&lt;P TITLE='\">&lt;B>'>"),
        ("{% capture c %}{{ q }}{% endcapture %}<p title='{{ c | upcase }}'>", "<p title='&quot;&gt;&lt;B&gt;'>"),
        ("{{ v | newline_to_br | append: v }}{{ v | newline_to_br | newline_to_br }}", BOLD * 3),
        ("{{ s | append: s }}{{ s | upcase }}", "&lt;b>&lt;b>&lt;B>"),
    ],
)
def test_filters_and_comparisons_in_a_body_see_the_values_themselves(source: str, html: str) -> None:
    values = {"v": "<b>x</b>", "l": ["<b>x</b>", "R&D"], "q": '"><b>', "s": "\U000f003cb>"}
    assert to_entities(filled(source, kind=Kind.BODY, **values)) == html


def test_shielded_values_come_back_as_they_were() -> None:
    value = "<a href='x'>&amp;</a> \"'`=\\\n"
    assert to_characters(filled("{{ v }}<p {{ v }}>", kind=Kind.BODY, v=value)) == f"{value}<p {value}>"
