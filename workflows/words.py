"""What sets a workflow off, and when it acts, in words for people. Pure."""

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
_ONLY_TRIED = "Nothing was run: this was a try."


_ONE = re.compile(r"1\s*(second|minute|hour|day|week|month)s?", re.IGNORECASE)
# The week as it is lived; the letters are those of the public API.
_WEEK = {
    "M": "Monday",
    "T": "Tuesday",
    "W": "Wednesday",
    "R": "Thursday",
    "F": "Friday",
    "U": "Saturday",
    "S": "Sunday",
}


def of_kind(trigger_type: str) -> str:
    return "custom event" if trigger_type == "custom" else trigger_type.replace("_", " ")


def of_trigger(name: str, *, kind: str) -> str:
    """Return 'incident created' for incident_created; the catch-all says what it hears."""
    field = _CUSTOM_FIELD.fullmatch(name)
    if field:
        return f"custom field {field[1]} updated"
    if "." in name:
        return name  # of one's own, and written like this by whoever sends it
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


def of_timing(workflow: Any, *, zone: str) -> str:
    """Return one sentence: 'Waits 30 seconds, then repeats every day on Mondays while its conditions hold.'

    `zone` is the time zone of a workflow that names none. Durations stand as they were typed.
    """
    start = f"Waits {workflow.wait}" if workflow.wait else "Starts at once"
    repeats = workflow.repeat_every_duration or workflow.repeat_on
    then = f", then repeats{_of_repeats(workflow, zone=zone)}" if repeats else ""
    once = ", only once for each resource" if workflow.run_once_per_resource else ""
    return f"{start}{once if not then else ''}{then}{f'; runs{once[1:]}' if once and then else ''}."


def _of_repeats(workflow: Any, *, zone: str) -> str:
    words = f" {_every(workflow.repeat_every_duration)}" if workflow.repeat_every_duration else ""
    if workflow.repeat_on:
        words += f" on {of_days(workflow.repeat_on)} ({workflow.time_zone or zone})"
    if workflow.conditions:
        words += (
            ", whether its conditions hold or not" if workflow.continuously_repeat else " while its conditions hold"
        )
    return words + (_of_ends(workflow) or ("" if workflow.conditions else ", without end"))


def _of_ends(workflow: Any) -> str:
    number, length = workflow.repeat_condition_number_of_repeats, workflow.repeat_condition_duration_since_first_run
    times = [f"at most {number} time{'' if number == 1 else 's'}"] if number else []
    ends = times + ([f"until {length} after its first run"] if length else [])
    return f", {' and '.join(ends)}" if ends else ""


def _every(duration: str) -> str:
    one = _ONE.fullmatch(duration.strip())
    return f"every {one[1].lower() if one else duration}"


def of_days(letters: Sequence[str]) -> str:
    """Return 'Mondays to Wednesdays and Fridays'."""
    if set(letters) >= set(_WEEK):
        return "every day of the week"
    stretches: list[list[str]] = [[]]
    for letter, name in _WEEK.items():
        if letter in letters:
            stretches[-1].append(f"{name}s")
        elif stretches[-1]:
            stretches.append([])
    parts = [part for stretch in stretches for part in _stretch(stretch)]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _stretch(days: list[str]) -> list[str]:
    return [f"{days[0]} to {days[-1]}"] if len(days) > 2 else days


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


def of_trial(looks: Sequence[Any], *, held: bool, join: str, enabled: bool) -> str:
    """Return what a try of conditions has found. It only looks, and says so: nobody shall wait for a mail."""
    if held:
        return f"With this event it would run{'' if enabled else ', once it is switched on'}. {_ONLY_TRIED}"
    return f"{_ONLY_TRIED} With this event it would not run. {of_refusal(looks, join=join)}"


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
