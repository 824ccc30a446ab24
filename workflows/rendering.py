"""Turn the parameters of a Send an Email action and the variables of an event into a mail."""

import logging
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from integrations.transports import machine

from . import drawing, layout, liquid, recipients, sanitiser
from .liquid import Kind
from .recipients import Mailbox

logger = logging.getLogger(__name__)

KINDS = ("to", "cc", "bcc")
QUOTED, QUOTED_LENGTH = 3, 60  # of the templates in an error: so many, so much of each
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
# What is no character at all: halves of pairs, which no encoding can carry.
SURROGATES = re.compile("[\ud800-\udfff]")
LINE_ENDS = re.compile("\r\n?|[\x85\u2028\u2029]")
SUSPECT = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]")  # all of these


@dataclass(frozen=True, slots=True)
class MailTemplate:
    """The parameters of one action, as the author wrote them."""

    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    sender: str = ""  # 'from'; blank: the default From of whatever provider is active
    reply_to: str = ""
    subject: str = ""
    preheader: str = ""
    body: str = ""
    include_header: bool = True
    include_footer: bool = True
    custom_logo_url: str = ""


@dataclass(frozen=True, slots=True)
class RenderedMail:
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    sender: str
    reply_to: tuple[str, ...]
    subject: str
    text: str
    html: str
    warnings: tuple[str, ...]

    @property
    def envelope(self) -> tuple[tuple[str, str], ...]:
        """Return every recipient's bare address with its kind: to, cc or bcc."""
        fields = zip(KINDS, (self.to, self.cc, self.bcc), strict=True)
        return tuple((recipients.parse(each).address, kind) for kind, mailboxes in fields for each in mailboxes)


class RenderingError(Exception):
    def __init__(self, field: str, message: str, *, line: int | None = None) -> None:
        super().__init__(field, message, line)
        self.field = field
        self.message = message
        self.line = line

    def __str__(self) -> str:
        place = self.field if self.line is None else f"{self.field}, line {self.line}"
        return f"{place}: {self.message}"


def render(
    template: MailTemplate,
    variables: Mapping[str, object],
    *,
    now: datetime,
    site_url: str,
    deadline: float | None = None,
) -> RenderedMail:
    """Return the mail; raise RenderingError, which names the field, when there is none to send.

    `deadline` is a time of the monotonic clock, for all templates together; by default, in two seconds.
    """
    filler = _Filler(variables, now=now, deadline=deadline)
    addressed = _recipients(template, filler)
    sender = _sender(template.sender, filler)
    reply_to = _reply_to(template.reply_to, filler)
    subject = _one_line(filler.fill("subject", template.subject))
    preheader = _one_line(filler.fill("preheader", template.preheader))
    body = filler.fill("body", template.body, kind=Kind.BODY)
    dressing = _dressing(template, variables, subject=subject, preheader=preheader, site_url=site_url)
    if dressing.logo_url and not dressing.logo:
        filler.warn("custom_logo_url", ["is no web address and was left out"])
    html, text = _drawn(body, dressing)
    return RenderedMail(
        **addressed,
        sender=sender,
        reply_to=reply_to,
        subject=subject,
        text=_clean(text),
        html=html,
        warnings=tuple(filler.warnings),
    )


def _drawn(body: str, dressing: layout.Dressing) -> tuple[str, str]:
    """Return the HTML part and the text part. No body may bring its reader down: the editor has to open it again."""
    try:
        html, text = drawing.draw(body)
        return layout.html(html, dressing=dressing), layout.text(text, dressing=dressing)
    except (sanitiser.TooDeep, RecursionError) as error:
        raise RenderingError("body", "is nested too deeply") from error
    except Exception as error:
        if machine.in_words(error):
            raise
        logger.exception("a body cannot be drawn")
        raise RenderingError(
            "body", "cannot be drawn: a defect of rootmail itself, its log holds the details"
        ) from error


class _Filler:
    """Fills one field after the other within one time limit, and gathers their warnings."""

    def __init__(self, variables: Mapping[str, object], *, now: datetime, deadline: float | None) -> None:
        self.variables = variables
        self.now = now
        self.deadline = time.monotonic() + liquid.SECONDS if deadline is None else deadline
        self.warnings: dict[str, None] = {}

    def fill(self, field: str, source: str, *, kind: Kind = Kind.PLAIN, above: int = 0) -> str:
        """Fill one text; `above` lines of its field stand before it."""
        if not source:
            return ""
        try:
            filled = liquid.fill(source, kind=kind, variables=self.variables, now=self.now, deadline=self.deadline)
        except liquid.TemplateError as error:
            raise RenderingError(field, str(error), line=error.line and error.line + above) from error
        if filled.warnings:
            self.warn(field, filled.warnings)
        return _clean(filled.text)

    def warn(self, field: str, texts: Iterable[str]) -> None:
        self.warnings.update(dict.fromkeys(f"{field}: {text}" for text in texts))


def _recipients(template: MailTemplate, filler: _Filler) -> dict[str, tuple[str, ...]]:
    seen: set[str] = set()
    refused: dict[str, str] = {}
    found: dict[str, tuple[str, ...]] = {}
    for field in KINDS:
        elements: tuple[str, ...] = getattr(template, field)
        above = accumulate((each.count("\n") + 1 for each in elements), initial=0)
        mailboxes = [
            mailbox
            for each, lines in zip(elements, above, strict=False)
            for mailbox in _mailboxes(field, each, filler, refused, above=lines)
        ]
        found[field] = tuple(map(str, recipients.without_duplicates(mailboxes, seen=seen)))
    if not seen:
        raise _nobody_left(template, refused)
    for text, field in refused.items():
        filler.warn(field, [f"{text} and was left out"])
    return found


def _mailboxes(field: str, element: str, filler: _Filler, refused: dict[str, str], *, above: int = 0) -> list[Mailbox]:
    found: list[Mailbox] = []
    for text in recipients.split(filler.fill(field, element, kind=Kind.LIST, above=above)):
        try:
            found.append(recipients.parse(text))
        except ValueError as error:
            refused[str(error)] = field
    return found


def _nobody_left(template: MailTemplate, refused: Mapping[str, str]) -> RenderingError:
    sources: dict[str, tuple[str, ...]] = {field: getattr(template, field) for field in KINDS}
    field = next(iter(refused.values()), "") or next((field for field in KINDS if sources[field]), "to")
    quoted = [_quoted(each) for elements in sources.values() for each in elements]
    if not quoted:
        return RenderingError(field, "no recipient is named")
    more = f" and {len(quoted) - QUOTED} more" if len(quoted) > QUOTED else ""
    reasons = f" ({'; '.join(refused)})" if refused else ""
    return RenderingError(field, f"no address came out of {', '.join(quoted[:QUOTED])}{more}{reasons}")


def _quoted(source: str) -> str:
    line = _one_line(source)
    return f"'{line}'" if len(line) <= QUOTED_LENGTH else f"'{line[: QUOTED_LENGTH - 1]}…'"


def _sender(source: str, filler: _Filler) -> str:
    elements = recipients.split(filler.fill("from", source, kind=Kind.LIST))
    if any("@" in element for element in elements[:-1]):  # otherwise the comma belongs to a name: Doe, Jane <jane@…>
        raise RenderingError("from", f"a mail has one sender, not {len(elements)}")
    try:
        return str(recipients.parse(", ".join(elements))) if elements else ""
    except ValueError as error:
        raise RenderingError("from", str(error)) from error


def _reply_to(source: str, filler: _Filler) -> tuple[str, ...]:
    """Return where answers go. What is no address is left out: it must not keep a mail from leaving."""
    refused: dict[str, str] = {}
    mailboxes = recipients.without_duplicates(_mailboxes("reply_to", source, filler, refused), seen=set())
    filler.warn("reply_to", [f"{text} and was left out" for text in refused])
    return tuple(map(str, mailboxes))


def _dressing(
    template: MailTemplate, variables: Mapping[str, object], *, subject: str, preheader: str, site_url: str
) -> layout.Dressing:
    workflow = variables.get("workflow")
    name = workflow.get("name") if isinstance(workflow, Mapping) else None
    return layout.Dressing(
        subject=subject,
        preheader=preheader,
        header=template.include_header,
        footer=template.include_footer,
        logo_url=template.custom_logo_url,
        workflow=_one_line(_clean(name)) if isinstance(name, str) else "",
        site_url=site_url,
    )


def _clean(text: str) -> str:
    """Return the text with one kind of line end, without control characters and broken letters."""
    if not SUSPECT.search(text):
        return text
    return SURROGATES.sub("\ufffd", CONTROLS.sub("", LINE_ENDS.sub("\n", text)))


def _one_line(text: str) -> str:
    return " ".join(text.split())
