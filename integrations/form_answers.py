"""How the form of an integration is shown: as a whole page, or to htmx in the parts that change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from . import stored
from .diagnosis import Diagnosis
from .forms import IntegrationForm
from .providers import label_of


def form_page(request: HttpRequest, kind: str, form: IntegrationForm, **more: Any) -> HttpResponse:
    """Show the whole form, with what was found."""
    context = {"form": form, "kind": kind, "label": label_of(kind), "connected": stored.is_connected(kind)}
    context |= (
        {"problem": stored.problem(kind), "site_url": settings.SITE_URL, "seen": _seen(request, kind)}
        | _suggestion(form, more.get("found"))
        | more
    )
    return render(request, "integrations/setup.html", context, status=422 if form.errors else 200)


def _seen(request: HttpRequest, kind: str) -> str:
    """Return over which stored settings the form was filled in."""
    return request.POST.get("seen", stored.version(kind))


def form_parts(
    request: HttpRequest, kind: str, form: IntegrationForm, *, fields: Iterable[str], **more: Any
) -> HttpResponse:
    """Answer htmx: the panel with what was found, and these fields anew; whatever else was typed stays."""
    context = {"form": form, "kind": kind, "label": label_of(kind), **more, **_suggestion(form, more.get("found"))}
    context["fields"] = [form[name] for name in fields if name in form.fields]
    return render(request, "integrations/_answer.html", context)


def _suggestion(form: IntegrationForm, found: Diagnosis | None) -> dict[str, str]:
    """Return a proposed correction in words and as a value that `apply` takes back."""
    if found is None or not found.proposal:
        return {}
    return {"suggestion": form.in_words(found.proposal), "proposal": json.dumps(dict(found.proposal))}


def all_but_secret(form: IntegrationForm) -> list[str]:
    """Return the fields that may be drawn anew.

    Not a secret, which was typed and is not in the page, nor the switch that a button may have stood for once.
    """
    kept = {form.secret, "skip_check"} - set(form.errors)
    return [name for name in form.fields if name not in kept]
