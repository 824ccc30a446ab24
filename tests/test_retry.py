"""When to try again, as a table."""

from __future__ import annotations

import pytest

from integrations.transports.base import Reply, Scope, Stage, TransportError
from workflows.retry import next_delay, spends_try


def error(**values: object) -> TransportError:
    return TransportError("no", **({"stage": Stage.DATA, "scope": Scope.MESSAGE} | values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attempt", "delay"), [(1, 30), (2, 60), (3, 120), (4, 300), (7, 1800), (8, 3600), (9, 3600), (500, 3600)]
)
def test_waits_grow_up_to_a_ceiling(attempt: int, delay: int) -> None:
    assert next_delay(error(), attempt=attempt) == delay


@pytest.mark.parametrize(("scatter", "delay"), [(0.0, 300), (0.5, 330), (1.0, 360)])
def test_waits_are_scattered(scatter: float, delay: int) -> None:
    assert next_delay(error(), attempt=4, scatter=scatter) == delay


@pytest.mark.parametrize(("stated", "delay"), [(0, 1), (7, 7), (600, 600), (10**9, 86340)])
def test_a_stated_time_is_obeyed_without_scatter(stated: int, delay: int) -> None:
    assert next_delay(error(retry_after=stated), attempt=3, scatter=1.0) == delay


def test_a_permanent_error_ends_it() -> None:
    assert next_delay(error(permanent=True), attempt=1) is None


def test_an_unknown_outcome_is_tried_again_whatever_else_it_says() -> None:
    assert next_delay(error(permanent=True, outcome_unknown=True), attempt=1) == 30


ANSWER = {"stage": Stage.HTTP, "reply": Reply(429, "too many requests"), "scope": Scope.PROVIDER}


@pytest.mark.parametrize(
    ("values", "spends", "delay"),
    [
        ({"stage": Stage.CONNECT, "scope": Scope.PROVIDER}, False, 0),
        (ANSWER, False, 0),
        (ANSWER | {"retry_after": 600}, False, 0),
        (ANSWER | {"outcome_unknown": True}, True, 30),
        (ANSWER | {"reply": None}, True, 30),
        (ANSWER | {"scope": Scope.MESSAGE, "permanent": True}, True, None),
        ({"stage": Stage.DATA, "scope": Scope.PROVIDER, "reply": Reply(421, "busy")}, True, 30),
    ],
)
def test_what_any_mail_would_have_met_costs_this_one_nothing(
    values: dict[str, object], spends: bool, delay: int | None
) -> None:
    met = error(**values)
    assert (spends_try(met), next_delay(met, attempt=1)) == (spends, delay)
