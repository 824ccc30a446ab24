"""The floor: no queue, no database, no template. Ready-made bytes over one connection, by smtplib or smtp-source.

python -m bench.floor smtplib|smtp-source PORT [CA-FILE]
"""

from __future__ import annotations

import smtplib
import ssl
import subprocess
import sys
import tempfile
from email.message import EmailMessage
from pathlib import Path

from bench import calling, mails
from bench.sink import PASSWORD, USER, smtp_program

TEMPLATES = Path(__file__).parent / "peers" / "templates"
Ready = list[tuple[str, bytes]]


def made(number: int) -> bytes:
    """Return the mail of this number as bytes."""
    data = mails.data(number)
    message = EmailMessage()
    message["From"], message["To"] = mails.SENDER, mails.address(number)
    message["Subject"] = _filled("{{ incident.severity }} {{ incident.id }}: {{ incident.title }}", data)
    message["Message-ID"] = f"<{number}@example.com>"
    message.set_content(_filled((TEMPLATES / "mail.txt").read_text(), data))
    html = _filled((TEMPLATES / "mail.html").read_text(), data)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message.as_bytes().replace(b"\n", b"\r\n")


def _filled(template: str, data: dict[str, dict[str, object]]) -> str:
    for part, fields in data.items():
        for name, value in fields.items():
            template = template.replace(f"{{{{ {part}.{name} }}}}", str(value))
    return template


class OneConnection:
    """smtplib, as simple as can be."""

    def __init__(self, port: int, authority: str) -> None:
        self._session = smtplib.SMTP("127.0.0.1", port)
        if authority:
            self._session.starttls(context=ssl.create_default_context(cafile=authority))
            self._session.login(USER, PASSWORD)

    def prepare(self, first: int, count: int) -> Ready:
        return [(mails.address(number), made(number)) for number in range(first, first + count)]

    def act(self, prepared: Ready, *, batch: int) -> None:
        for recipient, content in prepared:
            self._session.sendmail(mails.SENDER, [recipient], content)


class SmtpSource:
    """Postfix's generator: the same bytes to one recipient again and again, in one session."""

    def __init__(self, port: int, authority: str) -> None:
        self._port, self._program = port, smtp_program("smtp-source") or ""

    def prepare(self, first: int, count: int) -> tuple[int, str]:
        with tempfile.NamedTemporaryFile(prefix="rootmail-bench-", delete=False) as file:
            file.write(made(first).replace(b"\r\n", b"\n"))
        return count, file.name

    def act(self, prepared: tuple[int, str], *, batch: int) -> None:
        count, file = prepared
        options = ["-d", "-s", "1", "-m", str(count), "-f", mails.SENDER, "-t", mails.address(0), "-F", file]
        subprocess.run([self._program, *options, f"inet:127.0.0.1:{self._port}"], check=True, stdout=sys.stderr)
        Path(file).unlink()


WAYS: dict[str, type[OneConnection | SmtpSource]] = {"smtplib": OneConnection, "smtp-source": SmtpSource}

if __name__ == "__main__":
    sender = WAYS[sys.argv[1]](int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "")
    calling.serve(sender.act, prepare=sender.prepare)
