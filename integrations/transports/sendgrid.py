"""Hand mails to SendGrid's v3 API: one POST a mail, never repeated here."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import envelope
from .base import Receipt, Reply, Scope, Stage, Submission, TransportError, storable
from .sendgrid_payload import payload
from .transcript import Transcript
from .veil import Veil, visible

LONGEST_WAIT = 3600  # a clock that is wrong, theirs or ours, must not stop mail for days
BODY_LIMIT = 64 * 1024
LONGEST_ID = 100  # theirs has 22 characters
REQUEST_IDS = ("X-Message-Id", "X-Request-Id")  # by which SendGrid's support finds a request


@dataclass(frozen=True, slots=True)
class SendGridSettings:
    """An account. `base_url` is without /v3; the limits are seconds."""

    api_key: str = field(repr=False)
    base_url: str = "https://api.sendgrid.com"
    connect_seconds: float = 10
    reply_seconds: float = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, read as far as we need it."""

    status: int
    headers: httpx.Headers
    body: bytes
    tls: str

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Return the error documents; front ends answer HTML, which has none."""
        document = self.document
        rows = document.get("errors") if isinstance(document, dict) else None
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    @property
    def document(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def words(self) -> str:
        texts = [_with_field(str(row.get("message") or ""), field=row.get("field")) for row in self.errors]
        return "; ".join(text for text in texts if text) or httpx.codes.get_reason_phrase(self.status)


def _with_field(message: str, *, field: object) -> str:
    return f"{message} (field {field})" if field else message


class SendGridTransport:
    """Keeps connections open between mails. A 202 means queued at SendGrid."""

    def __init__(self, settings: SendGridSettings) -> None:
        self.settings = settings
        seconds = settings.reply_seconds
        self._client = httpx.Client(
            timeout=httpx.Timeout(seconds, connect=settings.connect_seconds),
            follow_redirects=False,  # a redirect would carry the key elsewhere
        )
        self._veil = Veil(settings.api_key.strip())
        self._transcript = Transcript(self._veil)

    def send(self, submission: Submission) -> Receipt:
        started = monotonic()
        self._transcript = Transcript(self._veil)
        try:
            document, refused = payload(submission)
            answer = self._request("POST", "/v3/mail/send", document=document)
            if answer.status != 202:
                raise self._refusal(answer)
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

    def scopes(self) -> list[str]:
        """Return what the key may do; it costs nothing and sends nothing."""
        answer = self._request("GET", "/v3/scopes")
        if answer.status != 200:
            raise self._refusal(answer, sending=False)
        names = answer.document.get("scopes") if isinstance(answer.document, dict) else None
        if not isinstance(names, list):
            raise _http_error(f"{self.settings.base_url} does not answer like SendGrid. Check the base URL.")
        return [str(name) for name in names]

    def close(self) -> None:
        self._client.close()

    def _request(self, method: str, path: str, *, document: object = None) -> Answer:
        url = checked_url(self.settings.base_url) + path
        content = None if document is None else json.dumps(document).encode()
        said = f"{method} {path} [{len(content or b''):,} octets]"
        try:
            with self._client.stream(method, url, content=content, headers=self._headers()) as response:
                answer = Answer(response.status_code, response.headers, _body(response), _tls(response))
        except httpx.InvalidURL as error:
            raise _http_error("The base URL cannot be read.") from error
        except httpx.HTTPError as error:
            if not isinstance(error, BEFORE_THE_CONNECTION + BEFORE_THE_END_OF_THE_BODY):
                self._transcript.sent(said)
            raise self._failure(error, sending=method == "POST") from error
        self._transcript.sent(said)
        self._hear(answer)
        return answer

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
        if isinstance(error, BEFORE_THE_CONNECTION):
            text = f"{place} cannot be reached: {self._clean(str(error)) or 'no answer in time'}"
            return TransportError(text, stage=Stage.CONNECT, scope=Scope.PROVIDER)
        if isinstance(error, BEFORE_THE_END_OF_THE_BODY) or not sending:
            return _http_error(f"The connection to {place} broke before the request was answered.")
        text = f"{place} did not answer after the whole mail was sent. Whether it took the mail is unknown."
        return _http_error(text, outcome_unknown=True)

    def _refusal(self, answer: Answer, *, sending: bool = True) -> TransportError:
        reply = Reply(answer.status, self._clean(answer.words))
        scope, permanent, advice = verdict(answer)
        return TransportError(
            f"SendGrid answered {reply}. {advice}".strip(),
            stage=Stage.AUTH if advice == _KEY else Stage.HTTP,
            scope=scope,
            permanent=permanent,
            reply=reply,
            # A 5xx comes from any layer: behind it the mail may have been queued all the same.
            outcome_unknown=sending and answer.status >= 500,
            retry_after=stated_seconds(answer.headers, now=time()),
            tls=answer.tls,
        )

    def _clean(self, text: str) -> str:
        key = self.settings.api_key.strip()
        return text.replace(key, "***") if key else text


BEFORE_THE_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
BEFORE_THE_END_OF_THE_BODY = (
    httpx.WriteError,
    httpx.WriteTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
)

_KEY = "Check the API key: it must be valid and may send mail ('Mail Send')."
# Read from the top, the first row that fits decides. A status alone does not tell: 401 and 403 mean several
# things, so the words count (looked for in message and field, in small letters).
VERDICTS: tuple[tuple[int, str, Scope, bool, str], ...] = (
    # status, words, whose fault, permanent, advice
    (400, "", Scope.MESSAGE, True, ""),
    (401, "maximum credits exceeded", Scope.PROVIDER, False, "The plan is used up: wait for its reset, or raise it."),
    (401, "", Scope.PROVIDER, False, _KEY),
    (403, "temporarily blocked", Scope.PROVIDER, False, "Too many bad requests came before: wait some minutes."),
    (403, "from address", Scope.MESSAGE, True, "Verify the sender or its domain at SendGrid, or send from another."),
    (403, "sender identity", Scope.MESSAGE, True, "Verify the sender or its domain at SendGrid, or send from another."),
    (403, "(field from", Scope.MESSAGE, True, "Verify the sender or its domain at SendGrid, or send from another."),
    (403, "", Scope.PROVIDER, False, _KEY),
    (413, "", Scope.MESSAGE, True, "The mail is too large."),
    (422, "", Scope.MESSAGE, True, ""),
    (429, "", Scope.PROVIDER, False, ""),
)
_ELSEWHERE = (Scope.PROVIDER, False, "Check the base URL.")
_THEIR_FAULT = (Scope.PROVIDER, False, "")


def verdict(answer: Answer) -> tuple[Scope, bool, str]:
    """Say what a refusal means: whose fault, whether another try can help, and what to do."""
    words = answer.words.lower()
    for status, pattern, scope, permanent, advice in VERDICTS:
        if status == answer.status and pattern in words:
            return scope, permanent, advice
    return _THEIR_FAULT if answer.status >= 500 else _ELSEWHERE


def stated_seconds(headers: httpx.Headers, *, now: float) -> int | None:
    """Return how long SendGrid asks us to wait, within reason."""
    after, reset = headers.get("Retry-After", ""), headers.get("X-RateLimit-Reset", "")
    if after.isdecimal():
        return min(int(after), LONGEST_WAIT)
    if reset.isdecimal() and headers.get("X-RateLimit-Remaining", "0") == "0":
        return min(max(int(reset) - int(now), 1), LONGEST_WAIT)
    return None


def checked_url(base_url: str) -> str:
    """Return the base URL without its last slash; the key never goes out in clear text."""
    try:
        parts = urlsplit(base_url)
    except ValueError as error:
        raise _http_error("The base URL cannot be read.") from error
    loopback = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if parts.hostname and (parts.scheme == "https" or loopback):
        return base_url.rstrip("/")
    raise _http_error("The base URL must begin with https://, so that the API key is not sent in clear text.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _body(response: httpx.Response) -> bytes:
    """Read a little of the body: the status counts, and a body cut short does not change it."""
    body = b""
    try:
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > BODY_LIMIT:
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
