"""Durations as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.schedule import DAYS, next_time, parse_duration, rhythm


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", 0),
        ("30 seconds", 30),
        ("30s", 30),
        ("1 sec", 1),
        ("5 mins", 300),
        ("5m", 300),
        ("1h", 3600),
        ("2h 30min", 9000),
        ("2 hours, 30 minutes", 9000),
        ("1 hour and 5 minutes", 3900),
        ("1.5 hrs", 5400),
        ("1d", 86400),
        ("2 weeks", 1209600),
        ("1 month", 2592000),
        ("1 year", 31536000),
        (" 1 H ", 3600),
    ],
)
def test_reads_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["soon", "5", "5 parsecs", "-5 minutes", "5 minutes ago", "1h x", "½ hour"])
def test_refuses_anything_else_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="Write for example: 30 seconds, 5 mins, 1h, 2h 30min, 2 weeks"):
        parse_duration(text)


def test_a_huge_number_is_only_long() -> None:
    assert parse_duration("9" * 300 + " weeks") > timedelta(days=3650)


BERLIN = "Europe/Berlin"  # clocks go forward on 2026-03-29 at 02:00, back on 2026-10-25 at 03:00


@pytest.mark.parametrize(
    ("every", "days", "zone", "first", "expected"),
    [
        ("1 day", "", "UTC", "2026-03-27 09:15", ["2026-03-28 09:15", "2026-03-29 09:15"]),
        # the time on the clock stays, so the moment in UTC moves
        ("1 day", "", BERLIN, "2026-03-27 08:15", ["2026-03-28 08:15", "2026-03-29 07:15", "2026-03-30 07:15"]),
        ("1 day", "", BERLIN, "2026-10-23 07:15", ["2026-10-24 07:15", "2026-10-25 08:15", "2026-10-26 08:15"]),
        # half past two does not exist on the 29th: half past three it is, and half past two again the day after
        ("1 day", "", BERLIN, "2026-03-27 01:30", ["2026-03-28 01:30", "2026-03-29 01:30", "2026-03-30 00:30"]),
        # half past two comes twice on the 25th: the first one counts
        ("1 day", "", BERLIN, "2026-10-23 00:30", ["2026-10-24 00:30", "2026-10-25 00:30", "2026-10-26 01:30"]),
        # hours are hours
        ("6h", "", BERLIN, "2026-03-28 20:00", ["2026-03-29 02:00", "2026-03-29 08:00", "2026-03-29 14:00"]),
        ("36h", "", BERLIN, "2026-03-28 08:00", ["2026-03-29 20:00", "2026-03-31 08:00"]),
        # on working days; from Friday to Monday
        ("1 day", "MTWRF", BERLIN, "2026-03-26 08:15", ["2026-03-27 08:15", "2026-03-30 07:15", "2026-03-31 07:15"]),
        ("", "MTWRF", BERLIN, "2026-03-27 08:15", ["2026-03-30 07:15", "2026-03-31 07:15"]),
        # a week from a Wednesday on, on Mondays: each Monday
        ("1 week", "M", "UTC", "2026-11-25 09:00", ["2026-12-07 09:00", "2026-12-14 09:00"]),
        ("1 day", "SU", "UTC", "2026-11-25 09:00", ["2026-11-28 09:00", "2026-11-29 09:00", "2026-12-05 09:00"]),
        ("6h", "M", "UTC", "2026-11-27 09:00", ["2026-11-30 03:00", "2026-11-30 09:00", "2026-11-30 15:00"]),
        # Friday in Berlin is still Thursday in Honolulu
        (
            "12h",
            "F",
            "Pacific/Honolulu",
            "2026-11-26 06:00",
            ["2026-11-27 18:00", "2026-11-28 06:00", "2026-12-04 18:00"],
        ),
        ("1 month", "", "UTC", "2026-01-31 09:00", ["2026-03-02 09:00"]),
    ],
)
def test_repeats_in_its_rhythm(every: str, days: str, zone: str, first: str, expected: list[str]) -> None:
    plan = rhythm(every, days, zone)
    assert plan is not None
    start = moment = datetime.fromisoformat(f"{first}+00:00")
    found = []
    for _ in expected:
        moment = next_time(plan, first=start, now=moment)
        found.append(f"{moment:%Y-%m-%d %H:%M}")
    assert found == expected


def test_what_was_missed_is_left_out() -> None:
    plan = rhythm("1h", "", "UTC")
    assert plan is not None
    first = datetime(2026, 11, 25, 9, 5, tzinfo=UTC)
    assert next_time(plan, first=first, now=first + timedelta(days=40, minutes=1)) == first + timedelta(
        days=40, hours=1
    )


def test_without_a_length_and_days_nothing_repeats() -> None:
    assert rhythm("", [], "UTC") is None


@given(
    st.integers(1, 60 * 24 * 40),
    st.sets(st.sampled_from("SMTWRFU")),
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    st.integers(0, 60 * 24 * 400),
)
def test_the_next_time_is_later_and_on_an_allowed_day(
    minutes: int, days: set[str], zone: str, first: datetime, passed: int
) -> None:
    plan = rhythm(f"{minutes} minutes", days, zone)
    assert plan is not None
    start = first.replace(tzinfo=UTC)
    now = start + timedelta(minutes=passed)
    found = next_time(plan, first=start, now=now)
    assert found > now
    assert not days or found.astimezone(plan.zone).weekday() in {DAYS[letter] for letter in days}
    longest = timedelta(minutes=minutes) + timedelta(days=7, hours=26)  # Apia once left out a whole day
    assert found - now <= longest
