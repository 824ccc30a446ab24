"""Who takes part in a measurement."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from .others import PEERS, Floor, Other
from .ours import OverHttp, Rootmail
from .sink import smtp_program
from .stage import SQLITE, Contender, Stage
from .trial import Row

FLOOR = "smtplib"
Makers = dict[str, Callable[[], Contender]]


def ours(stage: Stage, databases: Sequence[str]) -> Makers:
    return {f"rootmail-{one.lower()}": partial(Rootmail, stage, one) for one in databases}


def over_http(stage: Stage) -> Makers:
    return {f"rootmail-{one.lower()}": partial(OverHttp, stage, one) for one in stage.databases}


def peers(stage: Stage, databases: Sequence[str]) -> Makers:
    """Return the peers, each on every database; those that keep nothing in one only once."""
    makers: Makers = {}
    for peer in PEERS:
        for database in databases if peer.stores else [""]:
            key = "-".join(part for part in (peer.key, database.lower()) if part)
            makers[key] = partial(Other, stage, peer, database)
    return makers


def floors(stage: Stage) -> Makers:
    makers: Makers = {FLOOR: partial(Floor, stage, FLOOR, "smtplib, ready-made bytes, one connection")}
    if smtp_program("smtp-source") and not stage.sink.secure:
        makers["smtp-source"] = partial(Floor, stage, "smtp-source", "smtp-source, the same bytes, one session")
    return makers


def everybody(stage: Stage) -> Makers:
    return ours(stage, stage.databases) | peers(stage, stage.databases) | floors(stage)


@contextmanager
def rows(makers: Makers, *, only: str = "", ways: Collection[str] = ()) -> Iterator[list[Row]]:
    """Yield the rows of these contenders, of each way of triggering; `only` has beginnings of keys, with commas."""
    wanted = only.split(",")
    made: list[Contender] = []
    try:
        for key, make in makers.items():
            if any(key.startswith(one) or one.startswith(key) for one in wanted):
                made.append(make())
        found = [Row(one, way, []) for one in made for way in one.ways if not (way and ways) or way in ways]
        yield [row for row in found if any(row.key.startswith(one) for one in wanted)]
    finally:
        for one in made:
            one.close()


def fastest_peer(measured: Sequence[Row], *, database: str) -> Row | None:
    """Return the fastest of the peers that keep their queue in this database, or in none."""
    keys = {peer.label for peer in PEERS}
    found = [row for row in measured if row.contender.label in keys and row.contender.database in ("", database)]
    return max(found, key=lambda row: row.rate, default=None)


def floor(measured: Sequence[Row]) -> Row | None:
    return next((row for row in measured if row.key == FLOOR), None)


def database_of(row: Row) -> str:
    """Return the database to compare on: a row without any is compared with those on SQLite."""
    return row.contender.database or SQLITE
