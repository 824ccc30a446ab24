"""How much work the conditions of one workflow may cause with one event.

An event may be large on purpose, and a pattern or a JSONPath may take for ever: both are counted, and stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import regex

STEPS = 1_000_000  # values that are looked at, less than a second
LETTERS = 256  # of a long text that are one step more
SECONDS = 0.5  # of the processor, for all patterns together
SECONDS_OF_ONE = 0.1


class TooMuch(Exception):
    """It would take too long. The text says what did."""


@dataclass(slots=True)
class Effort:
    steps: int = STEPS
    seconds: float = SECONDS

    def spend(self, steps: int = 1) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise TooMuch(f"The conditions would have to look at more than {STEPS:,} values of this event.")

    def read(self, text: str) -> None:
        """Count a text that is gone through once."""
        self.spend(1 + len(text) // LETTERS)

    def matches(self, pattern: regex.Pattern[str], text: str, *, whole: bool = False) -> bool:
        """Say whether the pattern is in the text, or is the whole of it; raises TooMuch."""
        self.spend(2)
        if self.seconds <= 0:
            raise TooMuch("The patterns of all conditions together took too long on this event.")
        began = time.thread_time()
        try:
            look = pattern.fullmatch if whole else pattern.search
            return bool(look(text, timeout=min(self.seconds, SECONDS_OF_ONE)))
        except TimeoutError as error:
            raise TooMuch(f"The pattern {pattern.pattern} took too long on this event.") from error
        finally:
            self.seconds -= time.thread_time() - began
