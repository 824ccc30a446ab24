"""What a section of the benchmark is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`only`: beginnings of the keys of rows, separated by commas; empty for all of them."""

    mails: int
    rounds: int
    only: str = ""
