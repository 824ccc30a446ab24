"""Dates as mail programs, other systems and people write them.

What is not understood to its end is no date: shown as it came it is right, and with half of it left out it is wrong.
"""

import re
from datetime import datetime, time, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime

from dateutil import parser

LONGEST = 60
UTC_BY_NAME = re.compile(r"\s*UTC$")
BLANK_BEFORE_ZONE = re.compile(r"\s+(?=[+-]\d|Z$)")
MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
# The zones that RFC 5322, 4.3, knows by name, beside those of Greenwich.
HOURS_OF_ZONES = {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
RFC_5322 = re.compile(
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun),\s*)?\d{{1,2}}\s+{MONTH}\s+(?:\d\d|\d{{4}})\s+\d\d:\d\d(?::\d\d)?\s+"
    rf"(?:[+-]\d{{4}}|utc?|gmt|z|{'|'.join(HOURS_OF_ZONES)})(?:\s*\([^()]*\))?",
    re.IGNORECASE,
)
# 3/2/2026 is one day in Boston and another in Berlin: only its name, or the year before it, shows which is the month.
WITH_MONTH_AND_YEAR = re.compile(
    rf"(?=.*\b{MONTH}[a-z]*\b)(?=.*\b(?:19|20)\d\d\b)|(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.]\d", re.IGNORECASE
)
# 'GMT+0100', as browsers write it, is an hour before Greenwich; `dateutil` takes it for an hour behind.
GREENWICH_BEFORE_OFFSET = re.compile(r"\b(?:gmt|utc)(?=\s?[+-]\d)", re.IGNORECASE)
TIME_OF_DAY = re.compile(r"\d:\d|\d\s*[ap]\.?m\b", re.IGNORECASE)
# What a text leaves out is taken from these: where they make a difference, the day is not all there.
OTHERWISE = (datetime(2000, 1, 1), datetime(2004, 2, 15))


def read(text: str) -> datetime | None:
    """Return the point in time, without a zone when the text names none, or None."""
    for attempt in (_read_iso, _read_rfc_5322, _read_words):
        try:
            return attempt(text)
        except (ValueError, OverflowError):
            continue
    return None


def _read_iso(text: str) -> datetime:
    # '2026-11-22 10:30:00 UTC' and '... +0100' are how other systems print their times.
    return datetime.fromisoformat(BLANK_BEFORE_ZONE.sub("", UTC_BY_NAME.sub("Z", text)))


def _read_rfc_5322(text: str) -> datetime:
    if not RFC_5322.fullmatch(text):
        raise ValueError("not as in a mail")
    return parsedate_to_datetime(text)


def _read_words(text: str) -> datetime:
    if len(text) > LONGEST or not WITH_MONTH_AND_YEAR.match(text):
        raise ValueError("no month and year that are clear")
    clear = GREENWICH_BEFORE_OFFSET.sub("", text)
    first, second = [_parsed(clear, otherwise=otherwise) for otherwise in OTHERWISE]
    if first != second or (first.time() != time() and not TIME_OF_DAY.search(text)):
        raise ValueError("no whole day, or a number too many")
    return first


def _parsed(text: str, *, otherwise: datetime) -> datetime:
    parsed: datetime = parser.parse(text, default=otherwise, tzinfos=_zone)
    return parsed


def _zone(name: str | None, offset: int | None) -> tzinfo | None:
    """Return the zone that a text names; `dateutil` would leave out a name that it does not know."""
    if offset is not None:
        return timezone(timedelta(seconds=offset))
    if name is None:
        return None
    if name not in HOURS_OF_ZONES:
        raise ValueError(f"unknown time zone {name}")
    return timezone(timedelta(hours=HOURS_OF_ZONES[name]))
