"""A database that hangs holds every request; whoever asks whether the site is alive is answered all the same."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from rootmail.spare_thread import Room
from tests.installation import Installation, wait_until

AT_ONCE = 20  # requests; two processes have four threads each


@contextmanager
def locked(installation: Installation) -> Iterator[None]:
    """Hold SQLite's lock, as a program of somebody else's might: nobody can write meanwhile."""
    with closing(sqlite3.connect(installation.folder / "rootmail.sqlite3", isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


@pytest.mark.processes
def test_a_database_that_hangs_leaves_a_thread_for_probes_and_the_others_a_503(tmp_path: Path) -> None:
    with Installation(tmp_path) as installation, httpx.Client(base_url=installation.site, trust_env=False) as client:
        headers = {"Authorization": f"Bearer {installation.token()}"}
        event = {"event": "incident_created", "data": {"incident": {"id": "1"}}}

        def post() -> httpx.Response:
            return httpx.post(
                f"{installation.site}/v1/events", json=event, headers=headers, trust_env=False, timeout=60
            )

        assert post().status_code == 202
        with ThreadPoolExecutor(AT_ONCE) as pool:
            with locked(installation):
                posted: list[Future[httpx.Response]] = [pool.submit(post) for _ in range(AT_ONCE)]
                wait_until(lambda: sum(one.done() for one in posted) >= AT_ONCE - 6, seconds=15, what="the refusals")
                for _ in range(5):
                    assert client.get("/healthz", timeout=5).text == "ok\n"
                page = client.get("/", timeout=5)
            answers = [one.result() for one in posted]
        assert page.status_code == 503
        assert "Nothing was saved" in page.text
        assert page.headers["Content-Security-Policy"]
        assert {answer.status_code for answer in answers} == {202, 503}
        refused = [answer for answer in answers if answer.status_code == 503]
        assert all(answer.headers["Retry-After"] == "10" for answer in refused)
        assert refused[0].json()["errors"][0]["detail"].startswith("The site is busy")
        assert post().status_code == 202


class TestRoom:
    def test_nobody_is_kept_out_where_nobody_has_said_how_many_threads_there_are(self) -> None:
        room = Room()
        assert all(room.enter() for _ in range(100))

    def test_one_thread_is_left(self) -> None:
        room = Room(still=0.0)
        room.bound(4)
        assert [room.enter() for _ in range(4)] == [True, True, True, False]
        room.leave()
        assert room.enter()

    def test_who_finds_it_full_waits_as_long_as_others_move_on(self) -> None:
        room = Room(still=30.0)
        room.bound(2)
        assert room.enter()
        threading.Timer(0.2, room.leave).start()
        began = time.monotonic()
        assert room.enter()
        assert 0.15 <= time.monotonic() - began < 20, "it is told, and does not wait for the end of its patience"

    def test_where_nobody_has_moved_for_a_while_nobody_waits(self) -> None:
        room = Room(still=0.3)
        room.bound(2)
        assert room.enter()
        assert not room.enter()
        began = time.monotonic()
        assert not room.enter()
        assert time.monotonic() - began < 0.2

    def test_a_single_thread_has_room_for_everybody(self) -> None:
        room = Room(still=0.0)
        room.bound(1)
        assert room.enter()
        assert room.enter()
