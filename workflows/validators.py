"""What a workflow's parts must look like. Messages say what to do."""

from __future__ import annotations

import re
import zoneinfo
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError

from integrations import senders

from . import conditions, events, liquid, recipients, schedule

_SLUG = re.compile(r"^[a-z0-9]+(?:[-_][a-z0-9]+)*\Z")
SHORTEST_WAIT = timedelta(seconds=10)
SHORTEST_REPEAT = timedelta(minutes=1)
SHORTEST_DEADLINE, LONGEST_DEADLINE = timedelta(minutes=1), timedelta(days=30)


def validate_slug(value: str) -> None:
    if not _SLUG.match(value):
        raise ValidationError("Use small letters, digits and hyphens, for example tell-stakeholders.")


def validate_triggers(trigger_type: str, triggers: Any) -> None:
    if trigger_type not in events.TRIGGERS:
        raise ValidationError({"trigger_type": f"Choose one of {', '.join(events.TRIGGERS)}."})
    if not isinstance(triggers, list) or not triggers or not all(isinstance(name, str) for name in triggers):
        raise ValidationError({"triggers": "Name at least one event, for example incident_created."})
    for name in triggers:
        if not events.is_trigger(name, trigger_type=trigger_type):
            raise ValidationError({"triggers": f"'{name}' is not an event of type {trigger_type}."})
    _refuse_catch_all(trigger_type, triggers)


def _refuse_catch_all(trigger_type: str, triggers: list[str]) -> None:
    """A catch-all beside a specific trigger of the same object would run the workflow twice for one change."""
    catch_all = f"{trigger_type}_updated"
    specific = [name for name in triggers if name != catch_all and events.hears([catch_all], name, kind=trigger_type)]
    if catch_all in triggers and specific:
        raise ValidationError({"triggers": f"'{catch_all}' already hears '{specific[0]}': keep one of the two."})


def validate_conditions(value: Any) -> None:
    if not isinstance(value, list):
        raise ValidationError("Conditions are a list.")
    if len(value) > conditions.MOST_CONDITIONS:
        raise ValidationError(f"{len(value)} conditions are too many: there may be {conditions.MOST_CONDITIONS}.")
    for number, condition in enumerate(value, start=1):
        if problem := conditions.problem_of(condition):
            raise ValidationError(f"Condition {number}: {problem.text}")


def validate_wait(value: str) -> None:
    if value and not SHORTEST_WAIT <= _length(value) <= schedule.LONGEST:
        raise ValidationError(f"Wait between 10 seconds and one year, for example: {schedule.EXAMPLES}.")


def validate_repeat(value: str) -> None:
    if value and not SHORTEST_REPEAT <= _length(value) <= schedule.LONGEST:
        raise ValidationError("Repeat every minute at most and once a year at least, for example: 1 day.")


def validate_length(value: str) -> None:
    if value and not SHORTEST_REPEAT <= _length(value) <= schedule.LONGEST:
        raise ValidationError("Between one minute and one year, for example: 2 weeks.")


def validate_days(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(day, str) and day in schedule.DAYS for day in value):
        raise ValidationError(f'Days are letters: {schedule.LETTERS}, for example ["M", "T", "W", "R", "F"].')


def validate_time_zone(value: str) -> None:
    if value not in zoneinfo.available_timezones():
        raise ValidationError("Write a time zone as the tz database names it, for example Europe/Berlin.")


def validate_repeating(workflow: Any) -> None:
    """Refuse what would never come to pass: days or ends of repeats where nothing repeats."""
    repeats = bool(workflow.repeat_every_duration or workflow.repeat_on)
    ends = ("repeat_condition_duration_since_first_run", "repeat_condition_number_of_repeats", "continuously_repeat")
    for name in ends:
        if getattr(workflow, name) and not repeats:
            raise ValidationError({name: "It never repeats: say how often, or on which days."})


def validate_deadline(value: str) -> None:
    if value and not SHORTEST_DEADLINE <= _length(value) <= LONGEST_DEADLINE:
        raise ValidationError(
            "Give up after one minute at the earliest and 30 days at the latest, for example: 24 hours."
        )


def _length(value: str) -> timedelta:
    try:
        return schedule.parse_duration(value)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def validate_templates(value: Any) -> None:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError('Enter a list of texts, for example ["oncall@example.com"].')
    above = 0
    for item in value:
        _validate_liquid(item, kind=liquid.Kind.LIST, above=above)
        validate_addresses(item)
        above += item.count("\n") + 1


def validate_addresses(value: str) -> None:
    """Refuse what is no address where it can be seen without an event."""
    if has_liquid(value):
        return
    for text in recipients.split(value):
        try:
            recipients.parse(text)
        except ValueError as error:
            raise ValidationError(f"{error}.") from error


def has_liquid(value: str) -> bool:
    return "{{" in value or "{%" in value


def validate_template(value: str) -> None:
    _validate_liquid(value, kind=liquid.Kind.PLAIN)


def validate_body(value: str) -> None:
    _validate_liquid(value, kind=liquid.Kind.BODY)


def _validate_liquid(source: str, *, kind: liquid.Kind, above: int = 0) -> None:
    """Refuse now what could not be filled in with any event."""
    try:
        liquid.check(source, kind)
    except liquid.TemplateError as error:
        place = f"Line {error.line + above}: " if error.line else ""
        raise ValidationError(f"{place}{error}") from error


def validate_visible_sender(value: str) -> None:
    """Refuse a reserved From where it can be seen without an event; templates are checked when they render."""
    if has_liquid(value):
        return _validate_liquid(value, kind=liquid.Kind.LIST)
    try:
        senders.refuse_reserved(value)
    except senders.SenderError as error:
        raise ValidationError(str(error)) from error
    return None
