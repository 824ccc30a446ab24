"""Who may read the numbers of an installation: whoever has the token, or is in a network that the settings name."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare

from integrations import sign_in

ADVICE = (
    "Only monitoring may read this. Set METRICS_TOKEN and send 'Authorization: Bearer TOKEN', "
    "or let METRICS_NETWORKS name the network that you ask from.\n"
)
# A proxy that BEHIND_PROXY does not speak of: the address would be the proxy's own, and everybody would be close by.
FORWARDED = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")


def is_monitor(request: HttpRequest) -> bool:
    return _has_token(request) or _is_near(request)


def _has_token(request: HttpRequest) -> bool:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    right = settings.METRICS_TOKEN
    return bool(right) and kind.lower() == "bearer" and constant_time_compare(token.strip(), right)


def _is_near(request: HttpRequest) -> bool:
    known = settings.BEHIND_PROXY and "X-Forwarded-For" in request.headers
    if not known and any(name in request.headers for name in FORWARDED):
        return False
    text = sign_in.client_address(request)
    address = ipaddress.ip_address(text) if text else None
    return address is not None and any(address in network for network in settings.METRICS_NETWORKS)
