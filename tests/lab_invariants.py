"""What must hold after whatever happened, read from the relay's ledger and the database. The ledger is believed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any

from tests.fake_relay import Accepted

FINAL = ("accepted", "failed", "cancelled")
NOT_SENT = ("failed", "refused", "cancelled", "suppressed")
ENDED = ("accepted", *NOT_SENT)


@dataclass
class Story:
    """What happened: the deliveries and runs in the database's words, and the mails that the relay has."""

    deliveries: Sequence[dict[str, Any]]
    runs: Sequence[dict[str, Any]]
    ledger: Sequence[Accepted]
    envelopes: Mapping[str, Sequence[str]]
    mails_of_a_run: int
    lied: bool = False  # the relay refused mails that it took
    one_sender: bool = True
    providers: Sequence[str] = ("smtp",)
    lost_workers: int = 0  # killed, hung beyond their lease, or out of memory between an answer and its record
    late_seconds: float = 1.0  # a mail in flight at its deadline is finished
    by_id: dict[str, list[Accepted]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for mail in self.ledger:
            self.by_id.setdefault(message_id_of(mail.content), []).append(mail)

    @property
    def unknown(self) -> int:
        return sum(map(unknown, self.deliveries))

    def copies(self, delivery: dict[str, Any], address: str) -> int:
        return sum(mail.recipients.count(address) for mail in self.by_id.get(delivery["message_id"], []))


def message_id_of(content: bytes) -> str:
    head = content.partition(b"\r\n\r\n")[0]
    return str(message_from_bytes(head)["Message-ID"]).strip()


def unknown(delivery: dict[str, Any]) -> int:
    return sum(one["outcome"] == "unknown" for one in delivery["attempts"])


def one_final_state(story: Story) -> list[str]:
    """(1) Every accepted action ends in exactly one final state per recipient before its deadline."""
    broken = [f"run {run['id']} is {run['status']}" for run in story.runs if run["status"] in ("queued", "started")
              and not _is_held(story, run)]  # fmt: skip
    broken += [
        f"run {run['id']} ({run['status']}: {run['why']}) has {run['mails']} mails"
        for run in story.runs
        if run["mails"] != story.mails_of_a_run
    ]
    for one in story.deliveries:
        if one["state"] == "held" and one["hold"]:
            continue
        if one["state"] not in FINAL or one["leased"]:
            broken.append(f"{one['id']} is {one['state']}, leased: {one['leased']}")
        broken += [f"{one['id']} {who['address']} is {who['state']}" for who in one["recipients"]
                   if who["state"] not in ENDED]  # fmt: skip
    return broken


def _is_held(story: Story, run: dict[str, Any]) -> bool:
    return any(one["state"] == "held" for one in story.deliveries if one["run"] == run["id"])


def no_copy_without_unknown(story: Story) -> list[str]:
    """(2) Copies at the ledger per (Message-ID, recipient) are one, except through `unknown` with policy retry, and
    then at most one more per unknown; with hold never more than one."""
    broken = []
    for one in story.deliveries:
        most = 1 if one["hold"] else 1 + unknown(one)
        if story.lied:
            most = max(most, len(one["attempts"]))
        for who in one["recipients"]:
            copies = story.copies(one, who["address"])
            if copies > most:
                broken.append(f"{one['id']} {who['address']}: {copies} copies, {most} at the most; {_tried(one)}")
    return broken


def few_unknown(story: Story) -> list[str]:
    """(2) At most one mail is unknown for each worker that was lost."""
    lost = sum("The worker ended" in attempt["reply"] for one in story.deliveries for attempt in one["attempts"])
    return [f"{lost} mails unknown after {story.lost_workers} workers"] if lost > story.lost_workers else []


def nothing_after_the_end(story: Story) -> list[str]:
    """(3) Nothing after cancel or expiry."""
    return [
        f"{one['id']} was handed over {mail.began - one['give_up_at']:.2f} s after its deadline"
        for one in story.deliveries
        for mail in story.by_id.get(one["message_id"], [])
        if mail.began > one["give_up_at"] + story.late_seconds
    ]


def accepted_is_in_the_ledger(story: Story) -> list[str]:
    """(4) Accepted implies it is in the ledger."""
    return [
        f"{one['id']} {who['address']} is accepted and not in the ledger; {_tried(one)}"
        for one in story.deliveries
        for who in one["recipients"]
        if who["state"] == "accepted" and not story.copies(one, who["address"])
    ]


def failed_is_not(story: Story) -> list[str]:
    """(5) Failed implies it is not, unless unknown was recorded."""
    if story.lied:
        return []
    return [
        f"{one['id']} {who['address']} is {who['state']} and in the ledger; {_tried(one)}"
        for one in story.deliveries
        for who in one["recipients"]
        if who["state"] in NOT_SENT and story.copies(one, who["address"]) and not unknown(one)
    ]


def one_provider(story: Story) -> list[str]:
    """(6) No second provider, ever, for one delivery attempt."""
    used = Counter(attempt["provider"] for one in story.deliveries for attempt in one["attempts"])
    return [f"{number} attempts through {name}" for name, number in used.items() if name not in ("", *story.providers)]


def same_bytes(story: Story) -> list[str]:
    """Every copy of a mail is the same bytes."""
    if not story.one_sender:
        return []
    return [f"{number}: copies differ" for number, mails in story.by_id.items() if len({m.content for m in mails}) > 1]


def nothing_out_of_nowhere(story: Story) -> list[str]:
    """Every mail in the ledger is a delivery's (be it an earlier one's: a worker may wake up late), and was for its
    recipients."""
    known = {number: set(addresses) for number, addresses in story.envelopes.items()}
    return [
        f"{number} to {mail.recipients} is no delivery's"
        for number, mails in story.by_id.items()
        for mail in mails
        if not set(mail.recipients) <= known.get(number, set())
    ]


def _tried(one: dict[str, Any]) -> str:
    return "; ".join(f"{attempt['outcome']} at {attempt['stage']}: {attempt['reply']}" for attempt in one["attempts"])


INVARIANTS: tuple[Callable[[Story], list[str]], ...] = (
    one_final_state,
    no_copy_without_unknown,
    few_unknown,
    nothing_after_the_end,
    accepted_is_in_the_ledger,
    failed_is_not,
    one_provider,
    same_bytes,
    nothing_out_of_nowhere,
)


def broken(story: Story) -> list[str]:
    """Return what is broken, each with the invariant's name."""
    return [f"{one.__name__}: {what}" for one in INVARIANTS for what in one(story)]
