"""What sets a workflow off, in words for people. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .conditions import is_pattern

VALUES_SHOWN = 10
REFUSALS_SHOWN, VALUE_SHOWN = 3, 60
_CUSTOM_FIELD = re.compile(r"custom_fields\.(.+)\.updated")

# operator: what stands before the values, and between the last two of them
_IN_WORDS = {
    "IS": ("is", "or"),
    "IS NOT": ("is not", "or"),
    "NONE": ("is not", "or"),
    "CONTAINS": ("contains", "or"),
    "CONTAINS_ALL": ("contains", "and"),
    "CONTAINS_NONE": ("does not contain", "or"),
}
_WITHOUT_VALUES = {"SET": "is set", "UNSET": "is not set", "ANY": "is anything"}
_IN_A_LIST = {
    "IS": "is one of",
    "IS NOT": "is not one of",
    "CONTAINS": "contains any of",
    "CONTAINS_ALL": "contains all of",
    "CONTAINS_NONE": "contains none of",
    "NONE": "is none of",
}
_JOINS = {
    "ALL": "if all of these hold:",
    "ANY": "if at least one of these holds:",
    "NONE": "if none of these holds:",
}


def of_kind(trigger_type: str) -> str:
    return trigger_type.replace("_", " ")


def of_trigger(name: str, *, kind: str) -> str:
    """Return 'incident created' for incident_created; the catch-all says what it hears."""
    field = _CUSTOM_FIELD.fullmatch(name)
    if field:
        return f"custom field {field[1]} updated"
    words = name.replace("_", " ")
    return f"{words} (any change)" if name == f"{kind}_updated" else words


def of_operator(operator: str) -> str:
    """Return 'contains any of' for CONTAINS, as it stands before a list of values."""
    return (_IN_A_LIST | _WITHOUT_VALUES)[operator]


def of_condition(condition: Mapping[str, Any]) -> str:
    """Return "incident.severity is 'SEV0' or a match of /^sev1/"; a path is said as it is written."""
    path, operator = condition["path"], condition["operator"]
    if operator in _WITHOUT_VALUES:
        return f"{path} {_WITHOUT_VALUES[operator]}"
    verb, between = _IN_WORDS[operator]
    return f"{path} {verb} {_listed(condition.get('values', []), between)}"


def of_join(join: str, *, number: int) -> str:
    """Return what stands before so many conditions."""
    return "if" if number == 1 and join != "NONE" else _JOINS[join]


def _listed(values: Sequence[Any], between: str, *, plain: bool = False) -> str:
    """Return the values with a word before the last; unless they are plain, some may be patterns."""
    *others, last = [f"a match of {one}" if is_pattern(one) and not plain else f"'{one}'" for one in values]
    if len(others) >= VALUES_SHOWN:
        others, last = others[: VALUES_SHOWN - 1], f"{len(values) - VALUES_SHOWN + 1} more"
    return f"{', '.join(others)} {between} {last}" if others else last


def of_refusal(looks: Sequence[Any], *, join: str) -> str:
    """Return which conditions (`conditions.Look`) keep a workflow from running, with what was seen instead."""
    if join == "ANY":
        return f"None of its conditions holds: {_each_seen(looks)}."
    if join == "NONE":
        return f"None of its conditions may hold, but: {_each_seen([one for one in looks if one.held or one.error])}."
    return f"Its conditions do not hold: {_each_seen([one for one in looks if not one.held])}."


def _each_seen(looks: Sequence[Any]) -> str:
    shown = [f"{of_condition(one.as_dict())} ({_told(one)})" for one in looks[:REFUSALS_SHOWN]]
    more = len(looks) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _told(look: Any) -> str:
    if look.error:
        return f"it cannot be told: {look.error.removesuffix('.')}"
    return (
        f"it is {_listed([text[:VALUE_SHOWN] for text in look.saw], 'and', plain=True)}"
        if look.saw
        else "it is not set"
    )
