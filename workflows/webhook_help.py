"""What people copy into the settings of a sender, and a payload of each kind to try. Pure but for reading files."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

EXAMPLES = Path(__file__).parent / "examples" / "webhooks"
HEADERS = {"cloudevents": {"content-type": "application/cloudevents+json"}}
_ALERTMANAGER = """receivers:
  - name: rootmail
    webhook_configs:
      - url: {address}
        send_resolved: true
        http_config:
          follow_redirects: false
"""
# How Alertmanager proves itself, by our scheme; it signs nothing.
_PROOFS = {
    "bearer": "          authorization:\n            credentials: {secret}\n",
    "basic": "          basic_auth:\n            username: {user}\n            password: {password}\n",
    "header": "          http_headers:\n            {header}:\n              secrets: [{secret}]\n",
}
_SAMPLE_HEADERS = {"bearer": "Authorization: Bearer {secret}", "header": "{header}: {secret}"}
USUAL_HEADER = "X-Webhook-Secret"


@cache
def sample(kind: str) -> str:
    """Return a payload in the shape that this kind of sender posts."""
    return (EXAMPLES / f"{kind}.json").read_text(encoding="utf-8")


def snippet(kind: str, *, scheme: str, address: str, secret: str, header: str = "") -> str:
    """Return what is copied into the settings of a sender, or a command that posts; '' where there is neither."""
    if kind == "alertmanager":
        return _alertmanager(scheme, address=address, secret=secret, header=header)
    if kind in ("json", "cloudevents"):
        return _curl(kind, scheme=scheme, address=address, secret=secret, header=header)
    return ""


def _alertmanager(scheme: str, *, address: str, secret: str, header: str) -> str:
    user, _, password = secret.partition(":")
    words = {"address": address, "secret": secret, "user": user, "password": password, "header": header or USUAL_HEADER}
    quoted = {name: json.dumps(word) for name, word in words.items()}  # a JSON text is a YAML text, too
    return (_ALERTMANAGER + _PROOFS.get(scheme, "")).format(**quoted)


def _curl(kind: str, *, scheme: str, address: str, secret: str, header: str) -> str:
    """Return a command, where a command can prove itself: a signature takes a program."""
    proof = {"none": "", "basic": f"  -u {_quoted(secret)} \\\n"}.get(scheme)
    if scheme in _SAMPLE_HEADERS:
        told = _SAMPLE_HEADERS[scheme].format(secret=secret, header=header or USUAL_HEADER)
        proof = f"  -H {_quoted(told)} \\\n"
    if proof is None:
        return ""
    content_type = HEADERS.get(kind, {}).get("content-type", "application/json")
    return (
        f"curl --fail-with-body {_quoted(address)} \\\n{proof}  -H 'Content-Type: {content_type}' \\\n"
        "  --data @payload.json\n"
    )


def _quoted(text: str) -> str:
    """Quote for a shell, always: `shlex.quote` leaves out quotes that people would miss when they change it."""
    return "'" + text.replace("'", "'\"'\"'") + "'"
