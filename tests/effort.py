"""How much of the tests is carried out: `make test` is for every change; CI sets `TEST_LONG` and does all of it."""

from __future__ import annotations

import os

import pytest

ALL = "TEST_LONG" in os.environ
# What takes ten seconds and more, of a processor or of waiting.
LONG = pytest.mark.skipif(not ALL, reason="TEST_LONG is not set: it takes long")


def examples(most: int) -> int:
    """Return how many examples Hypothesis tries: `most` of them, or a fifth where there is less time."""
    return most if ALL else max(most // 5, 10)
