"""What every JSON entrance needs: a bearer token, a bounded body, errors as JSON:API documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Concatenate, ParamSpec

from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from integrations import tokens

from . import errors

logger = logging.getLogger(__name__)

Rest = ParamSpec("Rest")
View = Callable[Concatenate[HttpRequest, Rest], HttpResponse]
# Locked, cut off, or gone; PostgreSQL that is only read, as behind a failover, tells so by an InternalError (25006).
AWAY = (OperationalError, InterfaceError, InternalError)
_CALLER = "rootmail.caller"  # no header can be called so


class Problem(Exception):
    """An answer other than success. `challenge`: how whoever has not proved it may prove who it is."""

    def __init__(
        self, status: int, title: str, detail: str, *, retry_after: int = 10, challenge: str = "Bearer", allow: str = ""
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail = status, title, detail
        self.retry_after, self.challenge, self.allow = retry_after, challenge, allow

    def response(self) -> JsonResponse:
        document = {"errors": [{"title": self.title, "status": str(self.status), "detail": self.detail}]}
        answer = JsonResponse(document, status=self.status)
        if self.status == 401:
            answer["WWW-Authenticate"] = self.challenge
        if self.status == 405:
            answer["Allow"] = self.allow
        if self.status == 503:
            answer["Retry-After"] = str(self.retry_after)
        return answer


def api(*methods: str, scope: str) -> Callable[[View[Rest]], View[Rest]]:
    """Guard a JSON view: its methods, a bearer token with this scope; `Problem` becomes the answer."""

    def decorate(view: View[Rest]) -> View[Rest]:
        def proved(request: HttpRequest, /, *args: Rest.args, **kwargs: Rest.kwargs) -> HttpResponse:
            demand_https(request)
            _demand_token(request, scope)
            return view(request, *args, **kwargs)

        update_wrapper(proved, view)
        return never_cache(answering(*methods)(proved))

    return decorate


def answering(*methods: str) -> Callable[[View[Rest]], View[Rest]]:
    """Let a view answer these methods, without asking who it is; `Problem` becomes the answer.

    There is no cookie in play, so there is nothing for CSRF to protect.
    """

    def decorate(view: View[Rest]) -> View[Rest]:
        def guarded(request: HttpRequest, /, *args: Rest.args, **kwargs: Rest.kwargs) -> HttpResponse:
            try:
                _demand_method(request, methods)
                return view(request, *args, **kwargs)
            except Problem as problem:
                return problem.response()
            except TooManyFieldsSent:
                return Problem(400, "Bad request", "The query has too many parts.").response()
            except AWAY as error:  # in a line: there is one for every request, maybe on a disk that is full
                logger.error("%s", errors.of_database(error), exc_info=logger.isEnabledFor(logging.DEBUG))
                return Problem(503, "Service unavailable", "The database does not answer. Try again.").response()

        update_wrapper(guarded, view)
        return csrf_exempt(guarded)

    return decorate


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    """Answer for what is no address of the API, in the API's own form."""
    return Problem(
        404, "Not found", "There is no such address. Events go to /v1/events; /v1/runs and /v1/deliveries tell of them."
    ).response()


def caller(request: HttpRequest) -> str:
    """Return who asks, behind `api`, as the audit log names it. No account has a name with a blank."""
    return f"API token {request.META[_CALLER]}"


def demand_https(request: HttpRequest) -> None:
    """Refuse plain HTTP where the site has HTTPS: a redirect would lose what was posted, and look like a success."""
    if settings.SECURE_SSL_REDIRECT and not request.is_secure():
        raise Problem(
            403, "Forbidden", "Use the address that begins with https. Whoever listened has read this request."
        )


def _demand_method(request: HttpRequest, methods: Sequence[str]) -> None:
    if request.method not in methods:
        raise Problem(405, "Method not allowed", f"Use {' or '.join(methods)}.", allow=", ".join(methods))


def _demand_token(request: HttpRequest, scope: str) -> None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    row = tokens.find(token.strip()) if kind.lower() == "bearer" and token.strip() else None
    if row is None:
        raise Problem(401, "Unauthorized", "Send 'Authorization: Bearer TOKEN' with a token that is not revoked.")
    if scope not in row.scopes:
        raise Problem(403, "Forbidden", f"This token lacks the scope '{scope}'.")
    request.META[_CALLER] = row.name


def bounded_body(request: HttpRequest) -> bytes:
    """Return the body; Problem where it is too large, of unknown length, or compressed."""
    length = request.headers.get("Content-Length", "")
    if not length.isdigit():  # a chunked body would read as empty under WSGI
        raise Problem(411, "Length required", "Send a Content-Length header.")
    if int(length) > settings.MAX_EVENT_BYTES:
        raise Problem(413, "Content too large", f"At most {settings.MAX_EVENT_BYTES} bytes are taken.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(415, "Unsupported media type", "Send the body without Content-Encoding.")
    return request.body
