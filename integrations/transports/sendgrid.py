"""Hand mails to SendGrid's v3 API: one POST a mail, never repeated here."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import envelope, machine, tls
from .base import Receipt, Reply, Scope, Stage, Submission, TransportError, storable
from .sendgrid_answers import Answer, blamed, stated_seconds, verdict
from .sendgrid_payload import as_json, payload, wire_form
from .sendgrid_place import Guard, checked_url
from .total_time import Line, TotalTime, Trace
from .transcript import Transcript
from .veil import Veil, visible

BODY_LIMIT = 64 * 1024
LONGEST_ID = 100  # theirs has 22 characters
REQUEST_IDS = ("X-Message-Id", "X-Request-Id")  # by which SendGrid's support finds a request


@dataclass(frozen=True, slots=True)
class SendGridSettings:
    """An account. `base_url` is without /v3; the limits are seconds."""

    api_key: str = field(repr=False)
    base_url: str = "https://api.sendgrid.com"
    click_tracking: bool = False
    open_tracking: bool = False
    allow_private_networks: bool = True
    connect_seconds: float = 10
    reply_seconds: float = 30
    total_seconds: float = 100


class SendGridTransport:
    """Keeps connections open between mails. A 202 means queued at SendGrid."""

    def __init__(self, settings: SendGridSettings) -> None:
        self.settings = settings
        self._client: httpx.Client | None = None
        self._line = Line()
        self._veil = Veil(settings.api_key.strip())
        self._transcript = Transcript(self._veil)

    def send(self, submission: Submission) -> Receipt:
        started = monotonic()
        self._transcript = Transcript(self._veil)
        try:
            document, refused = payload(
                submission, clicks=self.settings.click_tracking, opens=self.settings.open_tracking
            )
            answer = self._request("POST", "/v3/mail/send", content=as_json(document))
            if answer.status != 202:
                raise self._of_recipients(answer, document=document, submission=submission, refused=refused)
        except TransportError as error:
            error.milliseconds = _milliseconds(started)
            error.transcript = self._transcript.text("" if error.code else error.text)
            raise
        return Receipt(
            reply=Reply(202, f"queued as {answer.headers.get('X-Message-Id', 'unknown')}"),
            message_id=envelope.message_id_of(submission.content),
            milliseconds=_milliseconds(started),
            tls=answer.tls,
            refused=refused,
            provider_id=storable(answer.headers.get("X-Message-Id", "")).strip()[:LONGEST_ID],
            transcript=self._transcript.text(),
        )

    def scopes(self, *, trace: Trace | None = None) -> list[str]:
        """Return what the key may do; it costs nothing and sends nothing. `trace` hears how the connection is made."""
        answer = self._request("GET", "/v3/scopes", trace=trace)
        if answer.status != 200:
            raise self._refusal(answer, sending=False)
        names = answer.document.get("scopes") if isinstance(answer.document, dict) else None
        if not isinstance(names, list):
            raise _http_error(f"{self.settings.base_url} does not answer like SendGrid. Check the API address.")
        return [str(name) for name in names]

    def close(self) -> None:
        if self._client:
            self._client.close()

    def _opened(self) -> httpx.Client:
        self._client = self._client or httpx.Client(
            verify=tls.public_context(),  # the system's: httpx's own file is as old as its installation
            timeout=httpx.Timeout(self.settings.reply_seconds, connect=self.settings.connect_seconds),
            follow_redirects=False,  # a redirect would carry the key elsewhere
        )
        return self._client

    def _request(self, method: str, path: str, *, content: bytes = b"", trace: Trace | None = None) -> Answer:
        url, client = checked_url(self.settings.base_url) + path, self._opened()
        said = f"{method} {path} [{len(content):,} octets]"
        try:
            request = client.build_request(method, url, content=content or None, headers=self._headers())
        except httpx.InvalidURL as error:
            raise _http_error("The API address cannot be read.") from error
        limit = TotalTime(self.settings.total_seconds, line=self._line, trace=self._guard(url, trace=trace))
        request.extensions["trace"] = limit.trace
        try:
            with limit, closing(client.send(request, stream=True)) as response:
                answer = Answer(
                    response.status_code,
                    response.headers,
                    _body(response, seconds=self.settings.reply_seconds),
                    _tls(response),
                )
        except httpx.HTTPError as error:
            if not isinstance(error, BEFORE_THE_CONNECTION + BEFORE_THE_END_OF_THE_BODY):
                self._transcript.sent(said)
            raise self._failure(error, sending=method == "POST") from error
        self._transcript.sent(said)
        self._hear(answer)
        return answer

    def _guard(self, url: str, *, trace: Trace | None) -> Trace:
        chosen = self.settings
        return Guard(url, allow_private=chosen.allow_private_networks, seconds=chosen.connect_seconds, trace=trace)

    def _hear(self, answer: Answer) -> None:
        ids = [f"{name}: {answer.headers[name]}" for name in REQUEST_IDS if name in answer.headers]
        for line in (f"{answer.status} {answer.words}", *ids):
            self._transcript.heard(visible(line).encode())

    def _headers(self) -> dict[str, str]:
        key = self.settings.api_key.strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise _http_error("The API key cannot be right: copy it once more, without spaces.")
        return {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        }

    def _failure(self, error: httpx.HTTPError, *, sending: bool) -> TransportError:
        """Translate a failure without a response; after the whole body nobody can know the outcome."""
        place = urlsplit(self.settings.base_url).netloc.rpartition("@")[2]
        if isinstance(error, BEFORE_THE_CONNECTION) and (lacking := machine.lack(error, stage=Stage.CONNECT)):
            return lacking
        if isinstance(error, httpx.ConnectError) and _is_about_tls(error):
            text = f"{place} cannot be trusted: {self._clean(str(error))}. {_TRUST}"
            return TransportError(text, stage=Stage.TLS, scope=Scope.PROVIDER)
        if isinstance(error, BEFORE_THE_CONNECTION):
            why = self._clean(str(error)) or "no answer in time"
            text = f"{place} cannot be reached: {why}. Check the API address, and what stands on the way to it."
            return TransportError(text, stage=Stage.CONNECT, scope=Scope.PROVIDER)
        if isinstance(error, BEFORE_THE_END_OF_THE_BODY) or not sending:
            return _http_error(f"The connection to {place} broke before the request was answered.")
        text = f"{place} did not answer after the whole mail was sent. Whether it took the mail is unknown."
        return _http_error(text, outcome_unknown=True)

    def _refusal(self, answer: Answer, *, sending: bool = True) -> TransportError:
        reply = Reply(answer.status, self._clean(answer.words))
        found = verdict(answer)
        stated = stated_seconds(answer.headers, now=time())
        return TransportError(
            f"SendGrid answered {reply}. {found.advice}".strip(),
            stage=found.stage,
            scope=found.scope,
            permanent=found.permanent,
            reply=reply,
            # A 5xx comes from any layer: behind it the mail may have been queued all the same.
            outcome_unknown=sending and answer.status >= 500,
            retry_after=found.wait if stated is None else stated,
            tls=answer.tls,
        )

    def _of_recipients(
        self, answer: Answer, *, document: Mapping[str, Any], submission: Submission, refused: Mapping[str, Reply]
    ) -> TransportError:
        """Return the refusal; where it is about some addresses alone, only these have failed."""
        wrong = {address.lower(): text for address, text in blamed(answer, document=document).items()}
        texts = {address: wrong.get(wire_form(address)) for address in submission.recipients}
        now = {address: Reply(answer.status, self._clean(text), "5.1.3") for address, text in texts.items() if text}
        if not now:
            return self._refusal(answer)
        error = envelope.all_refused({**refused, **now})
        error.permanent = error.permanent and set(error.refused) >= set(submission.recipients)
        error.tls = answer.tls
        return error

    def _clean(self, text: str) -> str:
        return self._veil.without_secrets(storable(text))


BEFORE_THE_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
BEFORE_THE_END_OF_THE_BODY = (
    httpx.WriteError,
    httpx.WriteTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
)

_TRUST = "Check the API address. Where a proxy on the way inspects TLS, SSL_CERT_FILE must name a file with its CA."


def _is_about_tls(error: BaseException) -> bool:
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__
    return found is not None


def _body(response: httpx.Response, *, seconds: float) -> bytes:
    """Read a little of the body, for a while: the status counts, and a body cut short does not change it."""
    body, end = b"", monotonic() + seconds
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > BODY_LIMIT or monotonic() > end:
                break
    except httpx.HTTPError:
        pass
    return body


def _tls(response: httpx.Response) -> str:
    stream = response.extensions.get("network_stream")
    encrypted = stream.get_extra_info("ssl_object") if stream else None
    return str(encrypted.version()) if encrypted else ""


def _http_error(text: str, *, outcome_unknown: bool = False) -> TransportError:
    return TransportError(text, stage=Stage.HTTP, scope=Scope.PROVIDER, outcome_unknown=outcome_unknown)


def _milliseconds(started: float) -> int:
    return round((monotonic() - started) * 1000)
