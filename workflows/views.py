"""Pages of workflows and deliveries."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from integrations import senders

from .models import Delivery, Recipient, Workflow

SHOWN = 50
RECIPIENTS_SHOWN = 20


@never_cache
@require_GET
@login_required
def deliveries(request: HttpRequest) -> HttpResponse:
    """The newest mails and what became of them."""
    first_of_each = Recipient.objects.order_by("pk")[:RECIPIENTS_SHOWN]
    newest = (
        Delivery.objects.select_related("workflow")
        .prefetch_related(Prefetch("recipients", queryset=first_of_each, to_attr="first_recipients"))
        .annotate(recipient_count=Count("recipients"))
        .defer("content")
        .order_by("-pk")[:SHOWN]
    )
    context = {"deliveries": newest, "shown": SHOWN, "workflows": Workflow.objects.filter(enabled=True).count()}
    if any(delivery.provider == "default" for delivery in newest):
        context["warning"] = senders.default_sender_warning()
    return render(request, "workflows/deliveries.html", context)
