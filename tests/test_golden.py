"""The finished mails, byte for byte. `WRITE_GOLDEN=1` writes them anew: read what changed before it is committed."""

from __future__ import annotations

import json
import os
import subprocess
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import html5lib
import pytest

from integrations.backends import with_sender
from integrations.senders import Sender, parse_mailbox
from tests import goldens
from tests.goldens import FOLDER, NAMES
from tests.installation import from_environment

STRICT = policy.SMTP.clone(raise_on_defect=True)
SENDER = Sender(parse_mailbox("Zoë's Desk <incidents@example.com>"))
# Read as a server that receives mail would, in JavaScript: nobody here wrote a line of it.
MAILPARSER = """
const { simpleParser } = require(process.argv[1]);
simpleParser(process.stdin).then(mail => console.log(JSON.stringify({
    subject: mail.subject, text: mail.text, html: mail.html, id: mail.messageId, date: mail.date,
    addresses: ['from', 'to', 'cc', 'bcc', 'replyTo'].map(name => mail[name] ? mail[name].value : []),
    attachments: mail.attachments.length
})));
"""
ADDRESSES: dict[str, list[list[tuple[str, str]]]] = {
    "example-1": [
        [("Zoë's Desk", "incidents@example.com")],
        [("", "checkout-team@example.com"), ("", "shop-owners@example.org"), ("", "payments-team@example.com")],
        [("", "severe@example.com"), ("", "duty-manager@example.com"), ("Zoë Müller", "zoe.mueller@example.com")],
        [],
        [],
    ],
    "example-2": [
        [("Zoë's Desk", "incidents@example.com")],
        [
            ("", "incident-leads@example.com"),
            ("", "support-desk@example.org"),
            ("", "priya.raman@example.org"),
            ("", "tomas.nunez@example.org"),
        ],
        [],
        [],
        [],
    ],
    "everything": [
        [("Zoë's Desk", "incidents@example.com")],
        [("Zoë Müller", "zoe.mueller@example.com"), ("Desk, Incident", "desk@example.org")],
        [("お客様", "customers@bücher.example")],
        [],
        [("", "answers@example.org")],
    ],
}


def sent(name: str) -> bytes:
    """Return the golden mail as it leaves: the router has put From on."""
    return with_sender((FOLDER / f"{name}.eml").read_bytes(), SENDER)


@pytest.mark.parametrize("name", NAMES)
def test_the_mail_is_the_golden_one(name: str) -> None:
    made = goldens.files(name)
    if os.environ.get("WRITE_GOLDEN"):
        for file, content in made.items():
            (FOLDER / file).write_bytes(content)
        pytest.fail(f"wrote {', '.join(made)}: look at `git diff tests/golden`, then run without WRITE_GOLDEN")
    assert {file: (FOLDER / file).read_bytes().decode() for file in made} == {
        file: content.decode() for file, content in made.items()
    }


def test_no_golden_file_is_left_over() -> None:
    expected = {f"{name}.{kind}" for name in NAMES for kind in ("html", "txt", "eml")}
    assert {path.name for path in FOLDER.iterdir()} == expected | {"everything.md", ".gitattributes"}


@pytest.mark.parametrize("name", NAMES)
def test_the_html_is_valid_for_a_strict_parser(name: str) -> None:
    html5lib.HTMLParser(strict=True).parse((FOLDER / f"{name}.html").read_text(encoding="utf-8"))


def test_the_strict_parser_would_object() -> None:
    with pytest.raises(html5lib.html5parser.ParseError):
        html5lib.HTMLParser(strict=True).parse("<!DOCTYPE html><html><body><p><b>x</p></body></html>")


@pytest.mark.parametrize("name", NAMES)
def test_the_standard_library_reads_the_mail_without_a_defect(name: str) -> None:
    message = BytesParser(EmailMessage, policy=STRICT).parsebytes(sent(name))
    for part in message.walk():
        assert not part.defects
        assert not [value.defects for value in part.values() if value.defects]
    mail = goldens.rendered(name)
    assert str(message["Subject"]) == mail.subject
    fields = [message[field] for field in ("From", "To", "Cc", "Bcc", "Reply-To")]
    found = [[(one.display_name, one.addr_spec) for one in field.addresses] if field else [] for field in fields]
    in_ascii = [[(who, to.replace("bücher", "xn--bcher-kva")) for who, to in field] for field in ADDRESSES[name]]
    assert found == in_ascii
    assert content(message, "plain") == mail.text
    assert content(message, "html") == mail.html
    assert all(len(line) <= 998 for line in sent(name).split(b"\r\n"))
    assert b"\n" not in sent(name).replace(b"\r\n", b"")


def content(message: EmailMessage, subtype: str) -> str:
    part = message.get_body((subtype,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content()).replace("\r\n", "\n").removesuffix("\n") + "\n" * (subtype == "plain")


@pytest.mark.processes
@pytest.mark.parametrize("name", NAMES)
def test_mailparser_reads_the_mail_as_we_meant_it(name: str) -> None:
    """`TEST_MAILPARSER` names the folder node_modules/mailparser of `npm install mailparser`; .ci/run sets it."""
    read = by_mailparser(sent(name), package=Path(from_environment("TEST_MAILPARSER")))
    mail = goldens.rendered(name)
    assert read["subject"] == mail.subject
    assert read["addresses"] == [[{"address": to, "name": who} for who, to in field] for field in ADDRESSES[name]]
    assert read["text"].rstrip("\n") == mail.text.rstrip("\n")
    assert read["html"].rstrip("\n") == mail.html.rstrip("\n")
    assert (read["id"], read["date"]) == (f"<{name}@rootmail.example.com>", "2026-11-22T13:30:00.000Z")
    assert read["attachments"] == 0


def by_mailparser(message: bytes, *, package: Path) -> dict[str, Any]:
    done = subprocess.run(["node", "-e", MAILPARSER, package], input=message, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found
