"""Turn an action of a run into a stored mail, or into the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings

from integrations import clock, senders

from . import mime, rendering, retry
from .inserting import made
from .models import Action, Delivery, Recipient, Run, Workflow
from .rendering import MailTemplate, RenderedMail, RenderingError


def variables_of(run: Run, data: Mapping[str, Any]) -> dict[str, object]:
    """Return what the templates of a run may use: the event's objects, and what we add. The run may be unsaved."""
    return {
        **data,
        "event": {"id": str(run.event_id), "name": run.event.name},
        "workflow": {"name": run.workflow.name, "slug": run.workflow.slug},
        "run": {"id": str(run.pk), "triggered_by": run.triggered_by},
        "images": images(),
    }


ICONS = ("slack", "google_meet", "zoom", "webex", "jira", "asana", "trello", "shortcut", "service_now")


def images() -> dict[str, str]:
    """Return the addresses of the 16-pixel icons, absolute since mail programs know no site."""
    site = settings.SITE_URL
    return {f"{app}_url_16": f"{site}/static/icons/{app}_16.png" for app in ICONS}


def delivery_of(run: Run, action: Action, variables: dict[str, object]) -> tuple[Delivery, list[Recipient]]:
    """Render an action into a delivery and its recipients, not saved yet; a failed one says why and has nobody."""
    now = clock.now()
    delivery = made(
        Delivery,
        run_id=run.pk,
        workflow_id=run.workflow_id,
        action_id=action.pk,
        action_name=action.name,
        position=action.position,
        optional=action.skip_on_failure,
        triggered_at=run.due_at if run.number or run.manual else run.event.received_at,
        next_attempt_at=now,
        give_up_at=now + retry.deadline(run.workflow.give_up_after),
        hold_unknown=run.workflow.on_unknown == Workflow.OnUnknown.HOLD,
    )
    try:
        mail = rendering.render(template_of(action), variables, now=now, site_url=settings.SITE_URL)
        if mail.sender:
            senders.refuse_reserved(mail.sender)
        _fill(delivery, mail, now=now)
    except (RenderingError, senders.SenderError) as error:
        delivery.state, delivery.reason, delivery.next_attempt_at = Delivery.State.FAILED, str(error), None
        return delivery, []
    return delivery, [
        made(Recipient, delivery_id=delivery.pk, address=address, kind=kind) for address, kind in mail.envelope
    ]


def template_of(action: Action) -> MailTemplate:
    return MailTemplate(
        to=tuple(action.to),
        cc=tuple(action.cc),
        bcc=tuple(action.bcc),
        sender=action.sender,
        reply_to=action.reply_to,
        subject=action.subject,
        preheader=action.preheader,
        body=action.body,
        include_header=action.include_header,
        include_footer=action.include_footer,
        custom_logo_url=action.custom_logo_url,
    )


def _fill(delivery: Delivery, mail: RenderedMail, *, now: datetime) -> None:
    domain = senders.default_sender().domain
    delivery.message_id = f"<{delivery.pk.hex}@{senders.canonical_domain(domain)}>"
    delivery.requested_from = mail.sender
    delivery.subject = mail.subject
    delivery.warnings = list(mail.warnings)
    delivery.content = mime.build(mail, message_id=delivery.message_id, date=now, delivery_id=str(delivery.pk))


def forget_removed_actions(made: list[Delivery]) -> None:
    """Within the transaction that stores them: an action may have been deleted while we rendered it."""
    kept = set(Action.objects.filter(pk__in=[delivery.action_id for delivery in made]).values_list("pk", flat=True))
    for delivery in made:
        if delivery.action_id not in kept:
            delivery.action = None
