"""`python -m bench [SECTION...]`: measure, print tables, write docs/benchmarks.md.

`--only` measures some rows alone, by the beginnings of their keys, and leaves the file as it is:

    python -m bench throughput --only rootmail-sqlite-single --mails 2000 --rounds 1
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import ModuleType

from . import distance, growth, latency, machine, overhttp, report, throughput
from .options import Options

# Each with the numbers of mails and rounds that are usual for it.
SECTIONS: dict[str, tuple[ModuleType, int, int]] = {
    "throughput": (throughput, 1500, 3),
    "http": (overhttp, 1500, 3),
    "distance": (distance, 120, 3),
    "latency": (latency, 500, 1),
    "growth": (growth, 50_000, 3),
}
USUAL = ["throughput", "http", "distance", "latency"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--mails", type=int, default=0, help="mails each time")
    parser.add_argument("--rounds", type=int, default=0, help="how often everything is measured")
    parser.add_argument("--only", default="", help="measure these rows alone; write no file")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything that runs is stopped
    measured = {}
    for name in given.sections or [one for one in USUAL if one in SECTIONS]:
        measured[name] = section(name, given)
        sys.stdout.write(f"{measured[name]}\n")
        sys.stdout.flush()
        if not given.only:
            report.write(measured, order=list(SECTIONS))


def section(name: str, given: argparse.Namespace) -> str:
    """Measure one section and return its part of the file."""
    module, mails, rounds = SECTIONS[name]
    before = f"{machine.describe()} Load before: {os.getloadavg()[0]:.1f}."
    body = module.run(Options(given.mails or mails, given.rounds or rounds, given.only))
    return f"## {module.TITLE}\n\n{before}\n\n{body}"


if __name__ == "__main__":
    main()
