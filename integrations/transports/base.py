"""What every transport takes, gives back and raises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

_ENHANCED = re.compile(r"^([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")


# Control characters (C1 too: a terminal obeys them), surrogates, and signs that turn the direction of text.
_UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def storable(text: str) -> str:
    """Return a server's words without what no database keeps and no page shows."""
    return _UNSTORABLE.sub("", text)


class Stage(StrEnum):
    """How far the conversation had come."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TLS = "tls"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    HTTP = "http"


class Scope(StrEnum):
    """Whose fault it is, and so who has to wait."""

    MACHINE = "machine"  # ours: always `untried`
    PROVIDER = "provider"
    MESSAGE = "message"
    RECIPIENT = "recipient"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a server.

    `code` is the SMTP reply code or the HTTP status, None where no server spoke;
    `enhanced` is the RFC 3463 enhanced status code ("5.7.1") or empty; `text` is the
    server's own words, without both.
    """

    code: int | None
    text: str
    enhanced: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", storable(self.text))

    @staticmethod
    @lru_cache(maxsize=256)  # most are said after every command of their kind
    def parse(code: int, text: bytes | str) -> Reply:
        """Split the enhanced status code off a reply (RFC 2034: it stands first on every line).

        What is no reply of SMTP has no code: smtplib gives -1 for a line that does not begin with one.
        """
        words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        match = _ENHANCED.match(lines[0]) if lines else None
        enhanced = match[1] if match and match[1][0] == str(code)[0] else ""
        if enhanced:
            lines = [line.removeprefix(enhanced).strip() for line in lines]
        return Reply(code=code if 200 <= code <= 599 else None, text=" ".join(lines), enhanced=enhanced)

    @property
    def permanent(self) -> bool:
        """Of a recipient: whether another try cannot help."""
        return (self.enhanced[:1] or str(self.code)[:1]) == "5" and not self.is_about_number

    @property
    def is_about_number(self) -> bool:
        """Of a recipient: one too many for this transaction, and taken in the next (RFC 5321 section 4.5.3.1.10).

        552 is to be taken for 452 there; X.5.3 says so in RFC 3463.
        """
        return self.enhanced[1:] == ".5.3" or (self.code in (452, 552) and not self.enhanced)

    @property
    def quote(self) -> str:
        """The server's words for a sentence of ours: without their own full stop."""
        return str(self).rstrip(". ")

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.code, self.enhanced, self.text) if part)


@dataclass(frozen=True, slots=True)
class Submission:
    """One mail for a transport: its envelope, and the complete message.

    `content` is an RFC 5322 message with CRLF line ends and no Bcc. `recipients` may be
    fewer than the headers name: those that are still due. `following` will probably be sent next, by the same
    transport, which may make ready for it; nothing of its content is handed over before.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    following: Submission | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the relay said when it accepted a mail.

    `refused` holds the recipients that it did not take, each with its reply; everybody else
    in the submission is accepted. `tls` is the protocol version ("TLSv1.3"), empty in clear text.
    `sender` is the From that was used; the router fills in it and `provider`. `provider_id` is the provider's own
    number for the mail, by which it speaks of it later; empty where it gives none. `transcript` is what was said, line
    by line, without credentials.
    """

    reply: Reply
    message_id: str
    milliseconds: int
    tls: str = ""
    refused: Mapping[str, Reply] = field(default_factory=dict)
    provider: str = ""
    sender: str = ""
    provider_id: str = ""
    transcript: str = field(default="", repr=False, compare=False)  # two ways of words may lead to the same


class TransportError(Exception):
    """The one exception that leaves a transport: a mail was not accepted, or nobody knows.

    `permanent`: another try cannot help. `outcome_unknown`: the whole message was handed over
    and no answer came, so it may have been accepted. `retry_after`: seconds the server asked for.
    `refused`: with scope RECIPIENT, the reply for each recipient. `untried`: nothing was handed to anybody,
    because the provider is paused, its limit is reached, or this machine lacks what it needs. `transcript`: what was
    said, as in a receipt.
    The text is for people and never holds a secret.
    """

    def __init__(
        self,
        text: str,
        *,
        stage: Stage,
        scope: Scope,
        permanent: bool = False,
        reply: Reply | None = None,
        outcome_unknown: bool = False,
        retry_after: int | None = None,
        refused: Mapping[str, Reply] | None = None,
        tls: str = "",
        milliseconds: int = 0,
        untried: bool = False,
        transcript: str = "",
    ) -> None:
        super().__init__(storable(text))
        self.text = storable(text)
        self.stage = stage
        self.scope = scope
        self.permanent = permanent
        self.reply = reply
        self.outcome_unknown = outcome_unknown
        self.retry_after = retry_after
        self.refused = dict(refused or {})
        self.tls = tls
        self.milliseconds = milliseconds
        self.untried = untried
        self.transcript = transcript
        self.provider = ""  # the router fills it in

    @property
    def code(self) -> int | None:
        return self.reply.code if self.reply else None

    @property
    def enhanced_code(self) -> str:
        return self.reply.enhanced if self.reply else ""

    @classmethod
    def from_reply(cls, reply: Reply, *, stage: Stage, text: str = "", tls: str = "") -> TransportError:
        """Classify a server's refusal (`classify` below) and quote it."""
        verdict = classify(reply, stage=stage)
        said = f"The relay answered {reply}" if reply.code else f"This is no SMTP server: it said '{reply.text}'."
        return cls(
            text or said,
            stage=stage,
            scope=verdict.scope,
            permanent=verdict.permanent,
            reply=reply,
            retry_after=stated_wait(reply.text),
            tls=tls,
        )


class Transport(Protocol):
    """A way to hand a mail over. Knows no model, no request, no Django settings."""

    def send(self, submission: Submission) -> Receipt:
        """Hand one mail over, or raise TransportError."""
        ...

    def close(self) -> None:
        """End the session, if one is open; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    scope: Scope
    permanent: bool


# Read from the top, the first row that fits decides: enhanced codes first (RFC 3463), then the
# reply code (RFC 5321 section 4.2), then the digit. A pattern ends in '*' for any rest; stage '' is any stage.
_PROVIDER_WAITS = Verdict(Scope.PROVIDER, permanent=False)
_MESSAGE_ENDS = Verdict(Scope.MESSAGE, permanent=True)
_MESSAGE_WAITS = Verdict(Scope.MESSAGE, permanent=False)
_RECIPIENT_ENDS = Verdict(Scope.RECIPIENT, permanent=True)
_RECIPIENT_WAITS = Verdict(Scope.RECIPIENT, permanent=False)

CLASSES: tuple[tuple[str, str, Verdict], ...] = (
    # stage, pattern of the enhanced or the reply code, verdict
    ("connect", "*", _PROVIDER_WAITS),
    ("ehlo", "*", _PROVIDER_WAITS),
    ("tls", "*", _PROVIDER_WAITS),
    ("auth", "*", _PROVIDER_WAITS),
    ("", "421", _PROVIDER_WAITS),
    ("rcpt", "4.7.1", _RECIPIENT_WAITS),  # greylisting; also Postfix's 454 for one whom it does not relay to
    ("data", "4.7.1", _MESSAGE_WAITS),  # greylisting by those who look at the whole mail first, as rspamd does
    ("", "454", _PROVIDER_WAITS),
    ("", "500", _PROVIDER_WAITS),  # about our commands and their order, not about the mail (section 4.2.2)
    ("", "502", _PROVIDER_WAITS),
    ("", "503", _PROVIDER_WAITS),
    ("", "530", _PROVIDER_WAITS),
    ("", "534", _PROVIDER_WAITS),
    ("", "535", _PROVIDER_WAITS),
    ("", "5.7.57", _PROVIDER_WAITS),
    ("", "5.7.139", _PROVIDER_WAITS),
    ("", "432", _PROVIDER_WAITS),
    ("", "4.3.2", _PROVIDER_WAITS),
    ("", "5.4.5", _PROVIDER_WAITS),  # Google's daily quota
    ("", "5.1.90", _PROVIDER_WAITS),  # Microsoft's, and its limits for a whole organisation
    ("", "5.7.705", _PROVIDER_WAITS),
    ("", "5.7.708", _PROVIDER_WAITS),
    ("rcpt", "4.7.*", _PROVIDER_WAITS),  # the relay finds that we send too much
    ("rcpt", "4.*", _RECIPIENT_WAITS),
    ("rcpt", "4*", _RECIPIENT_WAITS),
    ("rcpt", "5.5.3", _RECIPIENT_WAITS),  # too many recipients, as is 552 without an enhanced code
    ("rcpt", "5.*", _RECIPIENT_ENDS),
    ("rcpt", "552", _RECIPIENT_WAITS),
    ("rcpt", "5*", _RECIPIENT_ENDS),
    ("", "4.7.*", _PROVIDER_WAITS),
    ("", "4.*", _MESSAGE_WAITS),
    ("", "5.*", _MESSAGE_ENDS),
    ("", "4*", _MESSAGE_WAITS),
    ("", "5*", _MESSAGE_ENDS),
)


# What providers say in a 550 or 554 about the account and not about the mail, with codes that say something else
# elsewhere: a recipient's full mailbox is a 5.2.2, too. Microsoft: learn.microsoft.com/exchange/troubleshoot/
# send-emails/smtp-submission-improvements; Google: support.google.com/a/answer/3726730.
QUOTA_WORDS = r"SubmissionQuotaExceeded|STOREDRV\.Submission\S*QuotaExceeded|SMTP relay limit exceeded"
STOPPED_WORDS = r"Sender throttled due to|sending (?:suspended|paused)|bad outbound sender"
_ACCOUNT = re.compile(rf"(?<![\w.@-])(?:{QUOTA_WORDS}|{STOPPED_WORDS})(?![\w.-]*@)", re.IGNORECASE)
_OF_OTHERS = re.compile(r"<[^<>]*>|\bsaid: .*", re.IGNORECASE | re.DOTALL)  # an address, another server's answer
_LOGIN = re.compile("authentication required|must be authenticated|require basic authentication", re.IGNORECASE)
_TLS = re.compile(r"(?<![\w.@-])(?:starttls|tls (?:is )?required)(?![\w.-]*@)", re.IGNORECASE)
_GREYLISTING = re.compile(r"(?<![\w.@-])gr[ae]y-?list(?![\w.-]*@)", re.IGNORECASE)
_UNKNOWN_RECIPIENT = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10")


def classify(reply: Reply, *, stage: Stage) -> Verdict:
    """Say what a refusal means: whose fault, and whether another try can help."""
    if _is_about_account(reply) or (stage is Stage.MAIL and (demands_login(reply) or demands_tls(reply))):
        return _PROVIDER_WAITS
    if stage in (Stage.MAIL, Stage.RCPT, Stage.DATA) and _is_greylisting(reply):
        return _RECIPIENT_WAITS if stage is Stage.RCPT else _MESSAGE_WAITS
    for row_stage, pattern, verdict in CLASSES:
        if row_stage in ("", stage) and _fits(reply, pattern):
            return verdict
    return _PROVIDER_WAITS  # not an SMTP refusal at all: a server out of step


def demands_login(reply: Reply) -> bool:
    """Tell what, at MAIL, only a username can mend: Haraka and chasquid say it with 550, Exchange with 451."""
    return reply.code == 530 or reply.enhanced == "5.7.57" or bool(_LOGIN.search(_OF_OTHERS.sub("", reply.text)))


def demands_tls(reply: Reply) -> bool:
    """Tell, of a refused MAIL, what only an encrypted connection can mend."""
    return bool(_TLS.search(_OF_OTHERS.sub("", reply.text)))


def _is_about_account(reply: Reply) -> bool:
    """Exchange pairs 451 with 5.7.3 where it wants STARTTLS or a log-in first: a code of two classes is in the text."""
    if reply.code == 451 and reply.text.startswith("5.7.3"):
        return True
    return reply.enhanced not in _UNKNOWN_RECIPIENT and bool(_ACCOUNT.search(_OF_OTHERS.sub("", reply.text)))


def _is_greylisting(reply: Reply) -> bool:
    """Whatever its code, 421 and 4.7.0 among them."""
    return str(reply.code).startswith("4") and bool(_GREYLISTING.search(_OF_OTHERS.sub("", reply.text)))


def _fits(reply: Reply, pattern: str) -> bool:
    value = reply.enhanced if "." in pattern else str(reply.code or "")
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


_ASKS = r"(?:try again|retry|wait|come back|greylisted for)"
_WAIT = re.compile(_ASKS + r"\D{0,40}?(\d{1,6})\s*(s|sec|second|m|min|minute|h|hour)s?\b", re.I)
_WAIT_BY_CLOCK = re.compile(_ASKS + r" in (\d{1,2}):(\d\d):(\d\d)\b", re.I)  # as milter-greylist has it
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def stated_wait(text: str) -> int | None:
    """Return the seconds of a 'try again in 5 minutes', or None where the server named no time."""
    if clock := _WAIT_BY_CLOCK.search(text):
        hours, minutes, seconds = map(int, clock.groups())
        return hours * 3600 + minutes * 60 + seconds
    match = _WAIT.search(text)
    return int(match[1]) * _SECONDS[match[2][0].lower()] if match else None
