"""The mail that everybody sends: personalised, text and HTML, a few kB. It knows nothing of rootmail or Django.

Each mail has a recipient of its own, which is how a sink's ledger tells whether exactly these mails came.
"""

from __future__ import annotations

from typing import Any

SENDER = "desk@example.com"
SERVICES = ("checkout", "payments", "search", "login", "invoices", "shipping", "stock")
BODY = """\
# {{ incident.severity }}: {{ incident.title }}

Hello {{ person.name }}, incident {{ incident.id }} has begun.

* Commander: {{ incident.commander }}
* Customers affected: {{ incident.customers }}

| Fact | Now |
|---|---|
| Status | {{ incident.status }} |
| Service | {{ incident.service }} |

[Follow the incident]({{ incident.url }})
"""
WORKFLOW = {
    "workflows": [
        {
            "slug": "bench", "name": "Benchmark", "enabled": True,
            "trigger_params": {
                "trigger_type": "incident", "triggers": ["incident_created"], "condition": "ALL", "conditions": []
            },
            "tasks": [
                {
                    "name": "Mail", "position": 1, "enabled": True, "skip_on_failure": False,
                    "task_params": {
                        "task_type": "send_email", "to": ["{{ person.address }}"],
                        "subject": "{{ incident.severity }} {{ incident.id }}: {{ incident.title }}", "body": BODY,
                        "include_header": False, "include_footer": False,
                    },
                }
            ],
        }
    ]
}  # fmt: skip


def address(number: int) -> str:
    return f"person-{number}@example.org"


def data(number: int) -> dict[str, Any]:
    """Return what the mail of this number is about: the data of an event, the context of a template."""
    incident = {
        "id": f"INC-{number}", "severity": f"SEV{number % 4}", "status": "investigating",
        "title": f"Payments fail in shop {number}", "service": SERVICES[number % len(SERVICES)],
        "commander": f"Ada of team {number % 30}", "customers": number * 7 % 5000,
        "url": f"https://status.example.com/incidents/{number}",
    }  # fmt: skip
    return {"incident": incident, "person": {"name": f"Person {number}", "address": address(number)}}
