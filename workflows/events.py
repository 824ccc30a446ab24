"""What may happen: the catalogue of event names, and how an event is read. Pure."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

_PARTS = ("environments", "incident_types", "services", "functionalities", "teams", "causes", "subscribers")
_FIELDS = ("title", "summary", "status", "severity", "visibility")

TRIGGERS: dict[str, frozenset[str]] = {
    "incident": frozenset(
        ["incident_in_triage", "incident_created", "incident_started", "incident_updated"]
        + ["timeline_updated", "status_page_timeline_updated", "slack_command"]
        + [f"{field}_updated" for field in _FIELDS]
        + [f"{part}_{what}" for part in (*_PARTS, "role_assignments") for what in ("added", "removed", "updated")]
    ),
    "post_mortem": frozenset(["post_mortem_created", "post_mortem_updated", "status_updated", "slack_command"]),
    "action_item": frozenset(
        ["action_item_created", "action_item_updated", "incident_updated", "slack_command"]
        + [
            f"{f}_updated"
            for f in ("assigned_user", "summary", "description", "status", "priority", "due_date", "teams")
        ]
    ),
    "alert": frozenset(["alert_created", "alert_status_updated"]),
    "pulse": frozenset(["pulse_created"]),
    "simple": frozenset(["slack_command"]),
    "custom": frozenset(),
}
CUSTOM = "custom"  # the type of events that no catalogue names: deploy.finished
WITH_CUSTOM_FIELDS = ("incident", "post_mortem", "action_item")
_CUSTOM_FIELD = re.compile(r"^custom_fields\.[a-z0-9_-]{1,60}\.updated\Z")
_OWN_NAME = re.compile(r"(?=.{3,100}\Z)[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)+\Z")
_ALL = frozenset().union(*TRIGGERS.values())
_FLAT = {name.replace("_", ""): name for name in sorted(_ALL)}
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # PostgreSQL can store neither U+0000 nor lone surrogates
_INDENTED = json.JSONEncoder(indent=2, ensure_ascii=False)
MAX_DEPTH = 50
TOO_DEEP = f"The data is nested deeper than {MAX_DEPTH} levels."
NOT_JSON = "This is not JSON that can be read:"
_IS_FORM = re.compile(r"\s*[\w.-]+=")  # GitHub's default: payload=%7B...
_FORM = "it is a form. Choose application/json as the content type at the sender."
MOST_EVENTS = 100
LONGEST = 200  # characters of a resource: its column holds no more


class EventError(ValueError):
    """An event that cannot be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """An event as a client told it. `key` is its idempotency key, or None."""

    name: str
    data: dict[str, Any]
    key: str | None = None


def is_trigger(name: str, *, trigger_type: str) -> bool:
    if _CUSTOM_FIELD.match(name):
        return trigger_type in WITH_CUSTOM_FIELDS
    if trigger_type == CUSTOM:
        return bool(_OWN_NAME.match(name))
    return name in TRIGGERS.get(trigger_type, ())


def hears(triggers: Sequence[str], name: str, *, kind: str) -> bool:
    """Say whether a workflow with these triggers hears the event; the catch-all hears every change."""
    if name in triggers:
        return True
    is_change = name.endswith(("_updated", "_added", "_removed", ".updated"))
    return is_change and f"{kind}_updated" in triggers and is_trigger(name, trigger_type=kind)


def object_type(incoming: Incoming) -> str | None:
    """Return whose event it is: `status_updated` exists for three objects, the one in the data decides.

    None where the data does not tell; then every type that knows the name hears it.
    """
    if not _CUSTOM_FIELD.match(incoming.name) and _OWN_NAME.match(incoming.name):
        return CUSTOM
    present = [kind for kind in TRIGGERS if kind in incoming.data and is_trigger(incoming.name, trigger_type=kind)]
    own = [kind for kind in present if incoming.name.startswith(f"{kind}_")]
    candidates = own or present
    return candidates[0] if len(candidates) == 1 else None


def resource(incoming: Incoming) -> str:
    """Return what the event is about, as 'incident:482', or '' where its data does not tell.

    Of events of one's own those whose names begin alike may be about the same: order.created and order.paid are about
    'custom.order:3'. No kind of ours has a dot.
    """
    kind = object_type(incoming)
    about = incoming.data if kind == CUSTOM else incoming.data.get(kind or "")
    identity = about.get("id") if isinstance(about, dict) else None
    if isinstance(identity, bool) or not isinstance(identity, str | int) or not identity:
        return ""
    if kind == CUSTOM:
        kind = f"{CUSTOM}.{incoming.name.partition('.')[0]}"
    told = f"{kind}:{identity}"
    if len(told) <= LONGEST:
        return told
    return f"{kind}:sha256:{hashlib.sha256(told.encode()).hexdigest()}"  # cut, two of them might be one


def read_events(body: bytes | str, *, key: str | None = None) -> tuple[list[Incoming], bool]:
    """Return the events of {"event", "data", "id"?} or of {"events": [...]}, and whether it was the latter.

    `key` is the idempotency key of the Idempotency-Key header (IETF draft-ietf-httpapi-idempotency-key-header), for one
    event. Raises EventError, for all events or none.
    """
    document = _parse(body)
    if not isinstance(document, dict) or "events" not in document:
        return [_read_event(document, key=key)], False
    unknown = sorted(set(document) - {"events"})
    if unknown:
        raise EventError(f"Unknown key '{unknown[0]}' beside 'events': each of the events has its own.")
    several = document["events"]
    if not isinstance(several, list) or not 0 < len(several) <= MOST_EVENTS:
        raise EventError(f"'events' must be a list of 1 to {MOST_EVENTS} events.")
    if key is not None:
        raise EventError("An Idempotency-Key is for one event: give each event of 'events' its own 'id'.")
    return [_numbered(number, one) for number, one in enumerate(several, start=1)], True


def _numbered(number: int, document: Any) -> Incoming:
    try:
        return _read_event(document)
    except EventError as error:
        raise EventError(f"Event {number}: {error}") from error


def _read_event(document: Any, *, key: str | None = None) -> Incoming:
    if not isinstance(document, dict):
        raise EventError("The body must be a JSON object.")
    unknown = sorted(set(document) - {"event", "data", "id"})
    if unknown:
        raise EventError(f"Unknown key '{unknown[0]}'. An event has 'event', 'data' and, if you like, 'id'.")
    if key is not None:
        _demand_key(key, name="The header Idempotency-Key")
        if document.get("id") not in (None, key):
            raise EventError("The Idempotency-Key header and 'id' differ: send one of them.")
    told = make_event(document.get("event"), document.get("data", {}), key=document.get("id") if key is None else key)
    _refuse_slip(told.name)
    return told


def _refuse_slip(name: str) -> None:
    """Refuse a name of one's own that is one of the catalogue but for its dots: nobody would hear it."""
    meant = f"{name}d" if _CUSTOM_FIELD.match(f"{name}d") else _FLAT.get(re.sub("[._-]", "", name))
    if meant and meant != name:
        raise EventError(f"Unknown event {_shown(name)}: did you mean {meant}?")


def make_event(name: Any, data: Any, *, key: Any = None) -> Incoming:
    """Check the parts of an event that are already Python objects; raises EventError."""
    if not isinstance(name, str) or not (name in _ALL or _OWN_NAME.match(name)):
        raise EventError(
            f"Unknown event {_shown(name)}. For example: incident_created, status_updated, alert_created; "
            "an event of your own has a dot and small letters, such as deploy.finished."
        )
    if not isinstance(data, dict):
        raise EventError("'data' must be an object such as {\"incident\": {…}}.")
    if key is not None:
        _demand_key(key, name="'id'")
    return Incoming(name=name, data=storable(data), key=key)


def _demand_key(key: Any, *, name: str) -> None:
    if not (isinstance(key, str) and 0 < len(key) <= 200):
        raise EventError(f"{name} must be a text of 1 to 200 characters.")
    if _UNSTORABLE.search(key):
        raise EventError(f"{name} must not hold U+0000 or half a surrogate pair.")


def read_data(body: bytes | str) -> dict[str, Any]:
    """Return the data of an event from JSON, without what a database cannot keep; raises EventError."""
    data = read_json(body)
    if not isinstance(data, dict):
        raise EventError('The data must be a JSON object such as {"incident": {…}}.')
    return data


def read_json(body: bytes | str) -> Any:
    """Return what a JSON document holds, without what a database cannot keep; raises EventError."""
    return storable(_parse(body))


def beginning(value: Any, *, most: int) -> str:
    """Return JSON as people read it, whole where it has no more than so many characters.

    Of what is longer it returns the beginning, a little longer than that: a megabyte takes seconds to indent.
    """
    parts: list[str] = []
    length = 0
    for part in _INDENTED.iterencode(value):
        parts.append(part)
        length += len(part)
        if length > most:
            break
    return "".join(parts)


def _shown(name: Any) -> str:
    return f"'{name[:60]}'" if isinstance(name, str) else "(no name)"


def _parse(body: bytes | str) -> Any:
    try:
        text = (body.decode("utf-8") if isinstance(body, bytes) else body).removeprefix("\ufeff")
        return json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise EventError("The body is not UTF-8.") from error
    except json.JSONDecodeError as error:
        raise EventError(f"{NOT_JSON} {_FORM if _IS_FORM.match(text) else error}") from error
    except RecursionError as error:
        raise EventError(TOO_DEEP) from error
    except EventError:
        raise
    except ValueError as error:  # Python reads no longer ones
        raise EventError("A number in the data has thousands of digits: send it as a text.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise EventError(f"{NOT_JSON} {name} is not JSON")


def storable(value: Any, *, depth: int = 0) -> Any:
    """Return the value without what a database cannot keep; raises EventError when nested too deep."""
    if depth > MAX_DEPTH:
        raise EventError(TOO_DEEP)
    if isinstance(value, str):
        return _UNSTORABLE.sub("", value)
    if isinstance(value, dict):
        return {_UNSTORABLE.sub("", key): storable(item, depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item, depth=depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise EventError("A number in the data is too large.")
    return value
