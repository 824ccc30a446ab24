"""The filters that the editor offers, each by an example whose result is computed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from . import liquid
from .liquid import Kind

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
DATA: dict[str, object] = {
    "people": [{"name": "Ada", "email": "ada@example.org"}, {"name": "Bo", "email": "bo@example.org"}],
    "started": "2026-11-22T13:02:11Z",
    "severity": {"name": "SEV1", "slug": "sev1", "notify_emails": ["lead@example.org"]},
    "teams": [["a@example.org"], ["b@example.org"]],
    "nothing": None,
}
GROUPS = {
    "Lists": """
        {{ people | map: 'name' | join: ', ' }}
        {{ people | find: 'name', 'Bo' | get: 'email' }}
        {{ people | where: 'name', 'Ada' | size }}
        {{ severity | get: 'notify_emails' | join: ', ' }}
        {{ teams | flatten | join: ', ' }}
        {{ severity.notify_emails | concat: teams | flatten | size }}
        {{ people | first | get: 'name' }}
        {{ people | last | get: 'name' }}
        {{ 'b a b' | split: ' ' | uniq | sort | join }}
        {{ 'a,b' | split: ',' | compact | reverse | join }}
        {{ people | sort: 'name' | size }}
        {{ 'b,C,a' | split: ',' | sort_natural | join: ' ' }}
        {{ people | shuffle | size }}
        {{ severity | slice: 'name', 'slug' | to_values | join: ' ' }}
        {{ severity | to_values | first }}
        {{ severity | slice: 'slug' | to_json }}
        {{ people | to_table: 'people', 'People', 'UTC', 'markdown' }}
    """,
    "Dates": """
        {{ started | date: '%d %B %Y, %H:%M' }}
        {{ started | in_time_zone: 'Europe/Berlin' | date: '%H:%M %Z' }}
        {{ '2026-11-22T14:02:11+01:00' | to_utc | date: '%H:%M' }}
        {{ started | to_iso8601 }}
        {{ started | date_add: 2, 'hours' | date: '%H:%M' }}
        {{ started | date_minus: 1, 'day' | date: '%d %b' }}
        {{ started | smart_date: 'tomorrow' | date: '%d %b' }}
        {{ started | distance_of_time_in_words_to_now }}
        {{ started | distance_of_time_in_words: '2026-11-22T13:54:00Z' }}
        {{ 3720 | distance_of_time_in_words }}
    """,
    "Text": """
        {{ nothing | default: 'not known yet' }}
        {{ 'checkout fails' | capitalize }}
        {{ 'SEV1' | downcase }}
        {{ 'sev1' | upcase }}
        {{ 'Checkout fails for card payments' | truncate: 20 }}
        {{ 'one two three' | truncatewords: 2 }}
        {{ ' a ' | strip | append: 'b' | prepend: '>' }}
        {{ 'b' | append: 'c' }}
        {{ 'b' | prepend: 'a' }}
        {{ 'a-b-c' | replace: '-', ' ' }}
        {{ 'a-b-c' | remove: '-' }}
        {{ 'a & b' | url_encode }}
        {{ '<b>x</b>' | strip_html }}
        {{ 'a & b' | escape }}
        {{ 'a &amp; b' | escape_once }}
        {{ 'one, two' | newline_to_br }}
        {{ 2.5 | round }}
        {{ 'card_payments' | humanize }}
        {{ 'card_payments' | titleize }}
        {{ 'card_payments' | camelize }}
        {{ 'card_payments' | dasherize }}
        {{ 'Card payments: EU' | parameterize }}
        {{ 'service' | pluralize }}
        {{ 'services' | singularize }}
        {{ '<p>Hi <b>all</b></p>' | html_to_markdown }}
    """,
    "Patterns": r"""
        {{ 'INC-482 open' | regex_match: '\d+' }}
        {{ 'Region: Europe' | regex_match: 'region: (.+)', 'i' | last }}
        {{ 'a1 b2' | regex_match_all: '\d' | join: ' ' }}
        {{ 'a1 b2' | regex_replace: '\d', '#' }}
        {{ 'a1 b2' | regex_replace_first: '\d', '#' }}
        {{ 'a1 b2' | regex_remove: '\d' }}
        {{ 'a1 b2' | regex_remove_first: '\d' }}
    """,
    "Conditions and loops": """
        {% if severity.slug == 'sev1' %}urgent{% else %}calm{% endif %}
        {% unless nothing %}not set{% endunless %}
        {% for person in people %}{{ person.name }} {% endfor %}
        {% case severity.slug %}{% when 'sev0', 'sev1' %}page{% else %}mail{% endcase %}
        {% assign lead = people | first %}{{ lead.name }}
    """,
}


@dataclass(frozen=True, slots=True)
class Example:
    liquid: str
    result: str


@cache
def groups() -> dict[str, list[Example]]:
    """Return the examples by group. Each is filled once, so that no result is made up."""
    return {title: [_example(line.strip()) for line in lines.strip().splitlines()] for title, lines in GROUPS.items()}


def _example(source: str) -> Example:
    filled = liquid.fill(source, kind=Kind.PLAIN, variables=DATA, now=NOW)
    return Example(source, filled.text.strip())
