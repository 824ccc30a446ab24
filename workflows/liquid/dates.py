"""Filters for points in time. 'now' is the moment given to the rendering, never the clock."""

import calendar
import re
from collections.abc import Callable
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from liquid.filter import with_context

from integrations.transports import machine

from . import written_dates
from .values import is_blank, present, to_text

SECONDS = {"millisecond": 0.001, "second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
MONTHS = {"month": 1, "quarter": 3, "year": 12}
# What Ruby's strftime knows and the C library does not, or answers in the machine's own time zone.
EXTRA_DIRECTIVES = re.compile(r"%(%|s|L|:z|P)")
UNIX_TIME = re.compile(r"\d{9,11}")
OMITTED = object()
DAY_WORDS = {"yesterday": -1, "today": 0, "tomorrow": 1}


def moment(value: object, *, now: datetime) -> datetime | None:
    """Return the point in time that a value names, in UTC when it names no zone; None for what is no date."""
    try:
        return _moment(value, now=now)
    except (ValueError, OverflowError, OSError):  # a number of milliseconds is no year that Python knows
        return None


def _moment(value: object, *, now: datetime) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), tzinfo=UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, tz=UTC)
    return _moment_in_text(value.strip(), now=now) if isinstance(value, str) else None


def _moment_in_text(text: str, *, now: datetime) -> datetime | None:
    if text.casefold() in ("now", "today"):
        return now
    if UNIX_TIME.fullmatch(text):
        return datetime.fromtimestamp(int(text), tz=UTC)
    return moment(written_dates.read(text), now=now)


@with_context
def format_date(value: object, pattern: object = None, *, context: Any) -> object:
    """Return the date in the given form; what is no date stays as it is."""
    when = moment(value, now=context.now)
    if when is None or is_blank(pattern):
        return value if present(value) else ""
    return when.strftime(EXTRA_DIRECTIVES.sub(lambda match: _directive(match[1], when), to_text(pattern)))


def _directive(letter: str, when: datetime) -> str:
    if letter == "s":
        return str(int(when.timestamp()))
    if letter == "L":
        return f"{when.microsecond // 1000:03d}"
    if letter == "P":
        return when.strftime("%p").lower()
    if letter == ":z":
        return f"{when:%z}"[:3] + ":" + f"{when:%z}"[3:5]
    return "%%"


@with_context
def to_iso8601(value: object, *, context: Any) -> str:
    when = moment(value, now=context.now)
    return to_text(value) if when is None else when.isoformat().replace("+00:00", "Z")


@with_context
def in_time_zone(value: object, zone: object = "UTC", *, context: Any) -> object:
    return changed(value, lambda when: when.astimezone(time_zone(zone)), context=context)


@with_context
def to_utc(value: object, *, context: Any) -> object:
    return changed(value, lambda when: when.astimezone(UTC), context=context)


def changed(value: object, change: Callable[[datetime], datetime], *, context: Any) -> object:
    """Return the changed date; what is no date, or would leave the calendar, stays as it is."""
    when = moment(value, now=context.now)
    try:
        return value if when is None else change(when)
    except OverflowError:
        return value


def time_zone(name: object) -> ZoneInfo:
    try:
        return ZoneInfo(to_text(name) or "UTC")
    except (OSError, ValueError, LookupError) as error:
        if machine.in_words(error):
            raise
        raise ValueError(f'unknown time zone "{to_text(name)}"') from error


@with_context
def date_add(value: object, amount: object, unit: object = "day", *, context: Any) -> object:
    return changed(value, lambda when: _moved(when, float(to_text(amount) or 0), to_text(unit)), context=context)


@with_context
def date_minus(value: object, amount: object, unit: object = "day", *, context: Any) -> object:
    return changed(value, lambda when: _moved(when, -float(to_text(amount) or 0), to_text(unit)), context=context)


def _moved(when: datetime, amount: float, unit: str) -> datetime:
    single = unit.strip().casefold().removesuffix("s")
    if single in SECONDS:
        return when + timedelta(seconds=amount * SECONDS[single])
    if single not in MONTHS:
        raise ValueError(f'unknown unit "{unit}"')
    years, month = divmod(when.month - 1 + int(amount) * MONTHS[single], 12)
    year = when.year + years
    if not MINYEAR <= year <= MAXYEAR:
        raise OverflowError(f"there is no year {year}")
    return when.replace(year=year, month=month + 1, day=min(when.day, calendar.monthrange(year, month + 1)[1]))


@with_context
def smart_date(value: object, phrase: object = "today", *, context: Any) -> object:
    """Return noon of the day that a phrase names, counted from the value: 'tomorrow', 'friday', '3 days'."""
    words = to_text(phrase).strip().casefold()
    return changed(value, lambda when: _noon(_named_day(when, words)), context=context)


def _noon(day: datetime) -> datetime:
    return day.replace(hour=12, minute=0, second=0, microsecond=0)


def _named_day(when: datetime, phrase: str) -> datetime:
    if phrase in DAY_WORDS:
        return when + timedelta(days=DAY_WORDS[phrase])
    names = [name.casefold() for name in calendar.day_name]
    if phrase.removeprefix("next ") in names:
        wanted = names.index(phrase.removeprefix("next "))
        return when + timedelta(days=(wanted - when.weekday() - 1) % 7 + 1)
    match = re.fullmatch(r"(?:in )?(\d{1,6}) ([a-z]+?)(?: from now| (ago))?", phrase)
    if match is None:
        raise ValueError(f'smart_date does not know "{phrase}"')
    return _moved(when, float(match[1]) * (-1 if match[3] else 1), match[2])


@with_context
def distance_of_time_in_words(value: object, other: object = OMITTED, precision: object = "", *, context: Any) -> str:
    """Return the time between two dates, one and now, or 0 and a number of seconds; `precision` changes nothing."""
    if other is OMITTED:
        other = 0 if isinstance(value, int | float) else "now"
    return _distance(value, other, now=context.now)


@with_context
def distance_of_time_in_words_to_now(value: object, precision: object = "", *, context: Any) -> str:
    return _distance(value, context.now, now=context.now)


def _distance(value: object, other: object, *, now: datetime) -> str:
    start, end = moment(value, now=now), moment(other, now=now)
    return _in_words(abs((end - start).total_seconds())) if start and end else ""


def _in_words(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    for limit, size, words in STEPS:
        if minutes < limit:
            return _counted(max(1, round(minutes / size)), words)
    years = minutes / 525_600
    remainder = years % 1
    prefix = "about" if remainder < 0.25 else "over" if remainder < 0.75 else "almost"
    return f"{prefix} {_counted(int(years) + (remainder >= 0.75), 'year')}"


def _counted(number: int, words: str) -> str:
    *prefix, noun = words.split()
    return " ".join([*prefix, str(number), noun if number == 1 else noun + "s"])


STEPS = (
    (45, 1, "minute"),
    (1_440, 60, "about hour"),
    (43_200, 1_440, "day"),
    (86_400, 43_200, "about month"),
    (525_600, 43_200, "month"),
)

FILTERS: dict[str, Callable[..., object]] = {
    "date": format_date,
    "to_iso8601": to_iso8601,
    "in_time_zone": in_time_zone,
    "to_utc": to_utc,
    "date_add": date_add,
    "date_minus": date_minus,
    "smart_date": smart_date,
    "distance_of_time_in_words": distance_of_time_in_words,
    "distance_of_time_in_words_to_now": distance_of_time_in_words_to_now,
}
