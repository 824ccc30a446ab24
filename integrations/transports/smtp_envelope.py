"""The envelope of one mail as the commands of its transaction: what a relay is asked, and in which flights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from . import envelope
from .base import Reply, Stage, Submission


@dataclass(frozen=True, slots=True)
class Mail:
    """A submission in the form in which it goes over the wire; `refused` no relay could take."""

    sender: str
    recipients: Mapping[str, str]  # as submitted -> for the wire
    refused: Mapping[str, Reply]
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, submission: Submission) -> Mail:
        recipients, refused = envelope.wire_recipients(submission.recipients)
        return cls(
            envelope.wire_sender(submission.sender), recipients, refused, envelope.normalised(submission.content)
        )

    @property
    def needs_utf8(self) -> bool:
        """Tell whether an address or a header holds more than ASCII (RFC 6531)."""
        addresses = (self.sender, *self.recipients.values())
        return not (all(map(str.isascii, addresses)) and envelope.headers_of(self.content).isascii())


# Relays must take 100 recipients in one transaction (RFC 5321 section 4.5.3.1.8); some refuse a mail with more than 50
# for good (SES), and Postfix hangs up after too many refusals of those beyond its limit.
TOGETHER = 50
FLIGHT_BYTES = 8 * 1024  # more could fill both sides' buffers, each waiting for the other (RFC 2920 section 3.1)


@dataclass(frozen=True, slots=True)
class Command:
    """One line for the relay, and the stage that its reply belongs to."""

    line: str
    stage: Stage

    @property
    def verb(self) -> str:
        return self.line.split(" ")[0]


class Envelope:
    """What one mail asks of a relay with these `features`; raises TransportError where the relay cannot take the mail.

    `unfit` it cannot be sent to, whatever the relay says; `named` are asked for now, `later` in the next attempt.
    """

    def __init__(self, mail: Mail, *, features: Mapping[str, str]) -> None:
        self.mail = mail
        self.features = features
        self.utf8 = mail.needs_utf8 and "smtputf8" in features
        self._check_sender()
        self._check_size()
        self.unfit = dict(mail.refused) | self._beyond_ascii()
        fit = [address for address in mail.recipients if address not in self.unfit]
        if mail.recipients and not fit:
            raise envelope.all_refused(self.unfit)
        self.named = fit[:TOGETHER]
        self.later = dict.fromkeys(fit[TOGETHER:], Reply(None, "Others come first", "4.5.3"))

    def flights(self) -> Iterator[list[Command]]:
        """Yield the commands in the groups that leave together, one by one without PIPELINING."""
        return _flights(self._commands(), together="pipelining" in self.features)

    def _commands(self) -> list[Command]:
        """Return the whole envelope; a mail for nobody ends behind MAIL FROM, as the connection check does."""
        recipients = [Command(f"RCPT TO:<{self.mail.recipients[address]}>", Stage.RCPT) for address in self.named]
        data = [Command("DATA", Stage.DATA)] if recipients else []
        return [Command(self._mail_command(), Stage.MAIL), *recipients, *data]

    def _beyond_ascii(self) -> dict[str, Reply]:
        """Return the recipients that need SMTPUTF8, where the relay does not offer it."""
        if self.utf8:
            return {}
        reply = Reply(None, "The relay takes no addresses with letters beyond ASCII", "5.6.7")
        return {address: reply for address, wire in self.mail.recipients.items() if not wire.isascii()}

    def _check_sender(self) -> None:
        if not self.utf8 and not self.mail.sender.isascii():
            text = f"The relay takes no sender address with letters beyond ASCII: {self.mail.sender}"
            raise envelope.unfit(text, enhanced="5.6.7")

    def _check_size(self) -> None:
        limit, size = self.features.get("size", ""), len(self.mail.content)
        if limit.isdecimal() and len(limit) < 20 and 0 < int(limit) < size:
            text = f"The mail has {size} bytes, and the relay takes {int(limit)} at most."
            raise envelope.unfit(text, enhanced="5.3.4")

    def _mail_command(self) -> str:
        features, content = self.features, self.mail.content
        parameters = [
            f" SIZE={len(content)}" if "size" in features else "",
            # Without 8BITMIME the bytes go as they are: rewriting a stored mail would be worse.
            " BODY=8BITMIME" if "8bitmime" in features and not content.isascii() else "",
            " SMTPUTF8" if self.utf8 else "",
        ]
        return f"MAIL FROM:<{self.mail.sender}>" + "".join(parameters)


def _flights(commands: list[Command], *, together: bool) -> Iterator[list[Command]]:
    flight: list[Command] = []
    size = 0
    for command in commands:
        size += len(command.line.encode()) + 2
        if flight and (not together or size > FLIGHT_BYTES):
            yield flight
            flight, size = [], len(command.line.encode()) + 2
        flight.append(command)
    yield flight
