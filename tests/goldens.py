"""The mails of tests/golden: the actions of the example workflow, and a body with everything that Markdown has."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workflows import mime
from workflows.rendering import MailTemplate, RenderedMail, render

FOLDER = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parent.parent / "workflows" / "examples"
INCIDENT: dict[str, Any] = json.loads((EXAMPLES / "incident.json").read_text(encoding="utf-8"))
WORKFLOW: dict[str, Any] = json.loads((EXAMPLES / "workflows.json").read_text(encoding="utf-8"))["workflows"][0]
NOW = datetime(2026, 11, 22, 13, 30, tzinfo=UTC)
SITE = "https://rootmail.example.com"
VARIABLES = INCIDENT | {"workflow": {"name": WORKFLOW["name"], "slug": WORKFLOW["slug"]}}


def example_action(number: int) -> MailTemplate:
    params = WORKFLOW["tasks"][number]["task_params"]
    return MailTemplate(
        to=tuple(params["to"]),
        cc=tuple(params["cc"]),
        bcc=tuple(params["bcc"]),
        sender=params["from"] or "",
        reply_to=params["reply_to"] or "",
        subject=params["subject"],
        preheader=params["preheader"] or "",
        body=params["body"],
        include_header=params["include_header"],
        include_footer=params["include_footer"],
        custom_logo_url=params["custom_logo_url"] or "",
    )


def everything() -> MailTemplate:
    return MailTemplate(
        to=("Zoë Müller <zoe.mueller@example.com>", '"Desk, Incident" <desk@example.org>'),
        cc=("お客様 <customers@bücher.example>",),
        reply_to="answers@example.org",
        subject="Everything at once: Größe, 検索, تعذّر الدفع, 🔥 & <b>no HTML</b>, on more than one line of a header",
        preheader="What the list of mails shows after the subject",
        body=(FOLDER / "everything.md").read_text(encoding="utf-8"),
    )


TEMPLATES: dict[str, Callable[[], MailTemplate]] = {
    "example-1": lambda: example_action(0),
    "example-2": lambda: example_action(1),
    "everything": everything,
}
NAMES = tuple(TEMPLATES)


def rendered(name: str) -> RenderedMail:
    return render(TEMPLATES[name](), VARIABLES, now=NOW, site_url=SITE)


def built(name: str, mail: RenderedMail) -> bytes:
    return mime.build(mail, message_id=f"<{name}@rootmail.example.com>", date=NOW, delivery_id=f"delivery-{name}")


def files(name: str) -> dict[str, bytes]:
    """Return what the files of this mail have to hold."""
    mail = rendered(name)
    return {
        f"{name}.html": mail.html.encode("utf-8"),
        f"{name}.txt": mail.text.encode("utf-8"),
        f"{name}.eml": built(name, mail),
    }
