"""The SMTP transport against a real Postfix with Cyrus SASL: what it accepts, refuses, and counts.

Postfix's own Maildir and log are believed, not our receipts. `UPDATE_DOCS=1` writes the matrix into
docs/integrations.md; otherwise the document has to hold it already.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from integrations.transports.base import Receipt, Reply, Scope, Stage, Submission, TransportError
from integrations.transports.smtp import SmtpSettings, SmtpTransport, TlsMode

from .installation import ROOT, from_environment
from .postfix_server import (
    EXPIRED,
    MAILBOXES,
    PASSWORD,
    SELF_SIGNED,
    SERVICES,
    SMALL_LIMIT,
    USER,
    WRONG_HOST,
    Arrived,
    Postfix,
    issuer_of,
)

DOCUMENT = ROOT / "docs" / "integrations.md"
BEGIN, END = "<!-- matrix -->\n", "<!-- /matrix -->\n"
WRONG = "wrong horse"
MECHANISMS = {"plain": "PLAIN", "login": "LOGIN", "cram_md5": "CRAM-MD5"}
EVERY = tuple(MECHANISMS)
NONE, PEER, PEER_WITH_CA = "None", "Peer", "Peer, with the CA"

CLEAR, AUTO, FORCED, SSL = (
    TlsMode.CLEARTEXT,
    TlsMode.STARTTLS_OPPORTUNISTIC,
    TlsMode.STARTTLS_REQUIRED,
    TlsMode.IMPLICIT,
)
SWITCHES: dict[TlsMode, dict[str, Any]] = {
    CLEAR: {"ssl": False, "starttls_auto": False},
    AUTO: {"ssl": False, "starttls_auto": True},
    FORCED: {"ssl": False, "starttls": True},
    SSL: {"ssl": True},
}


@pytest.fixture
def postfix() -> Iterator[Postfix]:
    program = from_environment("TEST_POSTFIX")
    if os.geteuid() != 0:
        pytest.skip("Postfix can only be started by root")
    with Postfix(program) as server:
        yield server


def settings_for(postfix: Postfix, service: str, mode: TlsMode = CLEAR, **changes: Any) -> SmtpSettings:
    usual: dict[str, Any] = {"host": "localhost", "port": postfix.ports[service], "domain": "me.test"}
    usual |= {"username": USER, "password": PASSWORD, "allow_clear_text_auth": True}
    return SmtpSettings(**{**usual, **SWITCHES[mode], **changes})


def send(settings: SmtpSettings, submission: Submission) -> Receipt:
    transport = SmtpTransport(settings)
    try:
        return transport.send(submission)
    finally:
        transport.close()


def fail(settings: SmtpSettings, submission: Submission) -> TransportError:
    with pytest.raises(TransportError) as caught:
        send(settings, submission)
    return caught.value


def mail(*recipients: str, number: int = 1, body: str = "Hello") -> Submission:
    head = f"From: me@me.test\r\nMessage-ID: <{number}@me.test>\r\nSubject: Number {number}\r\n"
    head += "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    return Submission("me@me.test", recipients or ("desk@x.test",), f"{head}\r\n{body}\r\n".encode())


def as_arrived(submission: Submission, *, tls: str = "") -> list[Arrived]:
    """Return what has to lie in the Maildir, where no recipient was refused."""
    names = sorted(submission.recipients)
    return [Arrived(submission.content, submission.sender, name, tls) for name in names]


# The matrix


@dataclass(frozen=True)
class Row:
    """One way to send, by one form, to one port."""

    service: str
    mode: TlsMode
    mechanism: str = "plain"  # empty: no username
    verify: str = NONE
    allowed: bool = False
    password: str = PASSWORD
    seconds: float = 20

    @property
    def cells(self) -> list[str]:
        service = SERVICES[self.service]
        mode = self.mode.label.partition(":")[0]
        return [service.offers, service.certificate, mode, self.verify if service.certificate else "", self.credentials]

    @property
    def credentials(self) -> str:
        words = [MECHANISMS.get(self.mechanism, "no username")]
        words += ["allowed without TLS"] if self.allowed else []
        words += ["wrong password"] if self.password == WRONG else []
        return ", ".join(words)

    def settings(self, postfix: Postfix) -> SmtpSettings:
        changes: dict[str, Any] = {"allow_clear_text_auth": self.allowed, "reply_seconds": self.seconds}
        changes |= {"username": USER if self.mechanism else "", "password": self.password}
        changes |= {"authentication": self.mechanism or "plain", "verify": "none" if self.verify == NONE else "peer"}
        if self.verify == PEER_WITH_CA:
            changes["ca_certificates"] = issuer_of(SERVICES[self.service].certificate)
        return settings_for(postfix, self.service, self.mode, **changes)


def rows() -> list[Row]:
    return [*without_tls(), *with_starttls(), *only_after_tls(), *with_ssl(), *without_auth(), *with_bad_certificates()]


def every(row: Row) -> list[Row]:
    return [replace(row, mechanism=mechanism) for mechanism in EVERY]


def without_tls() -> list[Row]:
    clear = Row("clear", CLEAR)
    return [
        *every(clear),
        *every(Row("clear", AUTO)),
        replace(clear, allowed=True),
        replace(clear, allowed=True, mechanism="login"),
        Row("clear", AUTO, allowed=True),
        replace(clear, allowed=True, password=WRONG),
        replace(clear, mechanism="cram_md5", password=WRONG),
        Row("clear", CLEAR, mechanism=""),
        Row("clear", FORCED, allowed=True),
        Row("clear", FORCED, "cram_md5"),
        Row("clear", SSL, allowed=True),
    ]


def with_starttls() -> list[Row]:
    return [
        *every(Row("starttls", CLEAR)),
        Row("starttls", CLEAR, allowed=True),
        *every(Row("starttls", AUTO)),
        Row("starttls", FORCED),
        Row("starttls", AUTO, verify=PEER, allowed=True),
        Row("starttls", AUTO, verify=PEER_WITH_CA),
        Row("starttls", FORCED, verify=PEER),
        *every(Row("starttls", FORCED, verify=PEER_WITH_CA)),
        Row("starttls", FORCED, password=WRONG),
        Row("starttls", SSL),
    ]


def only_after_tls() -> list[Row]:
    return [
        Row("auth after tls", CLEAR, allowed=True),
        Row("auth after tls", CLEAR, "cram_md5"),
        *every(Row("auth after tls", AUTO)),
        Row("auth after tls", FORCED, "cram_md5", verify=PEER_WITH_CA),
        Row("tls required", CLEAR, "cram_md5"),
        Row("tls required", CLEAR, mechanism=""),
        Row("tls required", AUTO),
        Row("tls required", FORCED, "login", verify=PEER_WITH_CA),
    ]


def with_ssl() -> list[Row]:
    silence = {"allowed": True, "seconds": 1.0}  # the server waits for TLS, and we for its greeting
    return [
        Row("smtps", SSL),
        Row("smtps", SSL, verify=PEER),
        *every(Row("smtps", SSL, verify=PEER_WITH_CA)),
        *every(Row("smtps", SSL, password=WRONG)),
        *(Row("smtps", mode, **silence) for mode in (CLEAR, AUTO, FORCED)),
    ]


def without_auth() -> list[Row]:
    return [
        Row("no auth", CLEAR, mechanism=""),
        Row("no auth", AUTO, mechanism=""),
        Row("no auth", AUTO),
        Row("no auth", CLEAR, allowed=True),
    ]


def with_bad_certificates() -> list[Row]:
    found = []
    for kind, mode in (("starttls", FORCED), ("smtps", SSL)):
        found += [Row(f"{kind} {SELF_SIGNED}", mode, verify=verify) for verify in (NONE, PEER, PEER_WITH_CA)]
        for name in (EXPIRED, WRONG_HOST):
            found += [Row(f"{kind} {name}", mode, verify=verify) for verify in (NONE, PEER_WITH_CA)]
    return found


def test_the_matrix_in_the_document_is_what_postfix_does(postfix: Postfix) -> None:
    table, expected = [], []
    for number, row in enumerate(rows()):
        submission = mail(number=number)
        said, receipt = outcome(row.settings(postfix), submission)
        table.append([*row.cells, said])
        expected += as_arrived(submission, tls=receipt.tls) if receipt else []
    assert postfix.arrived() == sorted(expected)
    # After CONNECT it is TLS spoken to a port that has none: rows of their own.
    assert set(re.findall(r"improper command pipelining after (\w+)", postfix.whole_log)) <= {"CONNECT"}
    assert_documented(as_markdown(table))


def outcome(settings: SmtpSettings, submission: Submission) -> tuple[str, Receipt | None]:
    try:
        receipt = send(settings, submission)
    except TransportError as error:
        return f"refused at {error.stage}: {reason(error, settings=settings)}", None
    return f"accepted {f'over {receipt.tls}' if receipt.tls else 'in clear text'}", receipt


def reason(error: TransportError, *, settings: SmtpSettings) -> str:
    """Return the first sentence, without what is different each time, and the codes of Postfix's own."""
    text = error.text.replace(settings.place, "the relay").replace(f" on port {settings.port}", " on this port")
    text = re.split(r"[.:](?: |$)", text.removeprefix("The relay answered "))[0]
    codes = " ".join(filter(None, (str(error.code or ""), error.enhanced_code)))
    text = text if text.startswith(codes) else f"{text} ({codes})"
    return text[:1].lower() + text[1:]


def as_markdown(table: list[list[str]]) -> str:
    head = ["Postfix offers", "its certificate", "our mode", "verify", "credentials", "outcome"]
    lines = [head, ["---"] * len(head), *table]
    return "".join(f"|{'|'.join(f' {cell} ' if cell else ' ' for cell in line)}|\n" for line in lines)


def assert_documented(table: str) -> None:
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{DOCUMENT.name} has no place for the matrix"
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    assert DOCUMENT.read_text() == f"{before}{BEGIN}\n{table}\n{END}{after}", "UPDATE_DOCS=1 writes the matrix anew"


# One mail


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("Grüße aus Köln", id="8bit"),
        pytest.param(".\r\n..\r\n.dot at the beginning", id="dots"),
        pytest.param("a\r\n\r\n", id="blank lines"),
        pytest.param("ß" * 400, id="long line"),
    ],
)
def test_a_mail_arrives_byte_for_byte(postfix: Postfix, body: str) -> None:
    submission = mail(*MAILBOXES, body=body)
    receipt = send(settings_for(postfix, "starttls", FORCED), submission)
    assert (receipt.reply.code, receipt.message_id, receipt.refused) == (250, "<1@me.test>", {})
    assert postfix.arrived() == as_arrived(submission, tls="TLSv1.3")


def test_a_batch_goes_over_one_connection(postfix: Postfix) -> None:
    transport = SmtpTransport(settings_for(postfix, "clear"))
    batch = [mail(number=number) for number in range(3)]
    for submission in batch:
        transport.send(submission)
    transport.close()
    assert postfix.arrived() == [arrived for submission in batch for arrived in as_arrived(submission)]
    assert postfix.conversations("clear", count=1) == ["ehlo=1 auth=1 mail=3 rcpt=3 data=3 quit=1"]


def test_one_refused_recipient_does_not_stop_the_other(postfix: Postfix) -> None:
    receipt = send(settings_for(postfix, "clear"), mail("nobody@x.test", "colleague@x.test"))
    text = "<nobody@x.test>: Recipient address rejected: User unknown in virtual mailbox table"
    assert receipt.refused == {"nobody@x.test": Reply(550, text, "5.1.1")}
    assert postfix.arrived() == as_arrived(mail("colleague@x.test"))


def test_a_mail_without_a_good_recipient_is_refused_for_each_and_the_session_goes_on(postfix: Postfix) -> None:
    transport = SmtpTransport(settings_for(postfix, "clear"))
    with pytest.raises(TransportError) as caught:
        transport.send(mail("nobody@x.test", "noone@x.test"))
    transport.send(mail("desk@x.test", number=2))
    transport.close()
    assert (caught.value.stage, caught.value.scope, caught.value.permanent) == (Stage.RCPT, Scope.RECIPIENT, True)
    codes = {address: (reply.code, reply.enhanced) for address, reply in caught.value.refused.items()}
    assert codes == {"nobody@x.test": (550, "5.1.1"), "noone@x.test": (550, "5.1.1")}
    assert postfix.arrived() == as_arrived(mail("desk@x.test", number=2))
    assert len(postfix.conversations("clear", count=1)) == 1


def test_a_mail_beyond_size_is_refused_before_mail(postfix: Postfix) -> None:
    error = fail(settings_for(postfix, "small"), mail(body="x" * 70 + "\r\n" * SMALL_LIMIT))
    assert (error.scope, error.permanent, error.enhanced_code) == (Scope.MESSAGE, True, "5.3.4")
    (conversation,) = postfix.conversations("small", count=1)
    assert conversation.startswith("ehlo=1 auth=1 ")
    assert "mail=" not in conversation
    assert postfix.arrived() == []


# Credentials


@pytest.mark.parametrize("mechanism", EVERY)
def test_a_wrong_password_is_tried_once(postfix: Postfix, mechanism: str) -> None:
    error = fail(settings_for(postfix, "clear", authentication=mechanism, password=WRONG), mail())
    assert (error.stage, error.scope, error.permanent) == (Stage.AUTH, Scope.PROVIDER, False)
    assert (error.code, error.enhanced_code) == (535, "5.7.8")
    (conversation,) = postfix.conversations("clear", count=1)
    assert "auth=0/1" in conversation.split(" ")
    failures = [line for line in postfix.log("clear") if "authentication failed" in line]
    assert [re.findall(r"SASL (\S+) auth", line) for line in failures] == [[MECHANISMS[mechanism]]]


def test_an_accepted_mail_was_authenticated_by_the_chosen_mechanism(postfix: Postfix) -> None:
    for number, mechanism in enumerate(EVERY):
        send(settings_for(postfix, "smtps", SSL, authentication=mechanism), mail(number=number))
    postfix.conversations("smtps", count=3)
    assert re.findall(r"sasl_method=(\S+),", "\n".join(postfix.log("smtps"))) == list(MECHANISMS.values())
