"""The page of a request that came to nothing."""

from __future__ import annotations

import sys

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import server_error

from .http import AWAY


def came_to_nothing(request: HttpRequest) -> HttpResponse:
    """Say so where the database is at fault: then another try may help. Why is for the log: strangers read this."""
    if isinstance(sys.exc_info()[1], AWAY):
        return render(None, "503.html", status=503)
    return server_error(request)
