"""Seeded faults at random over a random load, for minutes; `make chaos`. Exit code 1 where an invariant is broken.

python -m tests.chaos --seed 7 --minutes 3 --database both
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests import environment  # noqa: F401 (nothing of the caller's environment counts)
from tests.installation import fresh_postgres
from tests.lab import Lab
from tests.lab_faults import DONE, ERROR, FREEZE, HANG, KILL
from tests.lab_invariants import Story, broken, unknown

POINTS = (
    *("ring", "rung", "run.claim", "run.claimed", "run.render", "run.store", "run.storing", "run.stored"),
    *("mailer.open", "claim", "claimed", "may_send", "may_send.said", "look-up", "slot", "hand_over", "handed_over"),
    *("smtp.connect", "smtp.ehlo", "smtp.auth", "smtp.mail", "smtp.mailed", "smtp.dot", "smtp.reply"),
    *("pause", "lift", "record", "record.begin", "recording", "record.done", "settle", "settled"),
    *("accept", "accept.begin", "accept.done"),
    *("give_back", "gave_back", "sweep", "sweep.runs", "take_over", "took_over", "sweep.ending", "record.error"),
    *("sweep.ended", "swept", "overdue", "overdue.done"),
    # Where a copy is made or lost.
    *3 * ("may_send.said", "smtp.mailed", "smtp.dot", "smtp.reply", "handed_over", "lift", "record", "accept"),
)
ENOUGH = 4
EXTENSIONS = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")  # with them, the next mail's envelope leaves ahead
RINGING = ("ring", "rung")  # by the desk, too, which is asked by the lab itself and must not be frozen
MOODS: tuple[dict[str, str | list[str]], ...] = (
    {},
    {},
    {"RCPT person1": ["550 5.1.1 nobody of that name"]},
    {"RCPT person2": ["450 4.2.1 later"] * 2},
    {"MAIL": ["421 4.3.2 not now"] * 3},
    {".": ["451 4.3.0 later"] * 2},
    {".": ["554 5.6.0 never"]},
    {"AUTH": ["454 4.7.0 not now"]},
)


class Chaos:
    """One run over one database."""

    def __init__(self, lab: Lab, *, seed: str, seconds: float, hold: bool) -> None:
        self.lab, self.random, self.seconds, self.hold = lab, random.Random(seed), seconds, hold
        self.thawed = time.monotonic()
        self.done: Counter[str] = Counter()
        self.deeds: list[tuple[int, Callable[[], None]]] = [
            (8, self.arm), (2, self.change_mood), (1, self.hang_up), (1, self.drop_answers),
            (1, self.kill_worker), (1, self.freeze_worker), (1, self.restart_worker), (1, self.change_settings),
            (2, self.wipe_broker), (1, self.kill_broker),
        ]  # fmt: skip
        if lab.database_url:
            self.deeds.append((2, self.cut_database))

    def run(self) -> Story:
        self.lab.load(hold=self.hold, actions=2, recipients=3)
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            self.lab.trigger(self.random.choice([1, 2, 4, 12]))
            weights, deeds = zip(*self.deeds, strict=True)
            self.random.choices(deeds, weights)[0]()
            self.lab.relay.drop = ()
            self.thaw_now_and_then()
            time.sleep(self.random.uniform(0.0, 0.5))
        self.lab.recover()
        try:
            self.lab.wait_for_the_end(seconds=60)
        except AssertionError as error:  # the first invariant names what has not ended
            _say(f"\n{error}")
        return self.lab.story()

    def thaw_now_and_then(self) -> None:
        """Let those go on that a fault froze: for longer than a lease, but not for good."""
        if time.monotonic() > self.thawed + 2.0 * self.lab.scale:
            self.thawed = time.monotonic()
            self.lab.thaw()

    def arm(self) -> None:
        # A frozen process of SQLite holds the lock of the whole file: it may hang, and is not frozen here.
        modes = [ERROR, HANG, HANG, KILL, DONE, *([FREEZE] if self.lab.database_url else [])]
        if len(self.lab.faults.armed()) > ENOUGH:
            return  # faults that come faster than mails let none through, and then prove nothing
        for point in self.random.choices(POINTS, k=3):
            mode = self.random.choice(modes)
            self.lab.faults.arm(point, HANG if mode == FREEZE and point in RINGING else mode)

    def change_mood(self) -> None:
        self.lab.relay.replies = {at: list(said) for at, said in self.random.choice(MOODS).items()}
        self.lab.relay.slow = self.random.choice([{}, {".": 0.02}, {"RCPT": 0.05}])
        self.done["relay: another mood"] += 1

    def hang_up(self) -> None:
        self.lab.relay.hang_up()
        self.done["relay: hangs up"] += 1

    def drop_answers(self) -> None:
        self.lab.relay.drop = [self.random.choice([".", ".", "DATA", "MAIL", "CONNECT"])]
        self.lab.trigger(2)
        time.sleep(0.3)
        self.done["relay: no answer"] += 1

    def kill_worker(self) -> None:
        if not self.lab.all_ready():
            return  # one is left at work: while nobody is, time passes and nothing is proved
        name = self.random.choice(self.lab.worker_names)
        self.lab.kill_worker(name)
        self.lab.start_worker(name)
        self.done["worker: killed"] += 1

    def restart_worker(self) -> None:
        if not self.lab.all_ready():
            return
        name = self.random.choice(self.lab.worker_names)
        self.lab.programs[name].stop(seconds=10)
        self.lab.start_worker(name)
        self.done["worker: stopped and started"] += 1

    def freeze_worker(self) -> None:
        """Stop everybody of a worker for longer than a lease; those frozen by a fault go on, too."""
        if not self.lab.all_ready():
            return
        self.lab.freeze(self.random.choice(self.lab.worker_names))
        time.sleep(1.5 * self.lab.scale)
        self.lab.thaw()
        self.done["worker: frozen"] += 1

    def change_settings(self) -> None:
        self.lab.connect(proven=self.random.random() < 0.5)
        self.done["settings: connected again"] += 1

    def cut_database(self) -> None:
        self.done["database: connections cut"] += self.lab.cut_database()

    def wipe_broker(self) -> None:
        self.lab.wipe_broker()
        self.done["broker: wiped"] += 1

    def kill_broker(self) -> None:
        self.lab.kill_broker()
        time.sleep(self.random.uniform(0.0, 1.0))
        self.lab.start_broker()
        self.done["broker: killed"] += 1


def table(story: Story, faults: Counter[str]) -> list[tuple[str, int]]:
    """Return what is to be told, line by line."""
    rows, lost, doubled, excused = story.deliveries, 0, 0, 0
    for one in rows:
        for who in one["recipients"]:
            copies = story.copies(one, who["address"])
            lost += who["state"] == "accepted" and copies == 0
            excused += copies > 1 and unknown(one) > 0
            doubled += copies > 1 and unknown(one) == 0
    told = [("mails (deliveries)", len(rows)), ("handed over (the relay's ledger)", len(story.ledger))]
    told += [(f"ended as {state}", n) for state, n in sorted(Counter(one["state"] for one in rows).items())]
    told += [("of those failed: given up at their deadline", sum("Given up" in one["reason"] for one in rows))]
    told += [("attempts with an unknown outcome", story.unknown), ("lost", lost)]
    told += [("doubled without an unknown outcome", doubled), ("doubled after an unknown outcome", excused)]
    return told + [(f"fault: {what}", number) for what, number in sorted(faults.items())]


def play(database: str, *, seed: int, seconds: float, hold: bool) -> list[str]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rootmail-chaos-")))
        url = stack.enter_context(fresh_postgres()) if database == "postgresql" else ""
        lab = stack.enter_context(Lab(folder, database_url=url, tls="starttls", extensions=EXTENSIONS))
        chaos = Chaos(lab, seed=f"{seed} {database}", seconds=seconds, hold=hold)
        story = chaos.run()
        faults = chaos.done + Counter(f"{one.mode} at a step" for one in lab.faults.struck())
        _say(f"\n{database}, {'hold' if hold else 'retry'}, {seconds:.0f} s, times x {lab.scale:.1f}")
        for what, number in table(story, faults):
            _say(f"  {number:6}  {what}")
        lab.assert_no_secret_anywhere()
        return broken(story)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 (the output of a command)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaving no process behind
    parser = argparse.ArgumentParser(description="Random faults over a random load; see docs/operations.md.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--minutes", type=float, default=3.0, help="for each database")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    wanted = parser.parse_args()
    if wanted.database != "sqlite" and not os.environ.get("TEST_POSTGRES_URL"):
        parser.error("set TEST_POSTGRES_URL, or choose --database sqlite")
    again = f"make chaos ARGS='--seed {wanted.seed} --minutes {wanted.minutes} --database {wanted.database}'"
    _say(f"Again: {again}")
    wrong: list[str] = []
    for database in ["sqlite", "postgresql"] if wanted.database == "both" else [wanted.database]:
        for hold in (False, True):  # three quarters of the time for retry, the default
            seconds = wanted.minutes * 60 * (0.25 if hold else 0.75)
            wrong += play(database, seed=wanted.seed, seconds=seconds, hold=hold)
    for one in wrong:
        _say(f"BROKEN {one}")
    _say(f"\n{len(wrong)} invariants broken. Again: {again}" if wrong else "\nEvery invariant held.")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
