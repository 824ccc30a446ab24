"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from workflows.schedule import parse_duration


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
