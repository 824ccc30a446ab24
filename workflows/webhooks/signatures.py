"""Does a request come from whom the endpoint is for? Pure: the time is told, nothing is fetched.

Every check reads the raw body and compares bytes: `compare_digest` raises TypeError on texts beyond ASCII, which a
stranger can send. Whatever cannot be decoded raises ValueError, which `refusal` takes for a wrong proof.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REFUSED = (
    "The proof of origin is missing or wrong. Compare the secret and the names of the headers at the sender with those "
    "of this endpoint; where a time is signed, the clocks must agree within 5 minutes."
)
FRESH = 5 * 60  # seconds, to either side: the value of the Standard Webhooks libraries
REMEMBERED = 7 * 24 * 3600  # as long as keys are: older than that, nothing would tell a replay
_STANDARD_PREFIXES = ("webhook-", "svix-")


@dataclass(frozen=True, slots=True)
class Request:
    """What is known of a request before its body is read. `name` tells which header an option means."""

    headers: Mapping[str, str]
    body: bytes
    options: Mapping[str, Any]
    now: float

    def header(self, name: str) -> str:
        return self.headers.get(name, "").strip()

    def chosen(self, option: str, *, usual: str = "") -> str:
        """Return the header that an option of the endpoint names."""
        return self.header(str(self.options.get(option) or usual).strip().lower())


Check = Callable[[Request, str], bool]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A proof of origin. `options` name the settings of the endpoint that it needs."""

    scheme: str
    label: str
    genuine: Check
    options: tuple[str, ...] = ()


def refusal(
    scheme: str,
    *,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    options: Mapping[str, Any],
    now: float,
) -> str:
    """Return "" for a genuine request, else one and the same text, whatever is wrong. Headers have small letters."""
    if scheme == "none":
        return ""
    request = Request(headers, body, options, now)
    live = [secret for secret in secrets if secret]  # an empty one would prove nothing
    genuine = any(_is_genuine(request, scheme=scheme, secret=secret) for secret in live)
    return "" if genuine else REFUSED


def _is_genuine(request: Request, *, scheme: str, secret: str) -> bool:
    try:
        return scheme in SCHEMES and SCHEMES[scheme].genuine(request, secret)
    except ValueError:  # neither hex nor base64 nor a number: a stranger's invention
        return False


def _signs(signed: bytes, *, key: bytes, given: Iterable[bytes]) -> bool:
    """Compare with everything that is given, though the body, which may be large, is digested once."""
    expected = hmac.digest(key, signed, hashlib.sha256)
    return any(hmac.compare_digest(expected, one) for one in given)


def _is_within(timestamp: str, *, now: float, past: int) -> bool:
    return -FRESH <= int(now) - int(timestamp) <= past  # a float could not be compared with a number of 400 digits


def _hmac_hex(request: Request, secret: str) -> bool:
    given = request.chosen("signature_header", usual="fh-signature").removeprefix("sha256=")
    return _signs(request.body, key=secret.encode(), given=[bytes.fromhex(given)])


def _pagerduty(request: Request, secret: str) -> bool:
    """One signature for each secret that is live there; other versions are passed over."""
    signatures = [part.strip() for part in request.header("x-pagerduty-signature").split(",")]
    given = [bytes.fromhex(part.removeprefix("v1=")) for part in signatures if part.startswith("v1=")]
    return _signs(request.body, key=secret.encode(), given=given)


def _grafana(request: Request, secret: str) -> bool:
    """A time is signed only where the sender was given the name of a header for it."""
    given = [bytes.fromhex(request.chosen("signature_header", usual="x-grafana-alerting-signature"))]
    if not request.options.get("timestamp_header"):
        return _signs(request.body, key=secret.encode(), given=given)
    timestamp = request.chosen("timestamp_header")
    signed = _bytes(timestamp) + b":" + request.body
    return _is_within(timestamp, now=request.now, past=FRESH) and _signs(signed, key=secret.encode(), given=given)


def _rootly(request: Request, secret: str) -> bool:
    """`t=...,v1=...` over t directly followed by the body. Nobody says whether a retry renews t: the window is wide."""
    pairs = [part.strip().partition("=") for part in request.header("x-rootly-signature").split(",")]
    parts = {name.strip(): value.strip() for name, _, value in pairs}
    timestamp = parts.get("t", "")
    signed, given = _bytes(timestamp) + request.body, [bytes.fromhex(parts.get("v1", ""))]
    return _is_within(timestamp, now=request.now, past=REMEMBERED) and _signs(signed, key=secret.encode(), given=given)


def _standard(request: Request, secret: str) -> bool:
    """Standard Webhooks 1.0.0; Svix puts its own prefix before the same three headers."""
    return any(_standard_under(prefix, request, secret=secret) for prefix in _STANDARD_PREFIXES)


def _standard_under(prefix: str, request: Request, *, secret: str) -> bool:
    identity, timestamp, told = (request.header(f"{prefix}{name}") for name in ("id", "timestamp", "signature"))
    if not told or not _is_within(timestamp, now=request.now, past=FRESH):
        return False
    signed = _bytes(f"{identity}.{timestamp}.") + request.body
    given = [_base64(part.removeprefix("v1,")) for part in told.split() if part.startswith("v1,")]
    return any(_signs(signed, key=key, given=given) for key in _keys(secret))


def _keys(secret: str) -> list[bytes]:
    """Return what a secret may stand for: the libraries decode it, though people write a plain text, too."""
    keys = [] if secret.startswith("whsec_") else [secret.encode()]
    with contextlib.suppress(ValueError):
        keys.append(_base64(secret.removeprefix("whsec_")))
    return [key for key in keys if key]  # an empty one would be everybody's


def unusable(scheme: str, secret: str) -> str:
    """Return why no request could ever be proved with this secret, for whoever enters it, or ""."""
    if scheme == "basic" and ":" not in secret:
        return "For Basic authentication write it as user:password."
    usable = scheme != "standard" or _keys(secret)
    return "" if usable else "Behind whsec_ stands base64: copy the whole secret from the sender once more."


def _bearer(request: Request, secret: str) -> bool:
    return hmac.compare_digest(_credentials(request, scheme="bearer"), secret.encode())


def _basic(request: Request, secret: str) -> bool:
    """The secret is `user:password`."""
    given = _credentials(request, scheme="basic").decode("ascii")
    return hmac.compare_digest(_base64(given), secret.encode())


def _credentials(request: Request, *, scheme: str) -> bytes:
    told, _, credentials = request.header("authorization").partition(" ")
    return _bytes(credentials.strip()) if told.lower() == scheme else b""


def _header(request: Request, secret: str) -> bool:
    return hmac.compare_digest(_bytes(request.chosen("signature_header", usual="x-webhook-secret")), secret.encode())


def _base64(text: str) -> bytes:
    """Decode base64 strictly, though its padding may be missing."""
    unpadded = text.strip().rstrip("=")
    return b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)


def _bytes(header: str) -> bytes:
    """Return a header's bytes as they came: WSGI hands them over as Latin-1."""
    return header.encode("latin-1")


def _nobody_asks(request: Request, secret: str) -> bool:
    return True


SCHEMES: dict[str, Scheme] = {
    one.scheme: one
    for one in (
        Scheme("none", "None: whoever knows the address may post", _nobody_asks),
        Scheme("standard", "Standard Webhooks (also Svix)", _standard),
        Scheme("hmac_sha256_hex", "HMAC-SHA256 of the body, in hex", _hmac_hex, ("signature_header",)),
        Scheme("pagerduty", "PagerDuty's signature", _pagerduty),
        Scheme("grafana", "Grafana's HMAC signature", _grafana, ("signature_header", "timestamp_header")),
        Scheme("rootly", "Rootly's signature", _rootly),
        Scheme("bearer", "Authorization: Bearer, with the secret", _bearer),
        Scheme("basic", "Basic authentication, the secret is user:password", _basic),
        Scheme("header", "A header that holds the secret", _header, ("signature_header",)),
    )
}
