"""The frame that Alertmanager and Grafana share: a group of alerts, of which each has a state of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .base import Foreign, Reading, Unreadable
from .parts import an_object, child, children, digest, fitting, needed, number, text, without_nothing
from .severities import table

NEVER = "0001-01-01"  # the zero time of Go: it has not ended
LISTED = 50  # alerts that a description names; the others are counted


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the senders differ: their name, and which links of an alert are the best, from the first."""

    source: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One alert of a group."""

    raw: dict[str, Any]
    identity: str  # of the alert over its life: equal labels begin anew with another start
    is_firing: bool
    labels: dict[str, Any]
    annotations: dict[str, Any]

    @property
    def key(self) -> str:
        """Tell one end from another: what fires again may have the start of before."""
        return " ".join(filter(None, (self.identity, self.status, _end(self))))

    @property
    def status(self) -> str:
        return "open" if self.is_firing else "resolved"

    @property
    def title(self) -> str:
        return text(self.labels, "alertname") or "Alert"


def read(body: Any, options: Mapping[str, Any], *, dialect: Dialect, is_test: Callable[[Member], bool]) -> Reading:
    """Return one event a group, or one an alert where `grouping` says so. The group's own status is no alert's."""
    frame = an_object(body, name="the payload")
    if "alerts" not in frame:
        raise Unreadable(
            f"There is no list 'alerts', so {dialect.source}'s own form has been replaced by a template. Take the "
            "template out at the sender, or make an endpoint of the kind JSON."
        )
    members = [_member(raw) for raw in children(frame, "alerts")]
    if not members:
        return Reading(ignored="It holds no alerts: nothing is told.")
    if all(map(is_test, members)):
        return Reading(ignored=f"A test from {dialect.source.title()}: received, it triggers nothing.")
    if options.get("grouping") == "alert":
        return Reading(tuple(_single(member, frame, dialect=dialect) for member in _without_repeats(members)))
    return Reading((_group(members, frame, dialect=dialect, ranks=list(table(options))),))


def _member(raw: dict[str, Any]) -> Member:
    status = needed(raw, "status")
    if status not in ("firing", "resolved"):
        raise Unreadable(f"The status of an alert is 'firing' or 'resolved', not '{status[:60]}'.")
    identity = fitting(f"{needed(raw, 'fingerprint')}-{needed(raw, 'startsAt')}")
    labels, annotations = child(raw, "labels"), child(raw, "annotations")
    return Member(raw, identity, status == "firing", labels, annotations)


def _without_repeats(members: list[Member]) -> list[Member]:
    return list({member.key: member for member in members}.values())


def _single(member: Member, frame: dict[str, Any], *, dialect: Dialect) -> Foreign:
    """Return the event of one alert; its data holds no other one, or 300 would be kept 300 times."""
    alert = {
        "id": member.identity,
        "title": member.title,
        "status": member.status,
        "severity": text(member.labels, "severity") or None,
        "labels": member.labels,
        "started_at": text(member.raw, "startsAt"),
        "ended_at": _end(member),
        **_told(member.annotations, source=dialect.source),
        **_extras(member, dialect=dialect),
        "external_id": text(member.raw, "fingerprint"),
        "data": {**frame, "alerts": [member.raw]},
    }
    return _foreign(alert, member.identity, key=member.key, state=member.status, is_firing=member.is_firing)


def _group(members: list[Member], frame: dict[str, Any], *, dialect: Dialect, ranks: list[str]) -> Foreign:
    """Return the event of a whole group. Its state is which alerts fire: a resolved one is told once, then left out.

    The group is the same for ever; its id is that of an outage, as it begins: who remembers it keeps it until the end.
    """
    firing = [member for member in members if member.is_firing]
    left_out = number(frame, "truncatedAlerts")
    group = digest(needed(frame, "groupKey"))
    is_alone = len(members) == 1 and not left_out
    start = min(text(member.raw, "startsAt") for member in members)
    alert = {
        "id": fitting(f"{group}-{start}"),
        "title": _title(members),
        "status": "open" if firing else "resolved",
        "severity": _severity(firing or members, ranks=ranks),
        "labels": child(frame, "commonLabels"),
        "started_at": start,
        "ended_at": None if firing else max(_end(member) or "" for member in members) or None,
        **_told(members[0].annotations if is_alone else child(frame, "commonAnnotations"), source=dialect.source),
        **(_extras(members[0], dialect=dialect) if is_alone else _sum(members, frame, left_out=left_out)),
        "external_id": text(frame, "groupKey"),
        "data": frame,
    }
    key = digest(group, sorted(member.key for member in members), left_out)
    state = f"open {digest(sorted(member.identity for member in firing), left_out)}" if firing else "resolved"
    return _foreign(alert, group, key=key, state=state, is_firing=bool(firing))


def _foreign(alert: dict[str, Any], subject: str, *, key: str, state: str, is_firing: bool) -> Foreign:
    """Return the event; what is heard of first when it is over was never created here."""
    first = "alert_created" if is_firing else ""
    data = {"alert": alert}
    return Foreign("alert_status_updated", key, data, first=first, subject=subject, state=state, last=not is_firing)


def _told(annotations: dict[str, Any], *, source: str) -> dict[str, Any]:
    summary, description = text(annotations, "summary"), text(annotations, "description")
    return {
        "source": source,
        "summary": summary or description,
        "description": description,
        "annotations": annotations,
        "runbook_url": text(annotations, "runbook_url") or None,
    }


def _extras(member: Member, *, dialect: Dialect) -> dict[str, Any]:
    """Return the best link of one alert, and the values that Grafana measured."""
    links = [link for name in dialect.links if (link := text(member.raw, name))]
    return {"url": links[0] if links else None, **without_nothing({"values": member.raw.get("values")})}


def _end(member: Member) -> str | None:
    end = text(member.raw, "endsAt")
    return None if member.is_firing or end.startswith(NEVER) else end or None


def _title(members: list[Member]) -> str:
    names = list(dict.fromkeys(member.title for member in members))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _severity(members: list[Member], *, ranks: list[str]) -> str | None:
    """Return the severest word of a group as the endpoint's table ranks them; without one, the first word."""
    words = [word for member in members if (word := text(member.labels, "severity"))]
    place = {word: index for index, word in enumerate(ranks)}
    return min(words, key=lambda word: place.get(word.casefold(), len(place)), default=None)


def _sum(members: list[Member], frame: dict[str, Any], *, left_out: int) -> dict[str, Any]:
    """Return what stands for several alerts: a summary of its own only where they share none."""
    common = child(frame, "commonAnnotations")
    shared = text(common, "summary") or text(common, "description")
    return {
        "summary": shared or _counted(members, left_out=left_out),
        "description": _listed(members, left_out=left_out),
        "url": text(frame, "externalURL") or None,
    }


def _counted(members: list[Member], *, left_out: int) -> str:
    firing = sum(member.is_firing for member in members)
    parts = [f"{firing} firing"] * bool(firing) + [f"{len(members) - firing} resolved"] * (firing < len(members))
    return ", ".join(parts) + (f", ... and {left_out} more" if left_out else "")


def _listed(members: list[Member], *, left_out: int) -> str:
    """Return the alerts as a Markdown list, those that fire first; what is too much is counted."""
    shown = sorted(members, key=lambda member: not member.is_firing)[:LISTED]
    rest = len(members) - len(shown) + left_out
    return "\n".join([*(f"- {_line(member)}" for member in shown), *([f"- ... and {rest} more"] if rest else [])])


def _line(member: Member) -> str:
    what = text(member.annotations, "summary") or text(member.annotations, "description")
    line = f"{member.title}: {what}" if what else member.title
    return " ".join((line if member.is_firing else f"{line} (resolved)").split())
