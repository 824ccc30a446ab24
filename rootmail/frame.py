"""What surrounds every page: the side bar, and the theme that the reader chose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

MANAGE = "integrations.manage_integrations"
EDIT = "workflows.change_delivery"
THEMES = {"auto": "device-desktop", "light": "sun", "dark": "moon"}
THEME_COOKIE = "theme"
YEAR = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Entry:
    """A link of the side bar. `permission` empty: everybody who has logged in may follow it.

    `section`: where the pages below it lie, when that is not below its own address.
    """

    label: str
    url_name: str
    icon: str
    permission: str = ""
    section: str = ""


MENU = {
    "": [
        Entry("Workflows", "workflows", icon="route"),
        Entry("Events", "events", icon="bolt"),
        Entry("Runs", "runs", icon="player-play"),
        Entry("Deliveries", "home", icon="send", section="/deliveries/"),
        Entry("Suppressed", "suppressed", icon="lock", permission=EDIT),
    ],
    "Configuration": [
        Entry("Integrations", "integrations", icon="plug-connected", permission=MANAGE),
        Entry("Webhooks", "webhooks", icon="webhook", permission=EDIT),
        Entry("API tokens", "tokens", icon="key", permission=MANAGE),
        Entry("Audit log", "audit", icon="history", permission=MANAGE),
        Entry("People", "people", icon="users", permission=MANAGE),
    ],
}


def frame(request: HttpRequest) -> dict[str, Any]:
    """Return what base.html needs on every page (a context processor)."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    groups = [(title, list(_links(request, entries))) for title, entries in MENU.items()]
    return {
        "menu": [(title, links) for title, links in groups if links],
        "theme": theme if theme in THEMES else "auto",
        "themes": THEMES,
    }


def _links(request: HttpRequest, entries: list[Entry]) -> Iterator[dict[str, Any]]:
    """Yield the entries whose page is there and may be opened."""
    user = getattr(request, "user", None)  # a request may be refused before it has one
    for entry in entries:
        url = _address(entry.url_name)
        if url and user and (not entry.permission or user.has_perm(entry.permission)):
            section = entry.section or url
            inside = section != "/" and request.path.startswith(section)
            yield {"label": entry.label, "icon": entry.icon, "url": url, "current": inside or request.path == url}


def _address(url_name: str) -> str:
    try:
        return reverse(url_name)
    except NoReverseMatch:
        return ""


@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Keep the choice in a cookie and return to the page it was made on."""
    back = request.POST.get("next", "")
    answer = redirect(back if url_has_allowed_host_and_scheme(back, {request.get_host()}) else "home")
    theme = request.POST.get("theme", "")
    if theme in THEMES:
        answer.set_cookie(
            THEME_COOKIE, theme, max_age=YEAR, secure=settings.HTTPS, httponly=True, samesite="Lax"
        )  # fmt: skip
    return answer
