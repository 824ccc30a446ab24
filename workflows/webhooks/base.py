"""What an adapter takes and what it gives. Pure, like all of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Foreign:
    """One event out of a foreign payload.

    `name` is our event, once the subject is known; `first` the one to use where the subject was never seen before
    ("" where it is the same). `key` is equal over the sender's repeats. `subject` is what the event is about, "" where
    nothing is remembered; `state` its state now: an event whose subject already has it is a repeat, but "" never is.
    `thin` data holds only a part and is laid over the last full data of the subject. `last` ends the subject: seen
    again, it counts as never seen, with a key that is known, too, once a minute has passed since the end in its data.
    `ordered`: `updated_at` in the alert's data tells which news is older. What newer news has overtaken makes nothing,
    unless it is the first of what has not ended.
    """

    name: str
    key: str
    data: dict[str, Any]
    first: str = ""
    subject: str = ""
    state: str = ""
    thin: bool = False
    last: bool = False
    ordered: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a payload; `ignored` says, for people, why nothing is made of it."""

    events: tuple[Foreign, ...] = ()
    ignored: str = ""


class Unreadable(ValueError):
    """The payload is not what this sender posts. The text is for people, `status` for the sender."""

    def __init__(self, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


# Headers with names in small letters; the parsed body; the options of the endpoint.
Adapter = Callable[[Mapping[str, str], Any, Mapping[str, Any]], Reading]


@dataclass(frozen=True, slots=True)
class Sender:
    """A kind of sender. `options` are those that `read` understands, `scheme` the usual proof of origin.

    `bodiless`: headers alone may be an event; then `read` gets None as the body.
    """

    kind: str
    label: str
    read: Adapter
    options: tuple[str, ...]
    scheme: str
    help: str
    bodiless: bool = False
