"""How the default sender delivers, told by a URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrations.transports.base import Receipt, Reply, Scope, Stage, Submission, TransportError
from integrations.transports.default import FileSettings, FileTransport, default_settings, transport_for
from integrations.transports.sendgrid import SendGridSettings, SendGridTransport
from integrations.transports.smtp import SmtpSettings, SmtpTransport

CONTENT = b"From: a@x.test\r\nMessage-ID: <1@x.test>\r\n\r\nHello\r\n"
NAME = "1@x.test-6edcc21f5312.eml"  # printf "<1@x.test>" | sha256sum
PEER = {"verify": "peer"}


def mail(*recipients: str, content: bytes = CONTENT) -> Submission:
    return Submission(sender="a@x.test", recipients=recipients or ("b@x.test",), content=content)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:///srv/outbox", FileSettings(Path("/srv/outbox"))),
        ("file:var/outbox", FileSettings(Path("var/outbox"))),
        ("file:///srv/out%20box", FileSettings(Path("/srv/out box"))),
        ("smtp://relay.test", SmtpSettings("relay.test", 587, ssl=False, verify="peer")),
        ("smtps://relay.test", SmtpSettings("relay.test", 465, ssl=True, verify="peer")),
        (
            "smtp://us%40er:p%2Fa%23s%3As@relay.test:2525",
            SmtpSettings("relay.test", 2525, username="us@er", password="p/a#s:s", ssl=False, verify="peer"),
        ),
        ("smtp://[::1]:25", SmtpSettings("::1", 25, ssl=False, verify="peer")),
        ("smtp://r.test?starttls=required", SmtpSettings("r.test", ssl=False, starttls=True, verify="peer")),
        ("smtp://r.test?starttls=off", SmtpSettings("r.test", ssl=False, starttls_auto=False, verify="peer")),
        ("smtps://r.test?verify=none", SmtpSettings("r.test", 465, verify="none")),
        (
            "smtp://r.test?auth=cram_md5&allow_clear_text_auth=1&domain=me.test",
            SmtpSettings(
                "r.test",
                ssl=False,
                verify="peer",
                authentication="cram_md5",
                allow_clear_text_auth=True,
                domain="me.test",
            ),
        ),
    ],
)
def test_reads_a_url(url: str, expected: FileSettings | SmtpSettings) -> None:
    assert default_settings(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("", "relay.test", "http://relay.test", "file:", "file:///", "file://srv/outbox", "smtp://", "smtp://:25"),
        *("smtp://user:hunter22@relay.test:port", "smtp://user:hunter22@relay.test:99999"),
        *(
            "smtp://user:hunter22/x@relay.test",
            "smtp://user:hunter22#x@relay.test",
            "smtp://user:hunter22?x@relay.test",
        ),
        *("smtp://user:hunter22@[::1", "smtp://user:22/hunter22@relay.test", "smtp://user:22?hunter22@relay.test"),
        *("smtp://user:hunter22@relay.test?verify=maybe", "smtp://user:hunter22@relay.test?auth=xoauth2"),
        *("smtp://user:hunter22@relay.test?colour=1", "smtp://user:hunter22\u2100@relay.test"),
    ],
)
def test_refuses_a_bad_url_without_quoting_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"The URL of the default sender cannot be used: .*\. Examples: ") as caught:
        default_settings(url)
    assert "hunter22" not in str(caught.value)


def test_writes_a_mail_into_a_file(tmp_path: Path) -> None:
    receipt = FileTransport(FileSettings(tmp_path / "new" / "outbox")).send(mail("b@x.test", "c@bücher.test"))
    [path] = (tmp_path / "new" / "outbox").iterdir()
    assert path.name == NAME
    assert path.read_bytes() == (
        b"Return-Path: <a@x.test>\r\nX-Envelope-To: b@x.test, c@xn--bcher-kva.test\r\n" + CONTENT
    )
    assert receipt == Receipt(Reply(None, f"written to {path}"), "<1@x.test>", receipt.milliseconds)


def test_a_repeat_overwrites_itself_and_another_mail_does_not(tmp_path: Path) -> None:
    transport = FileTransport(FileSettings(tmp_path))
    others = [CONTENT.replace(b"<1@", b"<2@"), CONTENT.replace(b"<1@", b"<1/../../@")]
    for content in (CONTENT, CONTENT, *others, b"no id\r\n", b"another without\r\n"):
        transport.send(mail(content=content))
    assert len(list(tmp_path.iterdir())) == 5


def test_a_folder_that_cannot_be_written_is_a_fault_of_the_provider(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TransportError) as caught:
        FileTransport(FileSettings(tmp_path / "file")).send(mail())
    assert (caught.value.stage, caught.value.scope, caught.value.permanent) == (Stage.DATA, Scope.PROVIDER, False)
    assert str(tmp_path / "file") in caught.value.text


def test_an_address_cannot_write_headers(tmp_path: Path) -> None:
    with pytest.raises(TransportError) as caught:
        FileTransport(FileSettings(tmp_path)).send(mail("b@x.test\r\nX-Evil: 1"))
    assert (caught.value.scope, caught.value.permanent) == (Scope.RECIPIENT, True)
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(TransportError, match="No space left on device"):
        FileTransport(FileSettings(tmp_path)).send(mail())
    assert list(tmp_path.iterdir()) == []


def test_each_kind_of_settings_has_its_transport(tmp_path: Path) -> None:
    assert isinstance(transport_for(FileSettings(tmp_path)), FileTransport)
    assert isinstance(transport_for(SmtpSettings("relay.test")), SmtpTransport)
    assert isinstance(transport_for(SendGridSettings("SG.key")), SendGridTransport)
