"""Configuration → Webhooks: Editors look, Admins change."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from integrations.fields import Undecryptable

from . import endpoints, intake, webhook_help, webhook_story
from .endpoints import HandedOut
from .entrance import for_admins, for_editors
from .webhook_forms import EndpointForm, SecretForm, TestForm
from .webhook_models import WebhookEndpoint
from .webhooks import SENDERS

GET_OR_POST = ["GET", "HEAD", "POST"]
UNKNOWN_SECRET = "THE SECRET"  # noqa: S105 # nosec B105 # what stands in its place


@require_safe
@for_editors
def listed(request: HttpRequest) -> HttpResponse:
    """Every endpoint, and how its last POST went."""
    return render(request, "webhooks/webhooks.html", {"lines": webhook_story.lines()})


@require_safe
@for_admins
def kinds(request: HttpRequest) -> HttpResponse:
    """Choose the kind of sender: what is asked next depends on it."""
    return render(request, "webhooks/kinds.html", {"senders": SENDERS.values()})


@require_http_methods(GET_OR_POST)
@for_admins
def create(request: HttpRequest, kind: str) -> HttpResponse:
    """Make an endpoint. Its address and a secret that we made are in the answer itself, so they are shown once."""
    if kind not in SENDERS:
        raise Http404
    row = WebhookEndpoint(kind=kind, scheme=SENDERS[kind].scheme)
    form = EndpointForm(request.POST if request.method == "POST" else None, instance=row)
    if request.method == "POST" and form.is_valid():
        handed = endpoints.create(form.entered(), actor=request.user.get_username())
        return _page(request, row, handed=handed)
    return _form(request, form, created=True)


@require_http_methods(GET_OR_POST)
@for_admins
def edit(request: HttpRequest, endpoint: UUID) -> HttpResponse:
    row = _found(endpoint)
    form = EndpointForm(request.POST if request.method == "POST" else None, instance=row)
    if request.method == "POST" and form.is_valid():
        fields = [*form.Meta.fields, "options"]
        endpoints.change(form.entered(), fields=fields, actor=request.user.get_username())
        messages.success(request, f"'{row.name}' is saved. It is in force for the next POST.")
        if "scheme" in form.changed_data and row.scheme != endpoints.UNPROVED:
            messages.warning(request, "The proof is another one: exchange the secret where it needs one of its own.")
        return redirect("webhook", row.pk)
    return _form(request, form, created=False)


def _form(request: HttpRequest, form: EndpointForm, *, created: bool) -> HttpResponse:
    kind, pk = form.instance.kind, form.instance.pk
    stored = "" if created else _found(pk).name
    context = {"form": form, "sender": SENDERS[kind], "created": created, "pk": pk, "name": stored}
    return render(request, "webhooks/form.html", context, status=422 if form.errors else 200)


@require_safe
@for_editors
def one(request: HttpRequest, endpoint: UUID) -> HttpResponse:
    """One endpoint: how to set its sender up, and what became of the last POSTs."""
    return _page(request, _found(endpoint))


@require_POST
@for_admins
def exchange_address(request: HttpRequest, endpoint: UUID) -> HttpResponse:
    """Make another address, shown in the answer itself; the one of before works until it is ended."""
    row = _found(endpoint)
    handed = endpoints.exchange_address(row, actor=request.user.get_username())
    return _page(request, _found(endpoint), handed=handed)


@require_POST
@for_admins
def exchange_secret(request: HttpRequest, endpoint: UUID) -> HttpResponse:
    """Put another secret in force; the one of before is valid until it is ended."""
    row = _found(endpoint)
    if row.scheme == endpoints.UNPROVED:
        messages.error(request, "This sender proves nothing, so there is no secret. Exchange the address instead.")
        return redirect("webhook", row.pk)
    form = _secret_form(row, request.POST)
    if not form.is_valid():
        return _page(request, row, secret_form=form, status=422)
    secret = form.cleaned_data["secret"]
    handed = endpoints.exchange_secret(row, secret=secret, actor=request.user.get_username())
    if handed.secret:
        return _page(request, _found(endpoint), handed=handed)
    messages.success(request, "The secret is in force; the one of before is valid, too, until you end it.")
    return redirect("webhook", row.pk)


@require_POST
@for_admins
def rehearse(request: HttpRequest, endpoint: UUID) -> HttpResponse:
    """Show what would become of a payload; nothing of it is stored but that it was tried."""
    row, form = _found(endpoint), TestForm(request.POST)
    if not form.is_valid():
        return _page(request, row, test_form=form, status=422)
    posted = intake.Posted(webhook_help.HEADERS.get(row.kind, {}), form.cleaned_data["body"].encode())
    try:
        answer = intake.rehearse(row, posted, actor=request.user.get_username())
    except intake.Refused as error:
        form.add_error("body", error.text)
        return _page(request, row, test_form=form, status=422)
    except Undecryptable as error:
        form.add_error(None, str(error))
        return _page(request, row, test_form=form, status=422)
    return _page(request, row, test_form=form, tried=answer)


@require_POST
@for_admins
def act(request: HttpRequest, endpoint: UUID, verb: str) -> HttpResponse:
    """End what is old, retire, take back into service, or delete."""
    row = _found(endpoint)
    VERBS[verb](row, request.user.get_username())
    messages.success(request, SAID[verb].format(row.name))
    return redirect("webhooks") if verb == "delete" else redirect("webhook", row.pk)


VERBS: dict[str, Callable[[WebhookEndpoint, str], None]] = {
    "end-old": lambda row, actor: endpoints.end_old(row, actor=actor),
    "retire": lambda row, actor: endpoints.set_retired(row, True, actor=actor),
    "take-back": lambda row, actor: endpoints.set_retired(row, False, actor=actor),
    "delete": lambda row, actor: endpoints.delete(row, actor=actor),
}
SAID = {
    "end-old": "What '{}' had before is ended: only the newest address and secret are taken.",
    "retire": "'{}' is retired. Who posts there is answered with 410.",
    "take-back": "'{}' takes what is posted again.",
    "delete": "'{}' is deleted. The events that it made are kept.",
}


def _found(endpoint: UUID | str) -> WebhookEndpoint:
    """Return an endpoint without its secrets, which the pages do not need and which may be unreadable."""
    return get_object_or_404(WebhookEndpoint.objects.defer(*endpoints.SECRETS), pk=endpoint)


def _secret_form(row: WebhookEndpoint, data: Any = None) -> SecretForm:
    return SecretForm(data, scheme=row.scheme, given=endpoints.is_given(row))


def _page(
    request: HttpRequest,
    row: WebhookEndpoint,
    *,
    handed: HandedOut | None = None,
    secret_form: SecretForm | None = None,
    test_form: TestForm | None = None,
    tried: intake.Answer | None = None,
    status: int = 200,
) -> HttpResponse:
    """Draw an endpoint: `handed` is shown this once, `tried` is what a test led to."""
    handed = handed or HandedOut()
    context = {
        "endpoint": row,
        "sender": SENDERS[row.kind],
        "proof": webhook_story.proof_of(row),
        "entries": webhook_story.entries(row),
        "held": endpoints.held(row),
        "given": endpoints.is_given(row),
        "unproved": row.scheme == endpoints.UNPROVED,
        "waiting": webhook_story.is_waiting(row),
        "handed": handed,
        "fresh_address": handed.address if row.scheme == endpoints.UNPROVED else "",
        "open_address": endpoints.open_address(row),
        "snippet": _snippet(row, handed),
        "secret_form": secret_form or _secret_form(row),
        "test_form": test_form or TestForm(initial={"body": webhook_help.sample(row.kind)}),
        "tried": tried,
        "would_be": [_shown(made) for made in tried.made] if tried else [],
    }
    return render(request, "webhooks/webhook.html", context, status=status)


def _snippet(row: WebhookEndpoint, handed: HandedOut) -> str:
    """Return what is copied into the sender's settings; the address of one that proves nothing is known only once."""
    address = endpoints.open_address(row) or handed.address or endpoints.url_of("THE-ADDRESS")
    header = str(row.options.get("signature_header") or "")
    secret = handed.secret or (f"user:{UNKNOWN_SECRET}" if row.scheme == "basic" else UNKNOWN_SECRET)
    return webhook_help.snippet(row.kind, scheme=row.scheme, address=address, secret=secret, header=header)


def _shown(made: intake.Made) -> dict[str, Any]:
    """Return an event of a test with what a template would find in it."""
    if made.triggered is None:
        return {"made": made}
    data = json.dumps(made.triggered.event.data, ensure_ascii=False, indent=2)
    return {"made": made, "data": data, "runs": made.triggered.runs, "skipped": made.triggered.skipped}
