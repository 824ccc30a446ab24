"""Templates as people write them, each with what its author means."""

from __future__ import annotations

from typing import Any

import pytest

from tests import goldens
from workflows.rendering import MailTemplate, RenderedMail, render

EVENTS = "{{ incident.events | to_table: 'events', 'Timeline', 'Europe/Berlin', 'markdown' }}"
ROLES = "{% for role in incident.roles %}* {{ role.incident_role.name }}: {{ role.user.name }}{% endfor %}"


def mail(**fields: Any) -> RenderedMail:
    template = MailTemplate(**({"to": ("a@example.org",), "include_header": False, "include_footer": False} | fields))
    return render(template, goldens.VARIABLES, now=goldens.NOW, site_url=goldens.SITE)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            "{{ incident.raw_services | map: 'notify_emails' | flatten | join: ',' }}",
            ("checkout-team@example.com", "shop-owners@example.org", "payments-team@example.com"),
        ),
        (
            "{{ incident.raw_severity | get: 'notify_emails' | join: ',' }}",
            ("severe@example.com", "duty-manager@example.com"),
        ),
        ("{{ incident.notify_emails }}", ("incident-leads@example.com", "support-desk@example.org")),
    ],
)
@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_recipients(field: str, written: str, meant: tuple[str, ...]) -> None:
    found = mail(**{"to": (), field: (written,)})
    assert (getattr(found, field), found.warnings) == (meant, ())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (
            "{{ incident.severity }} - {{ incident.name }} incident has been started",
            "SEV1 - Checkout fails for card payments incident has been started",
        ),
        (
            'incident-{{ incident.started_at | date: "%Y%m%d" }}-{{ incident.slug }}',
            "incident-20261122-checkout-fails-for-card-payments",
        ),
    ],
)
def test_subjects(written: str, meant: str) -> None:
    found = mail(subject=written)
    assert (found.subject, found.warnings) == (meant, ())


@pytest.mark.parametrize(
    ("written", "text", "html"),
    [
        (
            ROLES,
            "- Commander: Anna Kowalska\n- Communications: Kenji Sato\n- Operations: Zoë Müller\n",
            [">Commander: Anna Kowalska</li>", ">Operations: Zoë Müller</li>"],
        ),
        (
            EVENTS,
            "Timeline\n\n"
            "Time              Event                                            By\n"
            "----------------  -----------------------------------------------  -------------\n"
            "2026-11-22 14:02  Deploy 2026.11.22-3 reached production           Deploy bot\n"
            "2026-11-22 14:05  Alert: card authorisations < 65 % | checkout-eu\n"
            "2026-11-22 14:06  Zoë Müller declared the incident as SEV1         Zoë Müller\n"
            "2026-11-22 14:19  Rollback to 2026.11.22-2 started                 Anna Kowalska\n",
            [">Alert: card authorisations &lt; 65 % | checkout-eu</td>", "<strong>Timeline</strong>"],
        ),
    ],
)
def test_bodies(written: str, text: str, html: list[str]) -> None:
    found = mail(body=written)
    assert (found.text, found.warnings) == (text, ())
    assert [piece for piece in html if piece not in found.html] == []


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("{% for n in (1..3) %}- {{ n }}{% endfor %}", "- 1\n- 2\n- 3\n"),
        ("a\n\n  {%- for n in (1..3) %}\n* {{ n }}{% endfor %}", "a\n\n- 1\n- 2\n- 3\n"),
        ("a\n\n{% for n in (1..2) %}{{ n }}. b{% endfor %}", "a\n\n1. b2. b\n"),
        ("a\n\n{% for n in (1..2) %}1. {{ n }}{% endfor %}\n\nb", "a\n\n1. 1\n2. 2\n\nb\n"),
        ("{% for n in (1..2) %}* {{ n }}{% for m in (1..2) %}{{ m }}{% endfor %}{% endfor %}", "- 112\n- 212\n"),
        ("Rows: {% for n in (1..3) %}- {{ n }} {% endfor %}", "Rows: - 1 - 2 - 3\n"),
        ("{% for n in (1..3) %}*{{ n }}* {% endfor %}", "1 2 3\n"),
    ],
)
def test_a_loop_that_writes_items_makes_a_list_also_where_it_ends_no_line(written: str, text: str) -> None:
    assert mail(body=written).text == text


def test_a_subject_stays_as_it_is_written() -> None:
    assert mail(subject="{% for n in (1..2) %}- {{ n }} {% endfor %}").subject == "- 1 - 2"
