"""docs/benchmarks.md: written by the command alone. A section that was not measured this time stays as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.installation import ROOT

FILE = ROOT / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `make bench` and `make bench-growth`; do not edit. Each section says when it was measured, and on what.

Compare within a table only: the contenders of one table ran in turns on one machine, and ratios hold where absolute
numbers do not. A difference of less than a fifth means nothing. 'CPU ms a mail' is what all processes together used of
the processors, which is less noisy than the time. 'Accepted' is the relay's 250.
"""
_SECTION = re.compile(r"^<!-- section: (\w+) -->\n(.*?)(?=^<!-- section: |\Z)", re.M | re.S)


def write(measured: Mapping[str, str], *, order: list[str]) -> None:
    """Put these sections into the file, in this order among the others."""
    sections = dict(_SECTION.findall(FILE.read_text())) if FILE.exists() else {}
    sections |= {name: text.strip() + "\n\n" for name, text in measured.items()}
    parts = [f"<!-- section: {name} -->\n{sections[name]}" for name in order if name in sections]
    FILE.write_text("".join([HEAD, "\n", *parts]).rstrip() + "\n")
