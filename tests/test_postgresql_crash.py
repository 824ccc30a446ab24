"""PostgreSQL crashes, really, in the middle of a batch: notes that did not wait for its disk are lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.effort import LONG
from tests.installation import wait_until
from tests.lab import Lab
from tests.own_postgres import Postgres

pytestmark = [pytest.mark.processes, LONG]

MAILS = 40


@pytest.fixture
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture
def lab(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("LAB_SCALE", "10")  # a start takes about a second: leases and patience outlast it
    with Lab(tmp_path, database_url=server.url, workers=1) as running:
        running.load(actions=1, recipients=1)
        yield running


def crash_in_the_middle(lab: Lab, server: Postgres) -> None:
    """Crash when workers have noted some mails of their batches, and others are before them. They are frozen first."""
    lab.relay.slow = {".": 0.03}
    lab.trigger(MAILS)
    for _ in range(5):  # what waited for the disk may just have taken the notes before it along
        sent = len(lab.relay.ledger)
        wait_until(lambda more=sent + 4: len(lab.relay.ledger) > more, what="some mails")
        lab.freeze("worker1")
        server.crash()
        server.start()
        if lost_notes(lab, server) > 3:
            return
        lab.thaw()
        lab.trigger(MAILS)
    pytest.fail("no crash took notes along")


def lost_notes(lab: Lab, server: Postgres) -> int:
    """Return how many mails the relay has, of which the database knows nothing."""
    with psycopg.connect(server.url) as connection:
        known = connection.execute("SELECT count(*) FROM workflows_attempt WHERE outcome = 'accepted'").fetchone()
    assert known
    return len(lab.relay.ledger) - int(known[0])


def test_workers_that_outlive_it_know_what_they_sent(lab: Lab, server: Postgres) -> None:
    crash_in_the_middle(lab, server)
    lab.thaw()
    lab.wait_for_the_end()
    story = lab.assert_invariants()
    assert story.unknown == 0
    assert len(lab.relay.ledger) == len(story.deliveries)


def test_where_workers_end_with_it_a_mail_is_repeated_only_through_unknown(lab: Lab, server: Postgres) -> None:
    crash_in_the_middle(lab, server)
    lab.kill_worker("worker1")
    lab.restart("worker1")
    lab.wait_for_the_end()
    story = lab.assert_invariants()
    assert story.unknown >= len(lab.relay.ledger) - len(story.deliveries) > 3
