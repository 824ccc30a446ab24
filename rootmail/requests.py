"""A number for each request, so that its log lines can be found."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

from django.core.signals import request_finished
from django.http import HttpRequest, HttpResponse

from workflows import log_fields

HEADER = "X-Request-ID"
USUAL = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Which argument of an address is an id that log lines carry.
IDS = {"run": "run", "run-act": "run", "delivery": "pk", "delivery-mail": "pk", "delivery-source": "pk"}
IDS |= {"delivery-act": "pk", "api-run": "run", "api-run-act": "run", "api-delivery": "pk", "api-delivery-act": "pk"}


class Numbered:
    """Let every line of a request carry its number: the one that it came with, or a new one. The answer names it.

    It is in hand until the answer has been sent: Django writes its line for a refusal when all middleware has ended.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(HEADER, "")
        number = given if USUAL.fullmatch(given) else uuid.uuid4().hex
        log_fields.begin(request=number)
        response = self._get_response(request)
        response[HEADER] = number
        return response

    def process_view(self, request: HttpRequest, view: object, args: list[Any], kwargs: dict[str, Any]) -> None:
        name = request.resolver_match.url_name if request.resolver_match else ""
        argument = IDS.get(name or "")
        if argument:
            log_fields.add(**{"run" if argument == "run" else "delivery": kwargs[argument]})


def _end(**_: object) -> None:
    log_fields.begin()


request_finished.connect(_end, dispatch_uid="numbered requests")
