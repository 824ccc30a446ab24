"""The simulation behind docs/scaling.md: against theory first, then against what it stands for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from bench import figures, planning
from bench.figures import COSTS, RELAYS, Relay
from bench.planning import Plan
from bench.queueing import Setup, Site, throughput, waits
from bench.simulation import Bell, Log, Places, Process, Simulation
from bench.stage import POSTGRESQL, SQLITE

# Theory


def mean_wait(
    load: float, draw: Callable[[random.Random], float], *, places: int = 1, customers: int = 20_000
) -> float:
    """Return how long customers stand in a line, in mean times of service; they come at random."""
    simulation, source = Simulation(), random.Random(4)
    desk, waited = Places(simulation, places), []

    def customer(seconds: float) -> Process:
        came = simulation.now
        yield desk.use(seconds)
        waited.append(simulation.now - came - seconds)

    def street() -> Process:
        for _ in range(customers):
            yield simulation.sleep(source.expovariate(load * places))
            simulation.start(customer(draw(source)))

    simulation.start(street())
    simulation.run()
    assert len(waited) == customers
    return sum(waited) / customers


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_server_with_constant_service_is_that_of_theory(load: float) -> None:
    assert mean_wait(load, lambda _: 1.0) == pytest.approx(load / (2 * (1 - load)), rel=0.05)  # M/D/1


def test_one_server_with_random_service_is_that_of_theory() -> None:
    assert mean_wait(0.5, lambda source: source.expovariate(1.0)) == pytest.approx(1.0, rel=0.05)  # M/M/1: r / (1 - r)


def test_two_servers_with_random_service_are_those_of_theory() -> None:
    waited = mean_wait(0.5, lambda source: source.expovariate(1.0), places=2)
    assert waited == pytest.approx(1 / 3, rel=0.07)  # M/M/2: r² / (1 - r²)


def test_what_waits_for_a_flush_shares_the_next_one() -> None:
    simulation, ended = Simulation(), []
    log = Log(simulation, 1.0)

    def writer(after: float) -> Process:
        yield simulation.sleep(after)
        yield log.commit()
        ended.append(simulation.now)

    for after in (0.0, 0.1, 0.9, 1.0, 5.0):
        simulation.start(writer(after))
    simulation.run()
    assert (ended, log.flushes) == ([1.0, 2.0, 2.0, 2.0, 6.0], 3)


def test_a_ring_wakes_one_and_is_kept_where_nobody_hears_it() -> None:
    simulation, woken = Simulation(), []
    kept, lost = Bell(simulation, keeps=True), Bell(simulation, keeps=False)

    def sleeper(name: str, bell: Bell, until: float) -> Process:
        yield bell.wait(until=until)
        woken.append((name, simulation.now))

    kept.ring()
    lost.ring()
    for name, bell in (("heard it", kept), ("gave up", lost), ("was woken", lost)):
        simulation.start(sleeper(name, bell, 2.0 if name == "gave up" else 9.0))
    simulation.at(3.0, lambda _: lost.ring(), None)
    simulation.at(4.0, lambda _: lost.ring(), None)
    simulation.run()
    assert woken == [("heard it", 0.0), ("gave up", 2.0), ("was woken", 3.0)]


# What it stands for


def distant(workers: int, *, sessions: int = 0) -> Setup:
    """Return a setup in which processors do not count."""
    return Setup(COSTS[POSTGRESQL], workers, 64, 64, Relay(distance=20.0), sessions)


@cache
def rate(database: str, workers: int, cores: int = figures.CORES) -> float:
    return throughput(Setup(COSTS[database], workers, cores), 1000)


@pytest.mark.parametrize("database", [SQLITE, POSTGRESQL])
def test_every_mail_that_came_leaves_once(database: str) -> None:
    site = Site(Setup(COSTS[database], workers=3, relay=RELAYS["in the same network"]))
    site.simulation.start(site.post(60.0, seconds=5, seed=3))
    site.simulation.start(site.call(230, batch=100))
    site.simulation.run()
    came = sorted(came for came, _ in site.accepted)
    assert came.count(0.0) == 230
    assert len(set(came)) == len(came) - 229 == pytest.approx(301, abs=60)
    assert not site.runs
    assert not site.mails
    assert waits(site)[0] > 0


def test_the_same_seed_gives_the_same_answer_and_another_one_another() -> None:
    def took(seed: int) -> list[float]:
        site = Site(Setup(COSTS[POSTGRESQL], cores=4))
        site.simulation.start(site.post(50.0, seconds=4, seed=seed))
        site.simulation.run()
        return waits(site)

    assert took(1) == took(1) != took(2)


@pytest.mark.parametrize("database", [SQLITE, POSTGRESQL])
def test_processors_bound_what_workers_can_do(database: str) -> None:
    costs = COSTS[database]
    used = costs.caller + costs.workers + costs.server + figures.SINK.processor
    assert rate(database, 4) == pytest.approx(figures.CORES * 1000 / used, rel=0.1)  # calls, and waiting for the disk
    assert rate(database, 4) < figures.CORES * 1000 / used


def test_more_workers_are_never_slower_where_cores_are_free() -> None:
    found = [rate(POSTGRESQL, workers, cores=32) for workers in (1, 2, 4, 8)]
    assert found == sorted(found)
    assert found[1] > 1.8 * found[0]


def test_sqlite_has_one_writer_at_a_time() -> None:
    costs = replace(COSTS[SQLITE], workers=6.0, locked=2.0)  # dear enough that the lock, not the cores, is the bound
    bound = 1000 / costs.locked
    found = throughput(Setup(costs, workers=24, cores=32), 3000)
    assert 0.8 * bound < found <= bound
    assert throughput(Setup(replace(costs, locked=0.0), workers=24, cores=32), 3000) > 1.5 * bound


@pytest.mark.parametrize("sessions", [1, 3])
def test_sessions_that_the_relay_allows_are_the_bound(sessions: int) -> None:
    site = Site(distant(8, sessions=sessions))
    all_called(site, mails=6000)
    costs, wait = site.setup.costs, 20.0 * (1 + (1 + 7) / 50)  # each batch of fifty opens its own
    seconds = (costs.workers * (1 - costs.rendering) + costs.server * (1 - costs.storing) + wait) / 1000
    assert 6000 / waits(site)[-1] == pytest.approx(sessions / seconds, rel=0.05)


def all_called(site: Site, *, mails: int) -> None:
    site.runs.extend([0.0] * mails)
    for _ in range(site.setup.workers):
        site.calls.ring()
    site.simulation.run()


def test_a_distant_session_takes_a_round_trip_a_mail_one_more_a_batch_and_connects_for_every_hundredth() -> None:
    site = Site(distant(1))
    all_called(site, mails=250)
    costs = site.setup.costs
    ours = 250 * (costs.workers + costs.server) + 2 * (250 / 50) * costs.flush  # each batch is stored, and settled
    ours -= costs.server * (1 - costs.storing) + costs.flush  # the clock stops before the last outcome is recorded
    assert waits(site)[-1] * 1000 == pytest.approx(ours + 20 * (250 + 5 + 2 * 7), rel=1e-6)


def test_a_worker_calls_another_one_only_where_a_batch_was_full() -> None:
    def took(mails: int, *, workers: int) -> float:
        site = Site(distant(workers))
        site.runs.extend([0.0] * mails)
        site.calls.ring()
        site.simulation.run()
        return waits(site)[-1]

    assert took(40, workers=4) == took(40, workers=1)
    assert took(400, workers=4) < 0.6 * took(400, workers=1)


def test_what_was_measured_is_met() -> None:
    """A quarter: the benchmark's own noise is a fifth, and the simulation leaves out what else the machine does."""
    known = [point for point in figures.POINTS if point.measured and point.is_met and point.way != "session"]
    assert known
    for point in known:
        assert planning.simulated(point) == pytest.approx(point.measured, rel=0.25), point


def test_a_session_that_was_measured_is_met_as_far_as_eighty_mails_can_tell() -> None:
    """They are hardly two batches: at the worst one worker has all of them, and the other one's session idles."""
    for point in figures.POINTS:
        if point.way != "session" or point.measured is None:
            continue
        setup = Setup(COSTS[point.database], point.workers, relay=figures.AWAY)
        steady = throughput(setup, 800, batch=1) / point.workers
        assert 0.8 * steady / point.workers < point.measured < 1.25 * steady


# The plan


def test_a_plan_is_arithmetic() -> None:
    plan = Plan(8_640_000, Relay(distance=10.0, own=20.0))
    assert (plan.average, plan.peak) == (100, 100 * figures.PEAK)
    assert plan.workers == pytest.approx(plan.peak * plan.seconds_a_mail / figures.BUSY, abs=1)
    assert plan.drained(0.0) == pytest.approx(3600 * plan.peak / plan.capacity)


def test_a_relay_nearby_needs_fewer_sessions() -> None:
    away, near = (Plan(10_000_000, relay).workers for relay in RELAYS.values())
    assert near < away / 3


def test_the_document_holds_the_tables_that_are_printed() -> None:
    """After a change: `python -m bench.queueing --write`."""
    document = planning.FILE.read_text()
    assert planning.filled(document, {name: make() for name, make in planning.TABLES.items()}) == document


def test_a_table_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the table 'b'"):
        planning.filled("<!-- table: a -->\n<!-- end of table -->\n", {"a": "x\n", "b": "y\n"})
