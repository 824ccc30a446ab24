"""An action as it would come out, before anybody is sent anything; and one mail of it, to its author."""

from __future__ import annotations

import time
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from integrations import audit, clock, senders
from integrations.transports.base import TransportError

from . import liquid, mails, mime, rendering, services
from .ids import new_id
from .models import Action, Delivery, Event, Recipient, Run
from .rendering import RenderedMail, RenderingError
from .samples import PREVIEW, Sample

Notes = dict[str, list[str]]  # texts by the parameter that they are about, in the names of the public API


NOBODY = "nobody@example.invalid"  # RFC 2606: reaches nobody; stands for the recipients that are missing


class NotMade(Exception):
    """There is no mail to send; the text says why."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A mail that was made and not sent, or why there is none.

    `content` is the message without From; `sender` is the From that it would get now, and `why`.
    """

    problems: Notes = field(default_factory=dict)
    warnings: Notes = field(default_factory=dict)
    mail: RenderedMail | None = None
    content: bytes = b""
    sender: str = ""
    why: str = ""


def of(action: Action, sample: Sample) -> Draft:
    """Render an action, saved or not, against a sample. What is wrong is left out, so that the rest can be seen."""
    problems: Notes = {}
    mail, content = None, b""
    deadline = time.monotonic() + liquid.SECONDS
    while not content:
        try:
            mail, content = _made(action, sample, deadline=deadline)
        except RenderingError as error:
            problems[error.field] = [*problems.get(error.field, []), _at_its_line(error)]
            if not _can_go_without(error.field, problems) or time.monotonic() > deadline:
                return Draft(problems=problems)
            action = _without(error.field, action)
    if mail and NOBODY in mail.to:
        mail = replace(mail, to=tuple(each for each in mail.to if each != NOBODY))
    warnings = _by_field(mail.warnings) if mail else {}
    sender, why = "", ""
    try:
        sender, why = _sender(mail.sender if mail else "")
    except TransportError as error:
        problems.setdefault("from", []).append(error.text)
    return Draft(problems, warnings, mail, content, sender, why)


def _made(action: Action, sample: Sample, *, deadline: float) -> tuple[RenderedMail, bytes]:
    now, template, variables = clock.now(), mails.template_of(action), _variables(action, sample)
    mail = rendering.render(template, variables, now=now, site_url=settings.SITE_URL, deadline=deadline)
    try:
        if mail.sender:
            senders.refuse_reserved(mail.sender)
    except senders.SenderError as error:
        raise RenderingError("from", str(error)) from error
    return mail, mime.build(mail, message_id=f"<{new_id().hex}@preview>", date=now, delivery_id="preview")


def _can_go_without(field: str, problems: Notes) -> bool:
    """Without its body there is nothing to see; and nothing is left out twice."""
    return field != "body" and len(problems[field]) <= 2


def _without(field: str, action: Action) -> Action:
    """Return a copy that cannot fail by this field again. A mail needs a recipient: it gets one that nobody is."""
    left = copy(action)
    if field in rendering.KINDS:
        setattr(left, field, [])
        left.to = left.to or [NOBODY]
    else:
        setattr(left, {"from": "sender"}.get(field, field), "")
    return left


def _variables(action: Action, sample: Sample) -> dict[str, object]:
    event = Event(name=sample.event, data=sample.data)
    return mails.variables_of(Run(workflow=action.workflow, event=event, triggered_by="system"), sample.data)


def _at_its_line(error: RenderingError) -> str:
    return error.message if error.line is None else f"Line {error.line}: {error.message}"


def _by_field(warnings: Iterable[str]) -> Notes:
    found: Notes = {}
    for text in warnings:
        name, _, rest = text.partition(": ")
        found.setdefault(name, []).append(rest)
    return found


def _sender(requested: str) -> tuple[str, str]:
    """Return the From that the mail would get now, and why it is that."""
    label, sender = import_string(settings.EMAIL_ROUTER)().sender_of(requested)
    shown = str(sender.mailbox)
    if not requested:
        return shown, f"From is blank, so it is that of {label}."
    if sender.reply_to:
        return shown, f"{label} keeps its own address. The one asked for becomes Reply-To."
    return shown, f"As this action says, through {label}."


def send_to(address: str, action: Action, sample: Sample, *, actor: str) -> Delivery:
    """Send the mail to one address alone, by the usual road; raises NotMade.

    Its run belongs to an event of its own, which no workflow hears.
    """
    now = clock.now()
    event = Event(name=PREVIEW, data=sample.data, received_at=now)
    run = Run(workflow=action.workflow, event=event, due_at=now, started_at=now, triggered_by="user")
    run.status = Run.Status.STARTED
    delivery, recipients = mails.delivery_of(run, _addressed_to(address, action), _variables(action, sample))
    if delivery.state == Delivery.State.FAILED:
        raise NotMade(delivery.reason)
    with transaction.atomic():
        event.save(force_insert=True)
        run.save(force_insert=True)
        mails.forget_removed_actions([delivery])
        delivery.save(force_insert=True)
        Recipient.objects.bulk_create(recipients)
        audit.record("test mail of an action", actor=actor, workflow=action.workflow.slug, delivery=str(delivery.pk))
        transaction.on_commit(services.ring)
    return delivery


def _addressed_to(address: str, action: Action) -> Action:
    addressed = copy(action)
    addressed.to, addressed.cc, addressed.bcc = [f"{{% raw %}}{address}{{% endraw %}}"], [], []
    return addressed
