"""CloudEvents 1.0 over HTTP: attributes in headers (binary) or around the data (structured)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from workflows import events

from . import generic
from .base import Foreign, Reading, Unreadable
from .mapping import is_catalogued, is_ours, kind_of, mapped
from .parts import an_object, fitting, needed, text

_BATCH, _STRUCTURED, _JSON = "application/cloudevents-batch", "application/cloudevents", "application/cloudevents+json"


def read(headers: Mapping[str, str], body: Any, options: Mapping[str, Any]) -> Reading:
    """Return the event: our names first, then the endpoint's mapping, then a name of one's own such as x.finished."""
    envelope = _envelope(headers, body)
    kind, key = text(envelope, "type"), fitting(f"{text(envelope, 'source')} {text(envelope, 'id')}")
    if name := _catalogued(kind):
        return _own(name, envelope, key=key)
    if str(options.get("mapping") or "").strip():
        return mapped(envelope, generic.rules(options), key=key)
    if is_ours(kind):
        return _own(kind, envelope, key=key)
    return Reading(ignored=f"'{kind[:60]}' is none of our events, and the endpoint has no mapping that makes it one.")


def _envelope(headers: Mapping[str, str], body: Any) -> dict[str, Any]:
    """Return attributes and data as in structured mode, whichever mode it came in; no 'data' where there is none."""
    # The name of the batch format begins with that of a single event: it goes first.
    format_ = headers.get("content-type", "").partition(";")[0].strip().lower()
    if format_.startswith(_BATCH):
        raise Unreadable("Batches of CloudEvents are not taken: post one event a request.", status=415)
    if format_.startswith(_STRUCTURED) and format_ != _JSON:
        raise Unreadable(f"Of the structured formats only {_JSON} is taken.", status=415)
    envelope = _structured(body) if format_ == _JSON else {**_attributes(headers), "data": body}
    if needed(envelope, "specversion") != "1.0":
        raise Unreadable("Only CloudEvents of the specversion 1.0 are taken.")
    for name in ("id", "source", "type"):
        needed(envelope, name)
    return {name: value for name, value in envelope.items() if name != "data" or value is not None}


def _structured(body: Any) -> dict[str, Any]:
    envelope = dict(an_object(body, name="the event"))
    if "data_base64" not in envelope:
        return envelope
    if "data" in envelope:
        raise Unreadable("An event has 'data' or 'data_base64', not both.")
    try:
        raw = b64decode(needed(envelope, "data_base64"), validate=True)
        return {**envelope, "data": events.read_data(raw)}
    except ValueError as error:
        raise Unreadable(f"'data_base64' must hold a JSON object in base64. {error}") from error


def _attributes(headers: Mapping[str, str]) -> dict[str, Any]:
    return {name.removeprefix("ce-"): _decoded(value) for name, value in headers.items() if name.startswith("ce-")}


def _decoded(value: str) -> str:
    """Undo what the HTTP binding does to a header: double quotes, then one round of percent-encoding."""
    told = value.strip()
    if len(told) > 1 and told[0] == told[-1] == '"':
        told = told[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    try:
        found: str = events.storable(unquote(told, errors="strict"))  # %00 is U+0000
        return found
    except UnicodeDecodeError as error:
        raise Unreadable("A header of the event is not UTF-8 in percent-encoding.") from error


def _catalogued(kind: str) -> str:
    """Return the name of ours that a type is or ends in: org.example.incident_created."""
    parts = kind.split(".")
    endings = (".".join(parts[index:]) for index in range(len(parts)))
    return next((name for name in endings if is_catalogued(name)), "")


def _own(name: str, envelope: dict[str, Any], *, key: str) -> Reading:
    """Return an event of our names; one without data is its attributes."""
    data = dict(an_object(envelope.get("data", envelope), name="data"))
    kind = kind_of(name, data)
    if isinstance(data.get(kind), dict):
        data[kind] = {"source": envelope["source"], **data[kind]}
    return Reading((Foreign(name, key, data),))
