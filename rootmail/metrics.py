"""The numbers of an installation as Prometheus reads them.

They come from the database and not from a process: workers are many, on many machines, and end now and then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from integrations import vitals as ways_out
from workflows import counting, heartbeat, vitals
from workflows.counting import Key
from workflows.counting_models import Count
from workflows.models import Attempt, Run
from workflows.vitals import Queue

Sums = dict[tuple[str, ...], float]
NOBODY = "none"  # the provider of an attempt that ended before one was known
ENDS = tuple(status for status in Run.Status.values if status not in (Run.Status.QUEUED, Run.Status.STARTED))


def exposition(accept: str) -> tuple[bytes, str]:
    """Return every number with its content type, in the format that the reader asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Installation())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class Installation(Collector):
    """Reads all of it from the database when it is asked."""

    def collect(self) -> Iterator[Metric]:
        counts = counting.counts()
        yield _attempts(counts)
        yield _replies(counts)
        yield _runs_ended(counts)
        yield _histogram(Count.Series.RELAY, "How long an attempt took, from its first step to its outcome.", counts)
        yield _histogram(Count.Series.ACCEPTANCE, "From the trigger to the acceptance by the relay.", counts)
        yield from _queues()
        yield from _providers()
        yield _heartbeat()


def _attempts(counts: dict[Key, float]) -> Metric:
    """Name every provider and outcome from the beginning: a series that starts with 1 hides its first one."""
    sums: Sums = {(name, outcome): 0.0 for name in ways_out.NAMES for outcome in Attempt.Outcome.values}
    for key, value in counts.items():
        if key.series == Count.Series.ATTEMPTS:
            names = (key.provider or NOBODY, key.outcome)
            sums[names] = sums.get(names, 0) + value
    text = "Attempts to hand a mail over, by what became of them."
    return _counter("rootmail_attempts", text, ("provider", "outcome"), sums)


def _replies(counts: dict[Key, float]) -> Metric:
    sums: Sums = {}
    for key, value in counts.items():
        if key.series == Count.Series.ATTEMPTS and key.code:
            names = (key.provider or NOBODY, key.code)
            sums[names] = sums.get(names, 0) + value
    text = "Attempts by the code of the answer: the enhanced one, or where none was said the plain one."
    return _counter("rootmail_replies", text, ("provider", "code"), sums)


def _runs_ended(counts: dict[Key, float]) -> Metric:
    sums: Sums = {(status,): counts.get(Key(Count.Series.RUNS, outcome=status), 0.0) for status in ENDS}
    return _counter("rootmail_runs_ended", "Runs of workflows that have ended, by how.", ("status",), sums)


def _counter(name: str, text: str, labels: Sequence[str], sums: Sums) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for names, value in sorted(sums.items()):
        family.add_metric(names, value)
    return family


def _histogram(series: str, text: str, counts: dict[Key, float]) -> Metric:
    """Name every provider from the beginning, likewise."""
    family = HistogramMetricFamily(f"rootmail_{series}_seconds", text, labels=["provider"])
    for provider in sorted({*ways_out.NAMES, *(key.provider for key in counts if key.series == series)}):
        numbers = (counts.get(Key(series, provider, bound=bound), 0) for bound in counting.NAMES[series])
        buckets = list(zip(counting.NAMES[series], accumulate(numbers), strict=True))
        total = counts.get(Key(counting.SUMS[series], provider), 0)
        family.add_metric([provider or NOBODY], buckets, total)
    return family


def _queues() -> Iterator[Metric]:
    few = vitals.in_rare_states()
    mails, runs = vitals.deliveries(sending=few["sending"]), vitals.runs()
    depth = _depth("rootmail_deliveries", "Mails that have not ended.", mails)
    depth.add_metric(["sending"], few["sending"])
    depth.add_metric(["held"], few["held"])
    yield depth
    text = "Mails of which the relay's answer was not heard. They are tried again, and due or later besides."
    yield GaugeMetricFamily("rootmail_deliveries_unknown", text, value=few["unknown"])
    yield _seconds("rootmail_delivery_oldest_due_seconds", "How long the oldest due mail has been due.", mails.oldest)
    yield _depth("rootmail_runs", "Runs that have not begun.", runs)
    yield _seconds("rootmail_run_oldest_due_seconds", "How long the oldest due run has been due.", runs.oldest)


def _depth(name: str, text: str, queue: Queue) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["state"])
    family.add_metric(["due"], queue.due)
    family.add_metric(["later"], queue.later)
    return family


def _providers() -> Iterator[Metric]:
    in_force, paused, sessions = ways_out.in_force(), ways_out.paused(), ways_out.sessions()
    texts = {
        "rootmail_provider_in_force": "1: mail leaves through this provider.",
        "rootmail_provider_paused": "1: the provider is paused after a fault of its own.",
        "rootmail_sessions_in_use": "Sessions in use of a provider that limits them.",
    }
    in_use, stopped, taken = (GaugeMetricFamily(name, text, labels=["provider"]) for name, text in texts.items())
    for name in ways_out.NAMES:
        in_use.add_metric([name], float(name == in_force))
        stopped.add_metric([name], float(name in paused))
        taken.add_metric([name], sessions[name])
    yield from (in_use, stopped, taken)


def _heartbeat() -> Metric:
    text = "How long ago a worker was last heard of; +Inf where there never was one."
    return _seconds("rootmail_worker_heartbeat_age_seconds", text, heartbeat.age())


def _seconds(name: str, text: str, span: timedelta) -> Metric:
    value = float("inf") if span == timedelta.max else span.total_seconds()
    return GaugeMetricFamily(name, text, value=value)
