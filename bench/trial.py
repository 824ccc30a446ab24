"""One measurement: trigger, wait for the sink's last accepted mail, make sure that exactly these mails came."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .sink import WrongMails
from .stage import Contender

WARM_UP = 60
RECORDED_WITHIN = 15.0  # seconds after the last mail


@dataclass(frozen=True)
class Trial:
    """What one time took. `triggered`: seconds until every call had returned; `processor`: seconds, by whom."""

    mails: int
    seconds: float
    triggered: float
    processor: dict[str, float]
    size: float

    @property
    def rate(self) -> float:
        return self.mails / self.seconds

    @property
    def milliseconds(self) -> dict[str, float]:
        """Processor milliseconds for one mail, by whom."""
        return {who: seconds * 1000 / self.mails for who, seconds in self.processor.items()}


@dataclass
class Row:
    """One line of a table: a contender, triggered in one way, several times."""

    contender: Contender
    way: str
    trials: list[Trial]

    @property
    def key(self) -> str:
        return "-".join(part for part in (self.contender.key, self.way) if part)

    @property
    def rates(self) -> list[float]:
        return [trial.rate for trial in self.trials]

    @property
    def rate(self) -> float:
        return median(self.rates)

    def processor(self) -> dict[str, float]:
        """Return the medians of the processor milliseconds for one mail."""
        return {who: median(trial.milliseconds[who] for trial in self.trials) for who in self.trials[0].processor}


def warm_up(contender: Contender, *, mails: int = 0) -> None:
    """Send a few mails, so that every process has loaded what it needs."""
    for batch in contender.ways.values():
        measure(contender, mails=mails or WARM_UP, batch=batch)


def measure(contender: Contender, *, mails: int, batch: int = 1) -> Trial:
    """Take the time of so many mails; raises WrongMails unless each of them came once and, by us, is recorded."""
    stage, caller = contender.stage, contender.caller
    assert caller
    first, before = stage.next_numbers(mails), stage.sink.count
    recorded = caller.accepted()
    caller.prepare(first, mails, batch=batch)
    used = contender.processor()
    began = caller.begin()
    ended = stage.sink.wait_for(before + mails, watch=caller.demand_alive)
    triggered = caller.finish() - began
    wait_until_recorded(contender, recorded, mails=mails)
    processor = {who: seconds - used[who] for who, seconds in contender.processor().items()}
    size = stage.sink.check(contender.recipients(first, mails))
    return Trial(mails, ended - began, triggered, processor, size / mails)


def wait_until_recorded(contender: Contender, before: int | None, *, mails: int) -> None:
    """Make sure that every outcome is recorded, where the contender records them."""
    assert contender.caller
    deadline = time.monotonic() + RECORDED_WITHIN
    while before is not None and (now := contender.caller.accepted() or 0) != before + mails:
        if time.monotonic() > deadline:
            raise WrongMails(f"{now - before} of {mails} mails are recorded as accepted.")
        time.sleep(0.02)


def alternate(rows: Sequence[Row], *, mails: int, rounds: int) -> None:
    """Measure every row once, then every row again: what disturbs the machine for a while disturbs all of them."""
    contenders = list(dict.fromkeys(row.contender for row in rows))
    for number in range(1, rounds + 1):
        for contender in contenders:
            with contender:
                warm_up(contender)
                for row in [row for row in rows if row.contender is contender]:
                    row.trials.append(measure(contender, mails=mails, batch=contender.ways[row.way]))
                    say(f"round {number}: {row.key:28} {row.trials[-1].rate:7.0f} mails/s")


def say(text: str) -> None:
    """Tell what happens meanwhile; tables go to standard output."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
