"""When a workflow acts, in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from workflows import words
from workflows.models import Workflow

SEV1 = [{"path": "incident.severity", "operator": "IS", "values": ["SEV1"]}]
WEEKDAYS = ["M", "T", "W", "R", "F"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "Starts at once."),
        ({"wait": "30 seconds"}, "Waits 30 seconds."),
        ({"run_once_per_resource": True}, "Starts at once, only once for each resource."),
        ({"wait": "5 mins", "run_once_per_resource": True}, "Waits 5 mins, only once for each resource."),
        ({"repeat_every_duration": "1 day"}, "Starts at once, then repeats every day, without end."),
        ({"repeat_every_duration": "1 Hour"}, "Starts at once, then repeats every hour, without end."),
        ({"repeat_every_duration": "2h 30min"}, "Starts at once, then repeats every 2h 30min, without end."),
        ({"repeat_on": ["S"]}, "Starts at once, then repeats on Sundays (UTC), without end."),
        (
            {"repeat_every_duration": "1 day", "conditions": SEV1},
            "Starts at once, then repeats every day while its conditions hold.",
        ),
        (
            {"repeat_every_duration": "1 day", "conditions": SEV1, "continuously_repeat": True},
            "Starts at once, then repeats every day, whether its conditions hold or not.",
        ),
        (
            {
                "wait": "30 seconds", "repeat_every_duration": "1 day", "repeat_on": WEEKDAYS, "conditions": SEV1,
                "time_zone": "Europe/Berlin", "repeat_condition_number_of_repeats": 5,
            },
            "Waits 30 seconds, then repeats every day on Mondays to Fridays (Europe/Berlin) while its conditions hold, "
            "at most 5 times.",
        ),
        (
            {"repeat_every_duration": "10m", "repeat_condition_number_of_repeats": 1, "run_once_per_resource": True},
            "Starts at once, then repeats every 10m, at most 1 time; runs only once for each resource.",
        ),
        (
            {
                "repeat_every_duration": "10m", "repeat_condition_number_of_repeats": 3,
                "repeat_condition_duration_since_first_run": "2 weeks",
            },
            "Starts at once, then repeats every 10m, at most 3 times and until 2 weeks after its first run.",
        ),
    ],
)  # fmt: skip
def test_one_sentence(values: dict[str, Any], said: str) -> None:
    assert words.of_timing(Workflow(**values), zone="UTC") == said


@pytest.mark.parametrize(
    ("letters", "said"),
    [
        ("M", "Mondays"),
        ("US", "Saturdays and Sundays"),
        ("SMU", "Mondays, Saturdays and Sundays"),
        ("MTW", "Mondays to Wednesdays"),
        ("FMTW", "Mondays to Wednesdays and Fridays"),
        ("MWF", "Mondays, Wednesdays and Fridays"),
        ("MTWRFUS", "every day of the week"),
    ],
)
def test_days(letters: str, said: str) -> None:
    assert words.of_days(list(letters)) == said
